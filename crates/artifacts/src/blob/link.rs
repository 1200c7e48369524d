//! Blobs that are here already, made visible in a repository.

use berth_metadata::tables::blob::{self, Linked};
use berth_metadata::tables::repository;
use berth_metadata::{DbError, Session};
use berth_types::Digest;

use super::Blobs;
use crate::{ArtifactError, Blob};

impl Blobs<'_> {
    /// Makes a stored blob visible in a repository, in the caller's transaction.
    ///
    /// # Errors
    /// `BlobUnknown` when there is no such blob, `RepositoryNotFound`.
    pub async fn link_in(
        &self,
        session: &mut Session,
        repo_id: &str,
        digest: &Digest,
    ) -> Result<(), ArtifactError> {
        // Whoever links several in one transaction takes turns with the collector.
        if repository::lock(session, repo_id).await?.is_none() {
            return Err(ArtifactError::RepositoryNotFound(repo_id.to_owned()));
        }
        let (now, review_after) = (self.0.now(), self.0.review_time());
        match blob::link(session, repo_id, digest, now, review_after).await? {
            Linked::New | Linked::Again => Ok(()),
            Linked::NoBlob => Err(ArtifactError::BlobUnknown(digest.clone())),
        }
    }

    /// Makes a blob of one repository visible in another; `false` when the first has it not.
    ///
    /// # Errors
    /// `RepositoryNotFound`, `QuotaExceeded`.
    pub async fn mount(
        &self,
        from_repo_id: &str,
        to_repo_id: &str,
        digest: &Digest,
    ) -> Result<bool, ArtifactError> {
        let Some(found) = self.stat(from_repo_id, digest).await? else { return Ok(false) };
        self.admit(to_repo_id, &found).await?;
        let mut session = self.0.db.begin().await?;
        if !blob::is_linked(&mut session, from_repo_id, digest).await? {
            return Ok(false);
        }
        self.link_and_commit(session, to_repo_id, digest).await
    }

    /// Makes a blob that is stored, whoever has it, visible in a repository; `false` when it is not
    /// stored or its bytes are damaged. Not for clients: they must show that they may read it.
    ///
    /// # Errors
    /// `RepositoryNotFound`, `QuotaExceeded`.
    pub async fn link_existing(
        &self,
        to_repo_id: &str,
        digest: &Digest,
    ) -> Result<bool, ArtifactError> {
        let Some(found) = self.find_whole(digest).await? else { return Ok(false) };
        self.admit(to_repo_id, &found).await?;
        let session = self.0.db.begin().await?;
        self.link_and_commit(session, to_repo_id, digest).await
    }

    /// The blob, whoever has it, when its bytes are there as far as can be told without reading
    /// them. Not for clients: they must show that they may read it.
    ///
    /// # Errors
    /// When database or store fail.
    pub async fn find_whole(&self, digest: &Digest) -> Result<Option<Blob>, ArtifactError> {
        let mut session = self.0.db.read().await?;
        let found = blob::find(&mut session, digest).await?;
        drop(session);
        let Some(found) = found else { return Ok(None) };
        Ok(self.0.integrity().is_whole(&found).await?.then_some(found))
    }

    async fn admit(&self, to_repo_id: &str, found: &Blob) -> Result<(), ArtifactError> {
        let bytes = u64::try_from(found.size).unwrap_or_default();
        self.0.quotas().admit_blob(to_repo_id, &found.digest, bytes).await
    }

    async fn link_and_commit(
        &self,
        mut session: Session,
        to_repo_id: &str,
        digest: &Digest,
    ) -> Result<bool, ArtifactError> {
        let (now, review_after) = (self.0.now(), self.0.review_time());
        let linked = blob::link(&mut session, to_repo_id, digest, now, review_after).await;
        if linked.map_err(|error| repository_gone(error, to_repo_id))? == Linked::NoBlob {
            return Ok(false);
        }
        session.commit().await?;
        Ok(true)
    }
}

/// A link that finds no repository means that it was deleted meanwhile.
pub(super) fn repository_gone(error: DbError, repo_id: &str) -> ArtifactError {
    if error.is_conflict() {
        ArtifactError::RepositoryNotFound(repo_id.to_owned())
    } else {
        error.into()
    }
}
