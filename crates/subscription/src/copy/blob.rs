//! Blobs of an image: linked when their bytes are here, otherwise streamed and verified.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

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
    /// Makes a blob of an upstream manifest visible in the target repository. Bytes that are here
    /// for another repository are linked: the manifest that names them was read from the source.
    pub(super) async fn blob(&self, blob: &Descriptor) -> Result<BlobEnd, CopyFailure> {
        let lock = self.lock_of(&blob.digest);
        let _only_one = lock.lock().await;
        let blobs = self.subscription.artifacts().blobs();
        let repo_id = &self.repository.repo_id;
        if blobs.stat(repo_id, &blob.digest).await?.is_some()
            || blobs.link_existing(repo_id, &blob.digest).await?
        {
            return Ok(BlobEnd::Present);
        }
        let Ok(_slot) = self.downloads.acquire().await else {
            return Err(CopyFailure::Fault("the run is over".to_owned()));
        };
        self.download(blob).await?;
        Ok(BlobEnd::Downloaded)
    }

    async fn download(&self, blob: &Descriptor) -> Result<(), CopyFailure> {
        let stream = self.client.blob(&self.source_repository, blob).await?;
        // The service knows that a stream broke; why it did is known here.
        let broke: Arc<Mutex<Option<ClientError>>> = Arc::default();
        let reason = Arc::clone(&broke);
        // It also outlives this future when the task is cancelled: then the stream ends.
        let stop = self.task.cancelled();
        let body = stream
            .inspect_err(move |error| {
                *reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
            })
            .take_until(stop.cancelled_owned())
            .boxed();
        let (ctx, size) = (&self.ctx, Some(blob.size));
        let blobs = self.subscription.artifacts().blobs();
        let stored = blobs.put(ctx, &self.repository, &blob.digest, size, body).await;
        if let Err(error) = stored {
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
        self.bytes_copied.fetch_add(blob.size, Ordering::Relaxed);
        metrics::counter!("berth_subscription_bytes_total").increment(blob.size);
        Ok(())
    }

    fn lock_of(&self, digest: &Digest) -> Arc<AsyncMutex<()>> {
        let mut locks = self.in_progress.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(digest.clone()).or_default())
    }
}
