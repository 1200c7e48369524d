//! Instances, as the official SDK reads them.

mod reads;
