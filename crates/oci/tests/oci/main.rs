//! The client of other registries.

mod client;
