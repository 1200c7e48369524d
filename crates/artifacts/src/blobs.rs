//! Blobs of repositories.

use std::fmt::Display;
use std::ops::Range;
use std::path::Path;

use berth_metadata::repos::repository::Repository;
use berth_metadata::repos::{blob, manifest, repository, upload};
use berth_metadata::{DbError, Session};
use berth_storage::{ByteStream, PartialObject, StorageErrorKind, Stored};
use berth_types::{Ctx, Digest, Hasher};
use bytes::Bytes;
use futures::Stream;

use crate::ingest::{hash, next_chunk};
use crate::uploads::on_its_own;
use crate::{ArtifactError, Artifacts, Blob};

/// Blobs of repositories.
pub struct Blobs<'a>(pub(crate) &'a Artifacts);

impl Blobs<'_> {
    /// Takes a whole blob in one stream, verifies it and makes it visible in the repository. A
    /// stream that breaks leaves nothing.
    ///
    /// # Errors
    /// `DigestInvalid`, `SizeInvalid`, `UploadBroken`.
    pub async fn put<S, E>(
        &self,
        ctx: &Ctx,
        repository: &Repository,
        digest: &Digest,
        size: Option<u64>,
        body: S,
    ) -> Result<Blob, ArtifactError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
        E: Display + Send + 'static,
    {
        tracing::debug!(request = ctx.request_id, %digest, "blob comes in one stream");
        let (artifacts, digest) = (self.0.clone(), digest.clone());
        let repo_id = repository.repo_id.clone();
        on_its_own(async move {
            let blobs = artifacts.blobs();
            let mut partial = artifacts.store.create().await?;
            if let Err(error) = blobs.fill(&mut partial, &digest, size, body).await {
                artifacts.store.abort(partial).await?;
                return Err(error);
            }
            let stored = artifacts.store.finish(partial).await?;
            blobs.adopt(Some(&repo_id), &digest, stored, None).await
        })
        .await
    }

    /// Streams into a partial object and verifies.
    async fn fill<S, E>(
        &self,
        partial: &mut PartialObject,
        expected: &Digest,
        size: Option<u64>,
        mut body: S,
    ) -> Result<(), ArtifactError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Display,
    {
        let mut hasher = Hasher::new(expected.algorithm());
        let mut received: u64 = 0;
        let wrong_size = |actual| match size {
            Some(expected) if expected != actual => {
                Err(ArtifactError::SizeMismatch { expected, actual })
            }
            _ => Ok(()),
        };
        loop {
            let chunk = match next_chunk(&mut body).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(reason) => return Err(ArtifactError::UploadBroken { received, reason }),
            };
            received += chunk.len() as u64;
            if size.is_some_and(|size| received > size) {
                return wrong_size(received);
            }
            hash(&mut hasher, &chunk).await;
            self.0.store.append(partial, chunk).await?;
        }
        wrong_size(received)?;
        let actual = hasher.finish();
        if actual == *expected {
            Ok(())
        } else {
            Err(ArtifactError::DigestMismatch { expected: expected.clone(), actual })
        }
    }

    /// Takes a local file whose digest the caller made itself, and makes it visible in the
    /// repository. The file stays, the caller's to remove, and must not be written to any more.
    ///
    /// # Errors
    /// `SizeInvalid`, `RepositoryNotFound`.
    pub async fn import_file(
        &self,
        repo_id: &str,
        digest: &Digest,
        file: &Path,
        size: u64,
    ) -> Result<Blob, ArtifactError> {
        let stored = self.import(file, size).await?;
        self.adopt(Some(repo_id), digest, stored, None).await
    }

    /// As [`Blobs::import_file`], visible in no repository yet ([`Blobs::link_in`]).
    ///
    /// # Errors
    /// `SizeInvalid`.
    pub async fn store_file(
        &self,
        digest: &Digest,
        file: &Path,
        size: u64,
    ) -> Result<Blob, ArtifactError> {
        let stored = self.import(file, size).await?;
        self.adopt(None, digest, stored, None).await
    }

    async fn import(&self, file: &Path, size: u64) -> Result<Stored, ArtifactError> {
        let stored = self.0.store.import(file, size).await?;
        if stored.size == size {
            return Ok(stored);
        }
        self.0.store.delete(&stored.key).await?;
        Err(ArtifactError::SizeMismatch { expected: size, actual: stored.size })
    }

    /// Makes a stored blob visible in a repository, in the caller's transaction.
    ///
    /// # Errors
    /// `BlobUnknown` when there is no such blob.
    pub async fn link_in(
        &self,
        session: &mut Session,
        repo_id: &str,
        digest: &Digest,
    ) -> Result<(), ArtifactError> {
        if blob::find(session, digest).await?.is_none() {
            return Err(ArtifactError::BlobUnknown(digest.clone()));
        }
        Ok(blob::link(session, repo_id, digest, self.0.now()).await?)
    }

    /// Makes verified, durable bytes the blob of their digest. When the digest has a blob already
    /// and its bytes are still whole, these are discarded; when they are not, these replace them.
    pub(crate) async fn adopt(
        &self,
        repo_id: Option<&str>,
        digest: &Digest,
        stored: Stored,
        upload: Option<&upload::Upload>,
    ) -> Result<Blob, ArtifactError> {
        let size = i64::try_from(stored.size)
            .map_err(|_| ArtifactError::Internal("the blob is too large".to_owned()))?;
        let mine = Blob {
            digest: digest.clone(),
            storage_key: stored.key,
            size,
            created_at: self.0.now(),
        };
        loop {
            let mut session = self.0.db.begin().await?;
            if blob::insert(&mut session, &mine).await? {
                self.make_visible(&mut session, repo_id, digest, upload).await?;
                session.commit().await?;
                return Ok(mine);
            }
            let existing = blob::find(&mut session, digest).await?;
            drop(session);
            let Some(existing) = existing else { continue };
            let whole = self.is_whole(&existing).await?;
            let mut session = self.0.db.begin().await?;
            if !whole && !blob::replace(&mut session, &mine, &existing.storage_key).await? {
                continue;
            }
            if blob::find(&mut session, digest).await?.is_none() {
                continue;
            }
            self.make_visible(&mut session, repo_id, digest, upload).await?;
            session.commit().await?;
            if !whole {
                tracing::warn!(%digest, "the blob's bytes were damaged and are replaced");
                return Ok(mine);
            }
            if let Err(error) = self.0.store.delete(&mine.storage_key).await {
                tracing::warn!(%digest, %error, "a second copy of a blob was left");
            }
            return Ok(existing);
        }
    }

    async fn make_visible(
        &self,
        session: &mut Session,
        repo_id: Option<&str>,
        digest: &Digest,
        upload: Option<&upload::Upload>,
    ) -> Result<(), ArtifactError> {
        if let Some(upload) = upload
            && !upload::delete(session, &upload.upload_id).await?
        {
            return Err(ArtifactError::UploadUnknown(upload.upload_id.clone()));
        }
        match repo_id {
            Some(repo_id) => blob::link(session, repo_id, digest, self.0.now())
                .await
                .map_err(|error| repository_gone(error, repo_id)),
            None => Ok(()),
        }
    }

    /// Whether the store still has as many bytes as the row says.
    async fn is_whole(&self, blob: &Blob) -> Result<bool, ArtifactError> {
        match self.0.store.stat(&blob.storage_key).await {
            Ok(stat) => Ok(i64::try_from(stat.size) == Ok(blob.size)),
            Err(error) if error.kind() == StorageErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The blob, when the repository has it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stat(
        &self,
        repo_id: &str,
        digest: &Digest,
    ) -> Result<Option<Blob>, ArtifactError> {
        let mut session = self.0.db.read().await?;
        Ok(blob::find_in_repo(&mut session, repo_id, digest).await?)
    }

    /// The bytes of a range.
    ///
    /// # Errors
    /// When the store has no such bytes.
    pub async fn read(&self, blob: &Blob, range: Range<u64>) -> Result<ByteStream, ArtifactError> {
        Ok(self.0.store.read(&blob.storage_key, range, blob.stamp.as_deref()).await?)
    }

    /// Makes a blob of one repository visible in another; `false` when the first has it not.
    ///
    /// # Errors
    /// `RepositoryNotFound`.
    pub async fn mount(
        &self,
        from_repo_id: &str,
        to_repo_id: &str,
        digest: &Digest,
    ) -> Result<bool, ArtifactError> {
        let mut session = self.0.db.begin().await?;
        if !blob::is_linked(&mut session, from_repo_id, digest).await? {
            return Ok(false);
        }
        let linked = blob::link(&mut session, to_repo_id, digest, self.0.now()).await;
        linked.map_err(|error| repository_gone(error, to_repo_id))?;
        session.commit().await?;
        Ok(true)
    }

    /// Makes a blob that is stored, whoever has it, visible in a repository; `false` when it is not
    /// stored or its bytes are damaged. Not for clients: they must show that they may read it.
    ///
    /// # Errors
    /// `RepositoryNotFound`.
    pub async fn link_existing(
        &self,
        to_repo_id: &str,
        digest: &Digest,
    ) -> Result<bool, ArtifactError> {
        let mut session = self.0.db.read().await?;
        let found = blob::find(&mut session, digest).await?;
        drop(session);
        let Some(found) = found else { return Ok(false) };
        if !self.is_whole(&found).await? {
            return Ok(false);
        }
        let mut session = self.0.db.begin().await?;
        if blob::find(&mut session, digest).await?.is_none() {
            return Ok(false);
        }
        let linked = blob::link(&mut session, to_repo_id, digest, self.0.now()).await;
        linked.map_err(|error| repository_gone(error, to_repo_id))?;
        session.commit().await?;
        Ok(true)
    }

    /// Takes a blob from the repository. Its bytes stay for others and, in the end, the collector.
    ///
    /// # Errors
    /// `BlobUnknown`; `BlobInUse` while a manifest of the repository names it.
    pub async fn delete(
        &self,
        ctx: &Ctx,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<(), ArtifactError> {
        let repo_id = &repository.repo_id;
        let mut session = self.0.db.begin().await?;
        // A manifest that names the blob is pushed under this lock.
        repository::lock(&mut session, repo_id).await?;
        if !blob::is_linked(&mut session, repo_id, digest).await? {
            return Err(ArtifactError::BlobUnknown(digest.clone()));
        }
        let users = manifest::parents(&mut session, repo_id, digest, 1).await?;
        if let Some(manifest) = users.into_iter().next() {
            return Err(ArtifactError::BlobInUse { blob: digest.clone(), manifest });
        }
        blob::unlink(&mut session, repo_id, digest).await?;
        session.commit().await?;
        tracing::info!(request = ctx.request_id, repo_id, %digest, "blob deleted");
        Ok(())
    }
}

/// A link that finds no repository means that it was deleted meanwhile.
fn repository_gone(error: DbError, repo_id: &str) -> ArtifactError {
    if error.is_conflict() {
        ArtifactError::RepositoryNotFound(repo_id.to_owned())
    } else {
        error.into()
    }
}
