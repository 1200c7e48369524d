//! The services on SQLite and PostgreSQL, with a real folder of blobs.

mod blobs;
mod cache;
mod gc;
mod gc_races;
mod manifests;
mod quotas;
mod repositories;
mod scrub;
mod support;
mod uploads;
