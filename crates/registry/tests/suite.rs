//! The data plane against a real database and a real folder.

#[path = "suite/blobs.rs"]
mod blobs;
#[path = "suite/harness.rs"]
mod harness;
#[path = "suite/manifests.rs"]
mod manifests;
#[path = "suite/mounts.rs"]
mod mounts;
#[path = "suite/random.rs"]
mod random;
#[path = "suite/tokens.rs"]
mod tokens;
#[path = "suite/uploads.rs"]
mod uploads;
