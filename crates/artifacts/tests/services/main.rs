//! The services on SQLite and PostgreSQL, with a real folder of blobs.

mod blobs;
mod manifests;
mod repositories;
mod support;
mod uploads;
