//! What readers ask for by the names that they know: the repository and something in it, in as few
//! queries as the truth needs. That is none for what is remembered where this process is the only writer,
//! and one elsewhere.

use std::sync::Arc;

use berth_metadata::Subject;
use berth_metadata::tables::lookup::{self, Located};
use berth_metadata::tables::{blob, manifest, repository, tag};
use berth_types::{Digest, Millis, Reference, RepoName, Tag};
use bytes::Bytes;

use crate::cache::HeldManifest;
use crate::{
    ArtifactError, Blob, Blobs, Manifests, RepoType, Repositories, Repository, StoredManifest, Tags,
};

/// How often a reader looks again when what a tag points to was deleted while it looked.
const LOOKS: usize = 4;

/// A repository with more tags than this is asked for each page.
const TAGS: usize = 1000;

/// What was found in a repository that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InRepository<T> {
    /// Whether anybody may pull from the repository.
    pub public: bool,
    pub content: Option<T>,
}

/// Whether the reader will rely on what it finds for a while, as after a HEAD: then it is kept from
/// the collector for half the grace at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    None,
    Keep,
}

impl Repositories<'_> {
    /// The repository of a name, as readers need it: remembered where nobody else writes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn by_name(
        &self,
        instance_id: &str,
        name: &RepoName,
    ) -> Result<Option<Arc<Repository>>, ArtifactError> {
        let cache = &self.0.cache;
        if let Some(found) = cache.repository(instance_id, name) {
            return Ok(found);
        }
        let stamp = cache.stamp(Subject::RepositoryName);
        let mut session = self.0.db.read().await?;
        let found = repository::find(&mut session, instance_id, name).await?.map(Arc::new);
        cache.put_repository(instance_id, name, stamp, found.as_ref());
        Ok(found)
    }
}

impl Manifests<'_> {
    /// The manifest that a tag or digest names in the repository of a name, for who pulls it; `None`
    /// when there is no such repository.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pull(
        &self,
        instance_id: &str,
        name: &RepoName,
        reference: &Reference,
        promise: Promise,
    ) -> Result<Option<InRepository<Arc<StoredManifest>>>, ArtifactError> {
        loop {
            let found = if self.0.cache.is_authoritative() {
                self.remembered_manifest(instance_id, name, reference).await?
            } else {
                self.queried_manifest(instance_id, name, reference).await?
            };
            let Some(found) = found else { return Ok(None) };
            if let Some(held) = &found.content
                && promise == Promise::Keep
                && let Some(until) = self.0.lease_until(held.review_after)
                && !self.keep_manifest(&found.repo_id, &held.manifest.digest, until).await?
            {
                continue;
            }
            let content = found.content.map(|held| held.manifest);
            return Ok(Some(InRepository { public: is_public(&found.repo_type), content }));
        }
    }

    async fn remembered_manifest(
        &self,
        instance_id: &str,
        name: &RepoName,
        reference: &Reference,
    ) -> Result<Option<Located<HeldManifest>>, ArtifactError> {
        let Some(repository) = self.0.repositories().by_name(instance_id, name).await? else {
            return Ok(None);
        };
        let repo_id = &repository.repo_id;
        let mut content = None;
        for _ in 0..LOOKS {
            let digest = match reference {
                Reference::Digest(digest) => Some(digest.clone()),
                Reference::Tag(tag) => self.0.tags().digest_of(repo_id, tag).await?,
            };
            let Some(digest) = digest else { break };
            content = self.held(repo_id, &digest).await?;
            if content.is_some() || matches!(reference, Reference::Digest(_)) {
                break;
            }
        }
        let (repo_id, repo_type) = (repo_id.clone(), repository.repo_type.clone());
        Ok(Some(Located { repo_id, repo_type, content }))
    }

    async fn held(
        &self,
        repo_id: &str,
        digest: &Digest,
    ) -> Result<Option<HeldManifest>, ArtifactError> {
        let cache = &self.0.cache;
        if let Some(found) = cache.manifest(repo_id, digest) {
            return Ok(found);
        }
        let stamp = cache.stamp(Subject::Manifest(repo_id, digest));
        let mut session = self.0.db.read().await?;
        let found = manifest::find(&mut session, repo_id, digest).await?.map(|row| HeldManifest {
            review_after: row.review_after,
            manifest: Arc::new(row.into()),
        });
        cache.put_manifest(repo_id, digest, stamp, found.as_ref());
        Ok(found)
    }

    /// One query says where the name leads now; the bytes of a digest never change.
    async fn queried_manifest(
        &self,
        instance_id: &str,
        name: &RepoName,
        reference: &Reference,
    ) -> Result<Option<Located<HeldManifest>>, ArtifactError> {
        let mut session = self.0.db.read().await?;
        for _ in 0..LOOKS {
            let found = match reference {
                Reference::Tag(tag) => {
                    lookup::manifest_by_tag(&mut session, instance_id, name, tag).await?
                }
                Reference::Digest(digest) => {
                    lookup::manifest_by_digest(&mut session, instance_id, name, digest).await?
                }
            };
            let Some(found) = found else { return Ok(None) };
            let (repo_id, repo_type) = (found.repo_id, found.repo_type);
            let Some(head) = found.content else {
                return Ok(Some(Located { repo_id, repo_type, content: None }));
            };
            let review_after = head.review_after;
            let cached = self.0.cache.content(&repo_id, &head.digest, &head.media_type);
            let content = match cached {
                Some(content) => Some(content),
                None => {
                    let row = manifest::find(&mut session, &repo_id, &head.digest).await?;
                    let content = row.map(|row| Arc::new(StoredManifest::from(row)));
                    if let Some(content) = &content {
                        self.0.cache.put_content(&repo_id, content);
                    }
                    content
                }
            };
            // Between the two queries it may have been deleted.
            if let Some(manifest) = content {
                let content = Some(HeldManifest { manifest, review_after });
                return Ok(Some(Located { repo_id, repo_type, content }));
            }
        }
        Err(ArtifactError::Internal(format!("{name} changes while it is read")))
    }

    async fn keep_manifest(
        &self,
        repo_id: &str,
        digest: &Digest,
        until: Millis,
    ) -> Result<bool, ArtifactError> {
        let mut session = self.0.db.begin().await?;
        let kept = manifest::lease(&mut session, repo_id, digest, until).await?;
        session.commit().await?;
        Ok(kept)
    }
}

impl Blobs<'_> {
    /// The blob of a digest, when the repository of the name may serve it, for who pulls it; `None`
    /// when there is no such repository.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pull(
        &self,
        instance_id: &str,
        name: &RepoName,
        digest: &Digest,
        promise: Promise,
    ) -> Result<Option<InRepository<Arc<Blob>>>, ArtifactError> {
        loop {
            let found = if self.0.cache.is_authoritative() {
                self.remembered_blob(instance_id, name, digest).await?
            } else {
                let mut session = self.0.db.read().await?;
                let found = lookup::blob(&mut session, instance_id, name, digest).await?;
                found.map(|found| found.map(Arc::new))
            };
            let Some(found) = found else { return Ok(None) };
            if let Some(blob) = &found.content
                && promise == Promise::Keep
                && let Some(until) = self.0.lease_until(blob.review_after)
                && !self.keep_blob(&found.repo_id, digest, until).await?
            {
                continue;
            }
            let content = found.content;
            return Ok(Some(InRepository { public: is_public(&found.repo_type), content }));
        }
    }

    /// The blob, when the repository of the id may serve it.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn link(
        &self,
        repo_id: &str,
        digest: &Digest,
    ) -> Result<Option<Arc<Blob>>, ArtifactError> {
        let cache = &self.0.cache;
        if let Some(found) = cache.link(repo_id, digest) {
            return Ok(found);
        }
        let stamp = cache.stamp(Subject::Link(repo_id, digest));
        let mut session = self.0.db.read().await?;
        let found = blob::find_in_repo(&mut session, repo_id, digest).await?.map(Arc::new);
        cache.put_link(repo_id, digest, stamp, found.as_ref());
        Ok(found)
    }

    async fn remembered_blob(
        &self,
        instance_id: &str,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<Option<Located<Arc<Blob>>>, ArtifactError> {
        let Some(repository) = self.0.repositories().by_name(instance_id, name).await? else {
            return Ok(None);
        };
        let content = self.link(&repository.repo_id, digest).await?;
        let (repo_id, repo_type) = (repository.repo_id.clone(), repository.repo_type.clone());
        Ok(Some(Located { repo_id, repo_type, content }))
    }

    async fn keep_blob(
        &self,
        repo_id: &str,
        digest: &Digest,
        until: Millis,
    ) -> Result<bool, ArtifactError> {
        let mut session = self.0.db.begin().await?;
        let kept = blob::lease(&mut session, repo_id, digest, until).await?;
        session.commit().await?;
        Ok(kept)
    }
}

impl Tags<'_> {
    /// At most `limit` names after `after`, in byte order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(
        &self,
        repo_id: &str,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Tag>, ArtifactError> {
        let all =
            if self.0.cache.is_authoritative() { self.all_tags(repo_id).await? } else { None };
        let Some(all) = all else {
            let mut session = self.0.db.read().await?;
            return Ok(tag::list(&mut session, repo_id, after, limit).await?);
        };
        let after = after.unwrap_or_default();
        let start = all.partition_point(|tag| tag.as_str() <= after);
        let limit = usize::try_from(limit).unwrap_or(0);
        Ok(all.iter().skip(start).take(limit).cloned().collect())
    }

    /// All tags of the repository, unless they are many.
    async fn all_tags(&self, repo_id: &str) -> Result<Option<Arc<[Tag]>>, ArtifactError> {
        let cache = &self.0.cache;
        if let Some(all) = cache.tags(repo_id) {
            return Ok(all);
        }
        let stamp = cache.stamp(Subject::Tags(repo_id));
        let mut session = self.0.db.read().await?;
        let limit = i64::try_from(TAGS + 1).unwrap_or(i64::MAX);
        let found = tag::list(&mut session, repo_id, None, limit).await?;
        let all: Option<Arc<[Tag]>> = (found.len() <= TAGS).then(|| found.into());
        cache.put_tags(repo_id, stamp, all.as_ref());
        Ok(all)
    }

    async fn digest_of(&self, repo_id: &str, name: &Tag) -> Result<Option<Digest>, ArtifactError> {
        let cache = &self.0.cache;
        if let Some(found) = cache.tag(repo_id, name) {
            return Ok(found);
        }
        let stamp = cache.stamp(Subject::Tag(repo_id, name));
        let mut session = self.0.db.read().await?;
        let found = tag::find(&mut session, repo_id, name).await?.map(|row| row.digest);
        cache.put_tag(repo_id, name, stamp, found.as_ref());
        Ok(found)
    }
}

fn is_public(repo_type: &str) -> bool {
    repo_type == RepoType::Public.as_str()
}

impl From<manifest::Manifest> for StoredManifest {
    fn from(row: manifest::Manifest) -> Self {
        let content = Bytes::from(row.content);
        Self { digest: row.digest, media_type: row.media_type, content }
    }
}
