//! Collection and scrubbing on SQLite and PostgreSQL, with real blobs.

mod gc;
mod gc_races;
mod history;
mod scopes;
mod scrub;
