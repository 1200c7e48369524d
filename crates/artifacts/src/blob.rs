//! Blobs of repositories.

mod adopt;
mod link;
mod redirect;
mod removal;

use std::fmt::Display;
use std::ops::Range;
use std::path::Path;

use berth_metadata::tables::repository::Repository;
use berth_metadata::tables::{blob, manifest, repository};
use berth_storage::{ByteStream, PartialObject, Stored};
use berth_types::{Ctx, Digest, Hasher};
use bytes::Bytes;
use futures::Stream;

use crate::ingest::{hash, next_chunk};
use crate::upload::on_its_own;
use crate::{ArtifactError, Artifacts, Blob, integrity};

/// Blobs of repositories.
pub struct Blobs<'a>(pub(crate) &'a Artifacts);

impl Blobs<'_> {
    /// Takes a whole blob in one stream, verifies it and makes it visible in the repository. A
    /// stream that breaks leaves nothing.
    ///
    /// # Errors
    /// `DigestInvalid`, `SizeInvalid`, `UploadBroken`, `QuotaExceeded`.
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
        self.0.check_blob_size(size.unwrap_or_default())?;
        let (artifacts, digest) = (self.0.clone(), digest.clone());
        let repo_id = repository.repo_id.clone();
        on_its_own(async move {
            let blobs = artifacts.blobs();
            let quotas = artifacts.quotas();
            quotas.admit_blob(&repo_id, &digest, size.unwrap_or(0)).await?;
            let mut partial = artifacts.store.create().await?;
            let filled = match blobs.fill(&mut partial, &digest, size, body).await {
                Ok(()) => quotas.admit_blob(&repo_id, &digest, partial.len).await,
                Err(error) => Err(error),
            };
            if let Err(error) = filled {
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
                Err(broken) => {
                    let reason = broken.to_string();
                    return Err(ArtifactError::UploadBroken { received, reason });
                }
            };
            received += chunk.len() as u64;
            if size.is_some_and(|size| received > size) {
                return wrong_size(received);
            }
            self.0.check_blob_size(received)?;
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

    /// The blob, when the repository has it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stat(
        &self,
        repo_id: &str,
        digest: &Digest,
    ) -> Result<Option<Blob>, ArtifactError> {
        let found = self.link(repo_id, digest).await?;
        Ok(found.map(|blob| Blob::clone(&blob)))
    }

    /// The bytes of a range: never of an object that was changed since it was written, unless all
    /// of it was hashed again.
    ///
    /// # Errors
    /// `BlobUnknown` when the bytes are missing or damaged.
    pub async fn read(&self, blob: &Blob, range: Range<u64>) -> Result<ByteStream, ArtifactError> {
        integrity::read(self.0, blob, range).await
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
        let review_after = self.0.review_time();
        blob::unlink(&mut session, repo_id, digest, review_after).await?;
        session.commit().await?;
        tracing::info!(request = ctx.request_id, repo_id, %digest, "blob deleted");
        Ok(())
    }
}
