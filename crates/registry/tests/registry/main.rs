//! The data plane against a real database and a real folder.

mod blobs;
mod harness;
mod manifests;
mod mounts;
mod random;
mod tokens;
mod uploads;
