//! The services on a real SQLite file and a real folder of blobs.

mod blobs;
mod manifests;
mod repositories;
mod support;
mod uploads;
