//! The server as strangers and pesterers see it.

mod database_away;
mod errors;
mod full_disk;
mod limits;
mod replay;
mod texts;
