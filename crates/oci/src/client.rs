//! The client for registries that are not this one.
//!
//! Every connection goes through one dialer that checks the address at connect time; redirects,
//! realms, `Link` and `Location` are followed by hand under the same checks, and what one upstream
//! may cost has bounds. From below: `dialer`, `transport` (requests and answers), `authorization`,
//! `registry` (the client), and on top of it what is asked: `tags`, `manifests`, `blobs`, `push`.

mod address;
mod authorization;
mod blobs;
mod bounds;
mod challenge;
mod config;
mod dialer;
mod encoding;
mod error;
mod file_body;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod link;
mod manifests;
mod pages;
mod push;
mod rate;
mod realm;
mod referrers;
mod registry;
mod tags;
mod transport;

pub use address::{Allow, AllowedRange, AllowedRangeError};
pub use blobs::BlobStream;
pub use bounds::Bounds;
pub use config::{ClientConfig, Credentials, RetryPolicy};
pub use error::{ClientError, ClientErrorKind};
pub use manifests::{FetchedManifest, ManifestHead};
pub use push::BlobSource;
pub use registry::RegistryClient;
