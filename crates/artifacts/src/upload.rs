//! Upload sessions: blobs that arrive in pieces, over several requests, past crashes.
//!
//! The row is the truth: it holds the offset up to which bytes are durable, the store's resumption
//! state and the state of the hash, written together after the bytes were synced. What the store
//! has beyond the row's offset is cut off when the upload continues.

mod writer;

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use berth_metadata::tables::repository::Repository;
use berth_metadata::tables::upload;
use berth_types::{Algorithm, Ctx, Digest, Hasher, Millis, id};
use bytes::Bytes;
use futures::Stream;
use tracing::Instrument as _;

use self::writer::{Writer, partial_of, to_json};
use crate::{ArtifactError, Artifacts, Blob};

/// How long a look at an upload waits for a writer that is about to leave.
const STATUS_WAIT: Duration = Duration::from_secs(1);

/// Stale uploads per round of [`Uploads::purge`].
const PURGE_BATCH: i64 = 100;

/// An upload session as it was last read.
#[derive(Debug, Clone)]
pub struct Upload {
    row: upload::Upload,
}

impl Upload {
    pub fn id(&self) -> &str {
        &self.row.upload_id
    }

    /// Bytes that are durable: where the next one goes.
    pub fn received(&self) -> u64 {
        u64::try_from(self.row.received).unwrap_or(0)
    }
}

/// Upload sessions. Writing happens in a task of its own, which outlives a request that is dropped:
/// what came until then is kept.
pub struct Uploads<'a>(pub(crate) &'a Artifacts);

impl Uploads<'_> {
    /// Begins an upload, bound to repository and caller.
    ///
    /// # Errors
    /// `QuotaExceeded`; when store or database fail.
    pub async fn start(&self, ctx: &Ctx, repository: &Repository) -> Result<Upload, ArtifactError> {
        self.start_hashing(ctx, repository, Algorithm::Sha256).await
    }

    /// [`Uploads::start`] of a blob whose digest will be of this algorithm: one of another costs a
    /// second reading of its bytes.
    ///
    /// # Errors
    /// When store or database fail.
    pub async fn start_hashing(
        &self,
        ctx: &Ctx,
        repository: &Repository,
        algorithm: Algorithm,
    ) -> Result<Upload, ArtifactError> {
        self.0.quotas().admit_upload(&repository.repo_id).await?;
        let partial = self.0.store.create().await?;
        let now = self.0.now();
        let row = upload::Upload {
            upload_id: id::key(),
            repo_id: repository.repo_id.clone(),
            principal: ctx.identity.key(),
            partial: to_json(&partial)?,
            received: 0,
            hash_state: Hasher::new(algorithm).save().0,
            created_at: now,
            updated_at: now,
        };
        // A client whose upload is lost before its first byte starts another.
        let mut session = self.0.db.begin_relaxed().await?;
        match upload::insert(&mut session, &row).await {
            Ok(()) => {}
            Err(error) if error.is_conflict() => {
                let name = format!("{}/{}", repository.namespace_name, repository.name);
                return Err(ArtifactError::RepositoryNotFound(name));
            }
            Err(error) => return Err(error.into()),
        }
        session.commit().await?;
        Ok(Upload { row })
    }

    /// The upload of that id, when it is of this repository and this caller.
    ///
    /// # Errors
    /// `UploadUnknown`.
    pub async fn find(
        &self,
        ctx: &Ctx,
        repository: &Repository,
        upload_id: &str,
    ) -> Result<Upload, ArtifactError> {
        // A request whose client went away may still be writing down how far it came.
        let lock = self.0.locks.take(upload_id, STATUS_WAIT).await;
        let mut session = self.0.db.read().await?;
        let row = upload::find(&mut session, upload_id).await?;
        drop(lock);
        row.filter(|row| row.repo_id == repository.repo_id && row.principal == ctx.identity.key())
            .map(|row| Upload { row })
            .ok_or_else(|| ArtifactError::UploadUnknown(upload_id.to_owned()))
    }

    /// Appends a stream. With `expected_start` the stream must begin where the upload stands.
    /// When this returns, everything that came is durable, also when it returns an error.
    ///
    /// # Errors
    /// `UploadRange` with the offset, `UploadBusy`, `UploadUnknown`, `UploadBroken` when the stream
    /// broke.
    pub async fn append<S, E>(
        &self,
        upload: Upload,
        body: S,
        expected_start: Option<u64>,
    ) -> Result<Upload, ArtifactError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
        E: Display + Send + 'static,
    {
        let artifacts = self.0.clone();
        on_its_own(async move {
            let mut writer = Writer::open(&artifacts, upload.row, expected_start).await?;
            let broken = writer.receive(body).await?;
            writer.checkpoint().await?;
            match broken {
                Some(reason) => Err(writer.broken(reason)),
                None => Ok(Upload { row: writer.into_row() }),
            }
        })
        .await
    }

    /// Ends an upload whose bytes are all there: verifies the digest and makes the blob visible in
    /// the repository. A wrong digest ends the session too.
    ///
    /// # Errors
    /// `DigestInvalid`, `UploadBusy`, `UploadUnknown`.
    pub async fn finish(&self, upload: Upload, digest: &Digest) -> Result<Blob, ArtifactError> {
        let empty = futures::stream::empty::<Result<Bytes, String>>();
        self.append_and_finish(upload, empty, None, digest).await
    }

    /// [`Uploads::append`] and [`Uploads::finish`] in one: a whole blob in one request is synced
    /// once.
    ///
    /// # Errors
    /// Those of the two.
    pub async fn append_and_finish<S, E>(
        &self,
        upload: Upload,
        body: S,
        expected_start: Option<u64>,
        digest: &Digest,
    ) -> Result<Blob, ArtifactError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
        E: Display + Send + 'static,
    {
        let (artifacts, digest) = (self.0.clone(), digest.clone());
        on_its_own(async move {
            let mut writer = Writer::open(&artifacts, upload.row, expected_start).await?;
            writer.expect(digest.algorithm());
            if let Some(reason) = writer.receive(body).await? {
                writer.checkpoint().await?;
                return Err(writer.broken(reason));
            }
            writer.finish(&digest).await
        })
        .await
    }

    /// Ends an upload and forgets its bytes.
    ///
    /// # Errors
    /// `UploadUnknown`, `UploadBusy`.
    pub async fn cancel(&self, upload: Upload) -> Result<(), ArtifactError> {
        let artifacts = self.0.clone();
        on_its_own(async move { Writer::open(&artifacts, upload.row, None).await?.discard().await })
            .await
    }

    /// Ends the uploads that nobody continued since `before`; how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn purge(&self, before: Millis) -> Result<usize, ArtifactError> {
        let mut session = self.0.db.begin().await?;
        let stale = upload::delete_stale(&mut session, before, PURGE_BATCH).await?;
        session.commit().await?;
        let count = stale.len();
        self.abort_all(stale).await;
        Ok(count)
    }

    /// Drops the bytes of uploads whose rows are gone. What cannot be dropped is garbage for the
    /// collector.
    pub(crate) async fn abort_all(&self, uploads: Vec<upload::Upload>) {
        for row in uploads {
            let Ok(partial) = partial_of(&row) else { continue };
            if let Err(error) = self.0.store.abort(partial).await {
                tracing::warn!(upload = row.upload_id, %error, "bytes of an upload were left");
            }
        }
    }
}

/// Runs to the end even when the caller is dropped.
pub(crate) async fn on_its_own<T: Send + 'static>(
    work: impl Future<Output = Result<T, ArtifactError>> + Send + 'static,
) -> Result<T, ArtifactError> {
    let work = tokio::spawn(work.instrument(tracing::Span::current()));
    work.await.unwrap_or_else(|error| Err(ArtifactError::Internal(error.to_string())))
}
