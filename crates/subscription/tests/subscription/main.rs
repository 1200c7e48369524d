//! Subscriptions against Debian's `docker-registry` and odd upstreams, on SQLite and on PostgreSQL.

mod copies;
mod faults;
mod judges;
mod odd;
mod odd_upstreams;
mod platforms;
mod private;
mod rate_limits;
mod referrers;
mod requests;
mod rules;
mod support;
