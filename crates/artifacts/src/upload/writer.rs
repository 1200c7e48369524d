//! The one writer of an upload.

use std::fmt::Display;
use std::time::{Duration, Instant};

use berth_metadata::tables::upload;
use berth_storage::{MOST_BETWEEN_SYNCS, PartialObject, StorageErrorKind, Stored};
use berth_types::{Algorithm, Digest, Hasher, HasherState};
use bytes::Bytes;
use futures::Stream;
use tokio::sync::OwnedMutexGuard;

use crate::ingest::{digest_of_stored, hash, next_chunk};
use crate::{ArtifactError, ArtifactErrorKind, Artifacts, Blob};

/// How long a request waits for the one before it to leave the upload.
const WRITER_WAIT: Duration = Duration::from_secs(10);

/// A long stream becomes durable so often: what a crash costs its client at most, in seconds of sending,
const CHECKPOINT: Duration = Duration::from_secs(5);

/// but not for so few bytes,
const FEW: u64 = 8 << 20;

/// and after so many at the latest.
const MANY: u64 = MOST_BETWEEN_SYNCS / 2;

/// How often a request tries to take an upload that others take as well.
const ATTEMPTS: u32 = 4;

pub(super) struct Writer {
    artifacts: Artifacts,
    /// As stored; `received` is the durable offset.
    row: upload::Upload,
    partial: PartialObject,
    hasher: Hasher,
    /// Durable and not yet durable bytes.
    received: u64,
    _lock: OwnedMutexGuard<()>,
}

impl Writer {
    /// Takes the upload for writing, as it is now. Another server's writer that still has it can
    /// store nothing from now on.
    pub(super) async fn open(
        artifacts: &Artifacts,
        row: upload::Upload,
        expected_start: Option<u64>,
    ) -> Result<Self, ArtifactError> {
        let lock = artifacts.locks.take(&row.upload_id, WRITER_WAIT).await;
        let mut lock = lock.ok_or_else(|| ArtifactError::UploadBusy(row.upload_id.clone()))?;
        for _ in 0..ATTEMPTS {
            let row = current(artifacts, &row.upload_id).await?;
            let received = offset(&row)?;
            if expected_start.is_some_and(|start| start != received) {
                return Err(ArtifactError::UploadRange { received });
            }
            let partial = partial_of(&row)?;
            let hasher =
                Hasher::restore(&HasherState(row.hash_state.clone())).ok_or_else(|| {
                    ArtifactError::Internal("an upload's hash state is broken".to_owned())
                })?;
            let artifacts = artifacts.clone();
            let mut writer = Self { artifacts, row, partial, hasher, received, _lock: lock };
            if !writer.artifacts.store.resume(&mut writer.partial)
                || writer.store_checkpoint().await?
            {
                return Ok(writer);
            }
            lock = writer._lock;
        }
        Err(ArtifactError::UploadBusy(row.upload_id))
    }

    /// Stores the checkpoint of the partial object; `false` when another writer has stored one meanwhile.
    async fn store_checkpoint(&mut self) -> Result<bool, ArtifactError> {
        let before = self.row.updated_at;
        self.row.partial = to_json(&self.partial)?;
        // Nothing has come, so it is hardly younger; but it is another state.
        self.row.updated_at = before + 1;
        let mut session = self.artifacts.db.begin().await?;
        if !upload::update(&mut session, &self.row, before).await? {
            return Ok(false);
        }
        session.commit().await?;
        Ok(true)
    }

    /// Hashes by the algorithm that the client's digest has, when nothing was hashed yet.
    pub(super) fn expect(&mut self, algorithm: Algorithm) {
        if self.received == 0 && self.hasher.algorithm() != algorithm {
            self.hasher = Hasher::new(algorithm);
        }
    }

    /// Takes the stream in. `Some` reason when it broke before its end; the bytes until there
    /// count.
    pub(super) async fn receive<S, E>(
        &mut self,
        mut body: S,
    ) -> Result<Option<String>, ArtifactError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Display,
    {
        let (mut saved, mut saved_at) = (self.received, Instant::now());
        loop {
            let chunk = match next_chunk(&mut body).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(None),
                Err(broken) => return Ok(Some(broken.to_string())),
            };
            if chunk.is_empty() {
                continue;
            }
            self.artifacts.check_blob_size(self.received + chunk.len() as u64)?;
            hash(&mut self.hasher, &chunk).await;
            self.received += chunk.len() as u64;
            let appended = self.artifacts.store.append(&mut self.partial, chunk).await;
            appended.map_err(|error| self.explain(error))?;
            let since = self.received - saved;
            if since >= MANY || (since >= FEW && saved_at.elapsed() >= CHECKPOINT) {
                self.save(true).await?;
                (saved, saved_at) = (self.received, Instant::now());
            }
        }
    }

    /// Makes everything received durable, then says so in the row.
    pub(super) async fn checkpoint(&mut self) -> Result<(), ArtifactError> {
        self.save(false).await
    }

    async fn save(&mut self, more_to_come: bool) -> Result<(), ArtifactError> {
        let before = self.row.updated_at;
        let received = i64::try_from(self.received)
            .map_err(|_| ArtifactError::Internal("the upload is too large".to_owned()))?;
        if received == self.row.received {
            return Ok(());
        }
        let synced = self.artifacts.store.sync(&mut self.partial).await;
        synced.map_err(|error| self.explain(error))?;
        if more_to_come {
            self.artifacts.store.resume(&mut self.partial);
        }
        self.row.partial = to_json(&self.partial)?;
        self.row.received = received;
        self.row.hash_state = self.hasher.save().0;
        self.row.updated_at = self.artifacts.now().max(before + 1);
        let mut session = self.artifacts.db.begin().await?;
        if !upload::update(&mut session, &self.row, before).await? {
            drop(session);
            // Cancelled, or another server's request has taken it over.
            let received = offset(&current(&self.artifacts, &self.row.upload_id).await?)?;
            return Err(ArtifactError::UploadRange { received });
        }
        session.commit().await?;
        Ok(())
    }

    pub(super) fn broken(&self, reason: String) -> ArtifactError {
        ArtifactError::UploadBroken { received: self.received, reason }
    }

    pub(super) fn into_row(self) -> upload::Upload {
        self.row
    }

    /// Verifies the bytes and makes them a blob of the repository.
    pub(super) async fn finish(mut self, expected: &Digest) -> Result<Blob, ArtifactError> {
        let (received, same_algorithm) =
            (self.received, self.hasher.algorithm() == expected.algorithm());
        if same_algorithm {
            let actual = self.hasher.clone().finish();
            if actual != *expected {
                self.discard().await?;
                return Err(ArtifactError::DigestMismatch { expected: expected.clone(), actual });
            }
        }
        let quotas = self.artifacts.quotas();
        if let Err(error) = quotas.admit_blob(&self.row.repo_id, expected, received).await {
            if error.kind() == ArtifactErrorKind::QuotaExceeded {
                self.discard().await?;
            }
            return Err(error);
        }
        if self.row.received > 0 {
            // Whoever finds the object after a crash finds it by a checkpoint of its own length.
            self.checkpoint().await?;
        }
        let store = &self.artifacts.store;
        let stored = match store.finish(self.partial).await {
            Ok(stored) => stored,
            Err(error) if error.kind() == StorageErrorKind::NotFound => {
                find_finished(&self.artifacts, &self.row, expected).await?
            }
            Err(error) => return Err(error.into()),
        };
        let mut problem = (stored.size != received)
            .then_some(ArtifactError::SizeMismatch { expected: received, actual: stored.size });
        if problem.is_none() && !same_algorithm {
            let (range, algorithm) = (0..stored.size, expected.algorithm());
            let actual = digest_of_stored(store.as_ref(), &stored.key, range, algorithm).await?;
            if actual != *expected {
                let expected = expected.clone();
                problem = Some(ArtifactError::DigestMismatch { expected, actual });
            }
        }
        if let Some(problem) = problem {
            forget(&self.artifacts, &self.row).await?;
            store.delete(&stored.key).await?;
            return Err(problem);
        }
        let row = &self.row;
        let blobs = self.artifacts.blobs();
        let blob = blobs.adopt(Some(&row.repo_id), expected, stored, Some(row)).await?;
        if row.received > 0
            && let Err(error) = store.tidy(&partial_of(row)?).await
        {
            tracing::warn!(upload = row.upload_id, %error, "bytes of a finished upload were left");
        }
        Ok(blob)
    }

    /// Ends the upload without a blob.
    pub(super) async fn discard(self) -> Result<(), ArtifactError> {
        forget(&self.artifacts, &self.row).await?;
        self.artifacts.store.abort(self.partial).await?;
        Ok(())
    }

    fn explain(&self, error: berth_storage::StorageError) -> ArtifactError {
        explain(&self.row, error)
    }
}

/// The upload as it is now.
async fn current(artifacts: &Artifacts, upload_id: &str) -> Result<upload::Upload, ArtifactError> {
    let mut session = artifacts.db.read().await?;
    let row = upload::find(&mut session, upload_id).await?;
    row.ok_or_else(|| ArtifactError::UploadUnknown(upload_id.to_owned()))
}

fn offset(row: &upload::Upload) -> Result<u64, ArtifactError> {
    u64::try_from(row.received)
        .map_err(|_| ArtifactError::Internal("an upload's offset is negative".to_owned()))
}

/// The object that a request made of the upload before it died without a commit.
async fn find_finished(
    artifacts: &Artifacts,
    row: &upload::Upload,
    expected: &Digest,
) -> Result<Stored, ArtifactError> {
    let found = artifacts.store.finished(&partial_of(row)?).await?;
    let unknown = || ArtifactError::UploadUnknown(row.upload_id.clone());
    let stored = found.filter(|stored| i64::try_from(stored.size) == Ok(row.received));
    let stored = stored.ok_or_else(unknown)?;
    let (range, algorithm) = (0..stored.size, expected.algorithm());
    let store = artifacts.store.as_ref();
    let actual = digest_of_stored(store, &stored.key, range, algorithm).await?;
    if actual == *expected { Ok(stored) } else { Err(unknown()) }
}

/// Bytes that are gone (finished by a request that died before its commit) cannot be continued.
fn explain(row: &upload::Upload, error: berth_storage::StorageError) -> ArtifactError {
    match error.kind() {
        StorageErrorKind::NotFound => ArtifactError::UploadUnknown(row.upload_id.clone()),
        _ => error.into(),
    }
}

/// Removes the row of an upload.
async fn forget(artifacts: &Artifacts, row: &upload::Upload) -> Result<(), ArtifactError> {
    let mut session = artifacts.db.begin().await?;
    if !upload::delete(&mut session, row).await? {
        return Err(ArtifactError::UploadUnknown(row.upload_id.clone()));
    }
    session.commit().await?;
    Ok(())
}

pub(super) fn partial_of(row: &upload::Upload) -> Result<PartialObject, ArtifactError> {
    serde_json::from_str(&row.partial)
        .map_err(|error| ArtifactError::Internal(format!("an upload's stored state: {error}")))
}

pub(super) fn to_json(partial: &PartialObject) -> Result<String, ArtifactError> {
    serde_json::to_string(partial)
        .map_err(|error| ArtifactError::Internal(format!("an upload's state: {error}")))
}
