//! Subscriptions against Debian's `docker-registry`, on SQLite and on PostgreSQL.

mod copies;
mod faults;
mod rules;
mod support;
