//! Blobs of an image: streamed and verified, unless the repository has them or the source may link
//! what it delivered before (ADR 16).

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use berth_artifacts::ArtifactErrorKind;
use berth_metadata::tables::artifact_subscription_delivery;
use berth_metadata::{DbError, Session};
use berth_oci::Descriptor;
use berth_oci::client::ClientError;
use berth_types::Digest;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::Mutex as AsyncMutex;

use super::CopyRun;
use super::failure::CopyFailure;

/// How a blob came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlobEnd {
    Downloaded,
    /// Its bytes were here.
    Present,
}

impl CopyRun {
    /// Makes a blob of an upstream manifest visible in the target repository. A manifest may name any
    /// digest, so that bytes which are here for other repositories are no reason to show them: they
    /// are linked only to who has shown that it has them.
    pub(super) async fn blob(&self, blob: &Descriptor) -> Result<BlobEnd, CopyFailure> {
        let lock = self.lock_of(&blob.digest);
        let _only_one = lock.lock().await;
        let blobs = self.subscription.artifacts().blobs();
        let repo_id = &self.repository.repo_id;
        if blobs.stat(repo_id, &blob.digest).await?.is_some()
            || self.link_delivered(&blob.digest).await?
        {
            return Ok(BlobEnd::Present);
        }
        let Ok(_slot) = self.downloads.acquire().await else {
            return Err(CopyFailure::Fault("the run is over".to_owned()));
        };
        self.download(blob).await?;
        Ok(BlobEnd::Downloaded)
    }

    /// Links a blob that this very source delivered to this instance before, and has where it names
    /// it now. The HEAD alone would prove nothing: whoever wants to read a blob of others answers it
    /// for any digest.
    async fn link_delivered(&self, digest: &Digest) -> Result<bool, CopyFailure> {
        let (instance_id, origin) = (&self.repository.instance_id, &self.origin);
        let mut session = self.subscription.db().read().await?;
        let delivered =
            artifact_subscription_delivery::exists(&mut session, digest, instance_id, origin);
        let delivered = delivered.await?;
        drop(session);
        if !delivered {
            return Ok(false);
        }
        match self.client.has_blob(&self.source_repository, digest).await {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) if error.is_transient() => return Err(error.into()),
            // Whoever refuses a HEAD may still give the bytes.
            Err(_) => return Ok(false),
        }
        let blobs = self.subscription.artifacts().blobs();
        Ok(blobs.link_existing(&self.repository.repo_id, digest).await?)
    }

    /// Writes down what was delivered since the last call.
    pub(super) async fn record_deliveries(&self, session: &mut Session) -> Result<(), DbError> {
        let delivered = {
            let mut delivered = self.delivered.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *delivered)
        };
        let (instance_id, origin) = (&self.repository.instance_id, &self.origin);
        let now = self.subscription.now();
        for digest in &delivered {
            artifact_subscription_delivery::insert(session, digest, instance_id, origin, now)
                .await?;
        }
        Ok(())
    }

    /// Bytes that are not those of the digest are fetched once more: what damages them on the way,
    /// and caches in between, may not do it twice.
    async fn download(&self, blob: &Descriptor) -> Result<(), CopyFailure> {
        let mut damaged = false;
        match self.download_once(blob, &mut damaged).await {
            Err(CopyFailure::Tag(reason)) if damaged => {
                self.task.log(format!("{reason}; it is fetched once more")).await;
                self.download_once(blob, &mut damaged).await
            }
            other => other,
        }
    }

    async fn download_once(
        &self,
        blob: &Descriptor,
        damaged: &mut bool,
    ) -> Result<(), CopyFailure> {
        let stream = self.client.blob(&self.source_repository, blob).await?;
        // The service knows that a stream broke; why it did is known here.
        let broke: Arc<Mutex<Option<ClientError>>> = Arc::default();
        let reason = Arc::clone(&broke);
        // It also outlives this future when the task is cancelled: then the stream ends.
        let stop = self.task.cancelled();
        let task = self.task.clone();
        let body = stream
            .inspect_ok(move |_| task.alive())
            .inspect_err(move |error| {
                *reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
            })
            .take_until(stop.cancelled_owned())
            .boxed();
        let (ctx, size) = (&self.ctx, Some(blob.size));
        let blobs = self.subscription.artifacts().blobs();
        let stored = blobs.put(ctx, &self.repository, &blob.digest, size, body).await;
        if let Err(error) = stored {
            *damaged = error.kind() == ArtifactErrorKind::DigestInvalid;
            let cause = broke.lock().unwrap_or_else(PoisonError::into_inner).take();
            return Err(match cause {
                Some(cause) => cause.into(),
                None => match CopyFailure::from(error) {
                    CopyFailure::Fault(text) => {
                        CopyFailure::Fault(format!("blob {}: {text}", blob.digest))
                    }
                    CopyFailure::Tag(text) => {
                        CopyFailure::Tag(format!("blob {}: {text}", blob.digest))
                    }
                    other => other,
                },
            });
        }
        let mut delivered = self.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        delivered.push(blob.digest.clone());
        drop(delivered);
        self.bytes_copied.fetch_add(blob.size, Ordering::Relaxed);
        metrics::counter!("berth_subscription_bytes_total").increment(blob.size);
        Ok(())
    }

    fn lock_of(&self, digest: &Digest) -> Arc<AsyncMutex<()>> {
        let mut locks = self.in_progress.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(digest.clone()).or_default())
    }
}
