//! Manifests: pushed, read, deleted, referred to.

mod push;
mod referrers;
mod validate;

use std::collections::HashSet;

use berth_metadata::tables::repository::Repository;
use berth_metadata::tables::{manifest, repository, tag};
use berth_types::{Ctx, Digest, Reference, Tag};
use bytes::Bytes;

pub use self::referrers::{Referrer, ReferrerFilter, ReferrerPage};
use crate::{ArtifactError, Artifacts};

/// How a manifest is pushed.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// The tag that a build made this manifest from.
    pub derived_from: Option<Tag>,
    /// Further tags for the manifest.
    pub extra_tags: Vec<Tag>,
    /// Moves tags also where the repository does not let them move: for Berth's own builds.
    pub override_immutable: bool,
}

/// A manifest on its way in.
#[derive(Debug, Clone)]
pub struct ManifestPush<'a> {
    pub repository: &'a Repository,
    pub reference: &'a Reference,
    /// What the client says that it is.
    pub content_type: Option<&'a str>,
    pub body: Bytes,
    pub options: PushOptions,
}

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    pub digest: Digest,
    /// What the manifest refers to, whether that is here or not.
    pub subject: Option<Digest>,
    pub media_type: String,
    /// Bytes of config and layers; of an index, of its children that are here.
    pub image_size: i64,
    pub layer_count: i64,
}

/// A manifest as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    pub digest: Digest,
    pub media_type: String,
    pub content: Bytes,
}

/// Manifests of repositories.
pub struct Manifests<'a>(pub(crate) &'a Artifacts);

impl Manifests<'_> {
    /// The manifest that a tag or digest names, byte for byte.
    ///
    /// # Errors
    /// `ManifestUnknown`.
    pub async fn get(
        &self,
        repo_id: &str,
        reference: &Reference,
    ) -> Result<StoredManifest, ArtifactError> {
        let mut session = self.0.db.read().await?;
        let row = match reference {
            Reference::Tag(tag) => manifest::find_by_tag(&mut session, repo_id, tag).await?,
            Reference::Digest(digest) => manifest::find(&mut session, repo_id, digest).await?,
        };
        let row = row.ok_or_else(|| ArtifactError::ManifestUnknown(reference.to_string()))?;
        let content = Bytes::from(row.content);
        Ok(StoredManifest { digest: row.digest, media_type: row.media_type, content })
    }

    /// Whether the repository has the manifest.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn exists(&self, repo_id: &str, digest: &Digest) -> Result<bool, ArtifactError> {
        let mut session = self.0.db.read().await?;
        Ok(manifest::exists(&mut session, repo_id, digest).await?)
    }

    /// The children of an index here that the repository does not have: an index may be sparse
    /// (distribution-spec 1.1, "Pushing Manifests").
    ///
    /// # Errors
    /// When the database fails.
    pub async fn absent_children(
        &self,
        repo_id: &str,
        digest: &Digest,
    ) -> Result<HashSet<Digest>, ArtifactError> {
        let mut session = self.0.db.read().await?;
        let absent = manifest::absent_children(&mut session, repo_id, digest).await?;
        Ok(absent.into_iter().collect())
    }

    /// Deletes a manifest with the tags on it.
    ///
    /// # Errors
    /// `ManifestUnknown`.
    pub async fn delete(
        &self,
        ctx: &Ctx,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<(), ArtifactError> {
        let repo_id = &repository.repo_id;
        let mut session = self.0.db.begin().await?;
        repository::lock(&mut session, repo_id).await?;
        let tags = tag::delete_by_digest(&mut session, repo_id, digest).await?;
        let review_after = self.0.review_time();
        if !manifest::delete(&mut session, repo_id, digest, review_after).await? {
            return Err(ArtifactError::ManifestUnknown(digest.to_string()));
        }
        session.commit().await?;
        tracing::info!(request = ctx.request_id, repo_id, %digest, tags, "manifest deleted");
        Ok(())
    }
}
