//! OCI and Docker image documents as views over raw bytes, and the client for other registries.
//!
//! Owns media types, the parsing of manifests, indexes and configs, and everything that is said
//! over HTTP to a registry that is not this one. Must not write a document back that it has read
//! (manifests are bytes), must not know databases, storage or tasks, and must not contact an
//! address that the dialer has not checked.
//!
//! Entry points: [`ManifestView`], [`ConfigView`], [`Descriptor`], [`media_type`],
//! [`client::RegistryClient`].

pub mod client;
mod config;
mod descriptor;
mod manifest;
pub mod media_type;

pub use config::ConfigView;
pub use descriptor::Descriptor;
pub use manifest::{ManifestError, ManifestKind, ManifestView};

/// Largest manifest or index in bytes (distribution-spec, "Pushing Manifests").
pub const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;

/// Largest image config in bytes that Berth reads as a document.
pub const MAX_CONFIG_BYTES: usize = 8 * 1024 * 1024;
