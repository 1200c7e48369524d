//! Services over stored artifacts: namespaces, repositories, uploads, blobs, manifests, tags.
//!
//! Owns the rules of a push and of a deletion: what is verified, what is visible when, what happens
//! in one transaction. Must not know HTTP, and must not write a manifest back that it has read.
//!
//! A blob is visible only after its bytes are verified and durable and its row is committed. A
//! manifest, its tags and whatever listeners make of the push are one transaction. Callers have
//! authorised the caller; services check that objects belong together.
//!
//! Entry points: [`Artifacts`] and its services, [`PushListener`], [`ArtifactError`].

mod artifacts;
mod blob;
mod cache;
mod derived;
mod error;
mod holders;
mod ingest;
mod instance;
mod instance_usage;
mod integrity;
mod listener;
mod locks;
mod lookup;
mod manifest;
mod namespace;
mod repository;
mod review;
mod tag;
mod upload;
mod visibility;
mod within;

pub use artifacts::{Artifacts, Limits};
pub use berth_metadata::tables::blob::Blob;
pub use berth_metadata::tables::blob_holder::BlobHolder;
pub use berth_metadata::tables::instance::Instance;
pub use berth_metadata::tables::manifest::Manifest as ManifestRow;
pub use berth_metadata::tables::namespace::{Namespace, NamespaceFilter};
pub use berth_metadata::tables::repository::{Repository, RepositoryFilter};
pub use blob::Blobs;
pub use derived::is_derived_tag;
pub use error::{ArtifactError, ArtifactErrorKind};
pub use instance::Instances;
pub use instance_usage::{
    InstanceUsage, Measure, QuotaChange, QuotaChanges, QuotaDefaults, Quotas,
};
pub use integrity::{BlobSource, Finding, Integrity, RefetchError, Repair, Throttle};
pub use listener::{PushListener, TagPush};
pub use lookup::{InRepository, Promise};
pub use manifest::{
    ManifestPush, Manifests, PushOptions, Pushed, Referrer, ReferrerFilter, ReferrerPage,
    StoredManifest,
};
pub use namespace::{NamespaceChanges, Namespaces, NewNamespace};
pub use repository::{NewRepository, Repositories, RepositoryChanges};
pub use review::GcConfig;
pub use tag::{TagInfo, Tags};
pub use upload::{Upload, Uploads};
pub use visibility::{RepoType, UnknownRepoType};
