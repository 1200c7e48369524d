//! Tags.

mod listing;
