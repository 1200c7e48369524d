//! The server as strangers and pesterers see it.

mod errors;
mod limits;
