//! Subscriptions against Debian's `docker-registry` and odd upstreams, on SQLite and on PostgreSQL.

mod copies;
mod faults;
mod odd;
mod platforms;
mod private;
mod referrers;
mod rules;
mod support;
