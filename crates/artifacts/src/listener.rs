//! Whoever wants to act on a push, in its transaction.

use std::sync::Arc;

use async_trait::async_trait;
use berth_metadata::Session;
use berth_metadata::tables::namespace::Namespace;
use berth_metadata::tables::repository::Repository;
use berth_oci::ManifestView;
use berth_types::{Digest, Tag};
use bytes::Bytes;

use crate::ArtifactError;

/// A tag that was made, moved or pushed again.
#[derive(Debug, Clone)]
pub struct TagPush {
    pub instance_id: String,
    pub repository: Repository,
    pub tag: Tag,
    pub digest: Digest,
    /// The manifest as the push has read it, and its bytes.
    pub view: Arc<ManifestView>,
    pub content: Bytes,
    /// The tag that a build made this one from.
    pub derived_from: Option<Tag>,
    /// Bytes of config and layers; of an index, of its children that are here.
    pub image_size: i64,
    pub layer_count: i64,
}

/// Acts in the transaction of what it hears of: an error undoes both.
#[async_trait]
pub trait PushListener: Send + Sync + 'static {
    async fn tag_pushed(&self, session: &mut Session, push: &TagPush) -> Result<(), ArtifactError>;

    async fn repository_created(
        &self,
        session: &mut Session,
        namespace: &Namespace,
        repository: &Repository,
    ) -> Result<(), ArtifactError>;

    /// The repository is still there, and goes in this transaction.
    async fn repository_deleted(
        &self,
        session: &mut Session,
        repository: &Repository,
    ) -> Result<(), ArtifactError> {
        let _ = (session, repository);
        Ok(())
    }

    /// The namespace is still there, without repositories, and goes in this transaction.
    async fn namespace_deleted(
        &self,
        session: &mut Session,
        namespace: &Namespace,
    ) -> Result<(), ArtifactError> {
        let _ = (session, namespace);
        Ok(())
    }
}
