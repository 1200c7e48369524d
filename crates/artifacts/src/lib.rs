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
mod blobs;
mod cache;
mod derived;
mod error;
mod gc;
mod holders;
mod ingest;
mod instances;
mod integrity;
mod listener;
mod locks;
mod lookups;
mod maintenance;
mod manifests;
mod namespaces;
mod quota;
mod repositories;
mod scrub;
mod tags;
mod uploads;
mod visibility;

pub use artifacts::{Artifacts, Limits};
pub use berth_metadata::repos::blob::Blob;
pub use berth_metadata::repos::blob_holder::BlobHolder;
pub use berth_metadata::repos::instance::Instance;
pub use berth_metadata::repos::namespace::{Namespace, NamespaceFilter};
pub use berth_metadata::repos::repository::{Repository, RepositoryFilter};
pub use blobs::Blobs;
pub use derived::is_derived_tag;
pub use error::{ArtifactError, ArtifactErrorKind};
pub use gc::{Collector, Gc, GcAudit, GcConfig, GcItem, GcReport, GcStage, GcWatch};
pub use instances::Instances;
pub use listener::{PushListener, TagPush};
pub use lookups::{InRepository, Lookups, Promise};
pub use maintenance::{Maintenance, MaintenanceError, MaintenanceKind, MaintenanceTask};
pub use manifests::{
    Manifests, PushOptions, Pushed, Referrer, ReferrerFilter, ReferrerPage, StoredManifest,
};
pub use namespaces::{NamespaceChanges, Namespaces, NewNamespace};
pub use quota::{InstanceUsage, Measure, QuotaChange, QuotaChanges, QuotaDefaults, Quotas};
pub use repositories::{NewRepository, Repositories, RepositoryChanges};
pub use scrub::{BlobSource, Repair, Scrub, ScrubProgress, ScrubReport, ScrubWatch};
pub use tags::{TagInfo, Tags};
pub use uploads::{Upload, Uploads};
pub use visibility::RepoType;
