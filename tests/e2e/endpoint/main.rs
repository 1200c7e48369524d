//! Access entries.

mod domain;
