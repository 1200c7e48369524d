//! What a collection did, or would do.

use std::fmt;

use berth_types::Digest;

/// The parts of a collection, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GcStage {
    Manifests,
    Links,
    Blobs,
    Uploads,
    Objects,
}

impl GcStage {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manifests => "manifests",
            Self::Links => "links",
            Self::Blobs => "blobs",
            Self::Uploads => "uploads",
            Self::Objects => "objects",
        }
    }
}

/// Counts of what went, or would go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Manifests, links and blobs that were looked at.
    pub reviewed: u64,
    /// Manifests without a tag, by their repository's policy.
    pub manifests: u64,
    /// Blobs that left a repository in which no manifest names them.
    pub links: u64,
    /// Blobs that no repository had.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Objects in the store that no blob had.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// Uploads that nobody continued.
    pub uploads: u64,
    /// Pieces of unfinished objects that no upload had.
    pub pieces: u64,
}

impl fmt::Display for GcReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reviewed, manifests, links, blobs, blob_bytes, .. } = self;
        let Self { objects, object_bytes, uploads, pieces, .. } = self;
        write!(
            f,
            "{reviewed} reviewed; {manifests} manifests, {links} blobs of repositories, {blobs} \
             blobs ({blob_bytes} bytes), {objects} stray objects ({object_bytes} bytes), {uploads} \
             uploads, {pieces} pieces"
        )
    }
}

/// One thing that went, or would go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GcItem {
    Manifest { repository: String, digest: Digest },
    Link { repository: String, digest: Digest },
    Blob { digest: Digest, size: i64 },
    Object { key: String, size: u64 },
}

impl fmt::Display for GcItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest { repository, digest } => write!(f, "manifest {repository}@{digest}"),
            Self::Link { repository, digest } => write!(f, "blob {digest} of {repository}"),
            Self::Blob { digest, size } => write!(f, "bytes of blob {digest} ({size} bytes)"),
            Self::Object { key, size } => write!(f, "object {key} of no blob ({size} bytes)"),
        }
    }
}
