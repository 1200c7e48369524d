//! The task engine on SQLite and on PostgreSQL.

mod ask;
mod cancel;
mod chaos;
mod life;
mod recovery;
mod schedules;
mod support;
