//! The task engine on SQLite and on PostgreSQL.

mod ask;
mod cancel;
mod chaos;
mod clocks;
mod fairness;
mod life;
mod recovery;
mod schedules;
mod stuck;
mod support;
mod unavailable;
