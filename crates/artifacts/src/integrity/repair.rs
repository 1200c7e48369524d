//! Getting the bytes of a damaged blob again.

use std::error::Error;
use std::fmt::Display;

use async_trait::async_trait;
use berth_metadata::DbError;
use berth_metadata::tables::{blob, object_removal, repository, scrub};
use berth_storage::PartialObject;
use berth_types::{Digest, Hasher};
use bytes::Bytes;
use futures::Stream;

use crate::ingest::{hash, next_chunk};
use crate::{ArtifactError, Artifacts, Blob, Repository};

/// Repositories that are asked where they have a blob from.
const MOST_REPOSITORIES: i64 = 20;

/// Somewhere a blob may have come from.
#[async_trait]
pub trait BlobSource: Send + Sync + 'static {
    /// What it is called in logs and metrics.
    fn name(&self) -> &'static str;

    /// Looks for the blob and fills it with [`Repair::fill`]; `false` when it is not to be had here.
    ///
    /// # Errors
    /// Why it could not be had where it should be.
    async fn refetch(&self, repair: &Repair) -> Result<bool, RefetchError>;
}

/// Why a source did not give a blob that it should have.
#[derive(Debug, thiserror::Error)]
pub enum RefetchError {
    #[error(transparent)]
    Database(#[from] DbError),
    /// The places that were asked, with the reasons.
    #[error("{}", join(.0))]
    Places(Vec<(String, Box<dyn Error + Send + Sync>)>),
}

fn join(places: &[(String, Box<dyn Error + Send + Sync>)]) -> String {
    let words = places.iter().map(|(place, reason)| format!("{place}: {reason}"));
    words.collect::<Vec<_>>().join("; ")
}

/// A damaged blob that wants its bytes.
pub struct Repair {
    artifacts: Artifacts,
    blob: Blob,
    repositories: Vec<Repository>,
}

impl Repair {
    pub(crate) async fn of(
        artifacts: &Artifacts,
        instance_id: Option<&str>,
        blob: Blob,
    ) -> Result<Self, ArtifactError> {
        let mut session = artifacts.db.read().await?;
        let ids =
            scrub::repositories(&mut session, instance_id, &blob.digest, MOST_REPOSITORIES).await?;
        let mut repositories = Vec::with_capacity(ids.len());
        for id in ids {
            repositories.extend(repository::find_by_id(&mut session, &id).await?);
        }
        Ok(Self { artifacts: artifacts.clone(), blob, repositories })
    }

    pub fn digest(&self) -> &Digest {
        &self.blob.digest
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        u64::try_from(self.blob.size).unwrap_or_default()
    }

    /// Repositories that have the blob, of the instance only when the repair is for one.
    pub fn repositories(&self) -> &[Repository] {
        &self.repositories
    }

    /// Takes the bytes, verifies them, and puts them in the place of the damaged ones.
    ///
    /// # Errors
    /// `DigestInvalid`, `SizeInvalid`, `UploadBroken`; the blob then stays as it was.
    pub async fn fill<S, E>(&self, body: S) -> Result<(), ArtifactError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Display,
    {
        let store = &self.artifacts.store;
        let mut partial = store.create().await?;
        if let Err(error) = self.receive(&mut partial, body).await {
            store.abort(partial).await?;
            return Err(error);
        }
        let stored = store.finish(partial).await?;
        let fresh = Blob {
            storage_key: stored.key,
            stamp: Some(stored.stamp),
            damaged_at: None,
            ..self.blob.clone()
        };
        let mut session = self.artifacts.db.begin().await?;
        object_removal::hold(&mut session, &fresh.storage_key).await?;
        let damaged = &self.blob.storage_key;
        if blob::replace(&mut session, &fresh, damaged).await? {
            object_removal::insert(&mut session, damaged, self.artifacts.now()).await?;
            session.commit().await?;
            return Ok(());
        }
        // Somebody was faster, or nobody wants the blob any more.
        drop(session);
        Ok(store.delete(&fresh.storage_key).await?)
    }

    async fn receive<S, E>(
        &self,
        partial: &mut PartialObject,
        mut body: S,
    ) -> Result<(), ArtifactError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Display,
    {
        let expected = self.size();
        let mut hasher = Hasher::new(self.digest().algorithm());
        let mut received = 0u64;
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
            if received > expected {
                break;
            }
            hash(&mut hasher, &chunk).await;
            self.artifacts.store.append(partial, chunk).await?;
        }
        if received != expected {
            return Err(ArtifactError::SizeMismatch { expected, actual: received });
        }
        let actual = hasher.finish();
        if actual != *self.digest() {
            let expected = self.digest().clone();
            return Err(ArtifactError::DigestMismatch { expected, actual });
        }
        Ok(())
    }
}
