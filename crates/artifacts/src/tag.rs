//! Tags of repositories.

use berth_metadata::Page;
use berth_metadata::tables::repository::Repository;
use berth_metadata::tables::tag::TagDetail;
use berth_metadata::tables::{repository, tag};
use berth_types::{Ctx, Digest, Millis, Tag};

use crate::{ArtifactError, Artifacts};

/// A tag and what it points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagInfo {
    pub tag: Tag,
    /// Of the manifest.
    pub digest: Digest,
    pub media_type: String,
    /// Bytes of config and layers.
    pub size: i64,
    pub layer_count: i64,
    /// Of an image's config; an index has none.
    pub config_digest: Option<Digest>,
    /// What Docker calls the image id: the config's digest, of an index its own.
    pub image_id: Digest,
    /// The tag that a build made this one from.
    pub derived_from: Option<String>,
    pub created: Millis,
    /// When it was last moved or pushed again.
    pub updated: Millis,
}

impl From<TagDetail> for TagInfo {
    fn from(detail: TagDetail) -> Self {
        let image_id = detail.config_digest.as_ref().unwrap_or(&detail.tag.digest).clone();
        Self {
            tag: detail.tag.name,
            digest: detail.tag.digest,
            media_type: detail.media_type,
            size: detail.image_size,
            layer_count: detail.layer_count,
            config_digest: detail.config_digest,
            image_id,
            derived_from: detail.tag.derived_from,
            created: detail.tag.created_at,
            updated: detail.tag.updated_at,
        }
    }
}

/// Tags of repositories.
pub struct Tags<'a>(pub(crate) &'a Artifacts);

impl Tags<'_> {
    /// A page, last pushed first, and the number of all tags.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn page(
        &self,
        repo_id: &str,
        page: Page,
    ) -> Result<(Vec<TagInfo>, i64), ArtifactError> {
        let mut session = self.0.db.read().await?;
        let (rows, total) = tag::page(&mut session, repo_id, page).await?;
        Ok((rows.into_iter().map(TagInfo::from).collect(), total))
    }

    /// At most `limit` tags, last pushed first, after the one that was pushed at that time under that
    /// name (none: from the first), and the number of all tags.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn page_after(
        &self,
        repo_id: &str,
        after: Option<(Millis, &str)>,
        limit: i64,
    ) -> Result<(Vec<TagInfo>, i64), ArtifactError> {
        let mut session = self.0.db.read().await?;
        let total = tag::count(&mut session, repo_id).await?;
        let after = after.unwrap_or((Millis::MAX, ""));
        let rows = tag::page_after(&mut session, repo_id, after, limit).await?;
        Ok((rows.into_iter().map(TagInfo::from).collect(), total))
    }

    /// # Errors
    /// `TagNotFound`.
    pub async fn get(&self, repo_id: &str, name: &Tag) -> Result<TagInfo, ArtifactError> {
        let mut session = self.0.db.read().await?;
        let detail = tag::find_detail(&mut session, repo_id, name).await?;
        detail.map(TagInfo::from).ok_or_else(|| ArtifactError::TagNotFound(name.to_string()))
    }

    /// Deletes the tag, not the manifest.
    ///
    /// # Errors
    /// `TagNotFound`.
    pub async fn delete(
        &self,
        ctx: &Ctx,
        repository: &Repository,
        name: &Tag,
    ) -> Result<(), ArtifactError> {
        let repo_id = &repository.repo_id;
        let mut session = self.0.db.begin().await?;
        let locked = repository::lock(&mut session, repo_id).await?;
        let review_after = self.0.untagged_review_time(locked.as_ref().unwrap_or(repository));
        if !tag::delete(&mut session, repo_id, name, review_after).await? {
            return Err(ArtifactError::TagNotFound(name.to_string()));
        }
        session.commit().await?;
        tracing::info!(request = ctx.request_id, repo_id, tag = %name, "tag deleted");
        Ok(())
    }
}
