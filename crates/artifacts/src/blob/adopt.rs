//! Verified bytes become the blob of their digest.

use berth_metadata::Session;
use berth_metadata::tables::blob::{self, Linked};
use berth_metadata::tables::{object_removal, upload};
use berth_storage::Stored;
use berth_types::Digest;

use super::Blobs;
use super::link::repository_gone;
use crate::{ArtifactError, Blob};

impl Blobs<'_> {
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
            stamp: Some(stored.stamp),
            created_at: self.0.now(),
            review_after: Some(self.0.review_time()),
            damaged_at: None,
        };
        // Whoever collects at the same time makes a row vanish between two looks at it: then the
        // next round inserts it.
        loop {
            let mut session = self.0.db.begin().await?;
            object_removal::hold(&mut session, &mine.storage_key).await?;
            if blob::insert(&mut session, &mine).await? {
                let linked = self.make_visible(&mut session, repo_id, digest, upload).await?;
                debug_assert_ne!(linked, Linked::NoBlob, "this transaction holds it");
                session.commit().await?;
                return Ok(mine);
            }
            let existing = blob::find(&mut session, digest).await?;
            let collected = object_removal::exists(&mut session, &mine.storage_key).await?;
            drop(session);
            if collected {
                return Err(lost(&mine));
            }
            let Some(existing) = existing else { continue };
            let found = if self.0.integrity().is_whole(&existing).await? {
                self.use_existing(existing, repo_id, upload).await?
            } else {
                self.replace(&mine, &existing, repo_id, upload).await?
            };
            let Some(found) = found else { continue };
            if found.storage_key != mine.storage_key
                && let Err(error) = self.0.store.delete(&mine.storage_key).await
            {
                tracing::warn!(%digest, %error, "a second copy of a blob was left");
            }
            return Ok(found);
        }
    }

    /// `None` when the blob was collected meanwhile.
    async fn use_existing(
        &self,
        existing: Blob,
        repo_id: Option<&str>,
        upload: Option<&upload::Upload>,
    ) -> Result<Option<Blob>, ArtifactError> {
        let mut session = self.0.db.begin().await?;
        let linked = self.make_visible(&mut session, repo_id, &existing.digest, upload).await?;
        if linked == Linked::NoBlob {
            return Ok(None);
        }
        session.commit().await?;
        Ok(Some(existing))
    }

    /// `None` when somebody else replaced or collected the damaged blob.
    async fn replace(
        &self,
        mine: &Blob,
        damaged: &Blob,
        repo_id: Option<&str>,
        upload: Option<&upload::Upload>,
    ) -> Result<Option<Blob>, ArtifactError> {
        let digest = &mine.digest;
        let mut session = self.0.db.begin().await?;
        object_removal::hold(&mut session, &mine.storage_key).await?;
        if !blob::replace(&mut session, mine, &damaged.storage_key).await? {
            return Ok(None);
        }
        object_removal::insert(&mut session, &damaged.storage_key, self.0.now()).await?;
        if self.make_visible(&mut session, repo_id, digest, upload).await? == Linked::NoBlob {
            return Ok(None);
        }
        session.commit().await?;
        tracing::warn!(%digest, "the blob's bytes were damaged and are replaced");
        metrics::counter!("berth_blobs_repaired_total", "by" => "push").increment(1);
        let damaged = [damaged.storage_key.clone()];
        if let Err(error) = self.remove_objects(&damaged).await {
            tracing::warn!(%digest, %error, "the damaged bytes are left to the collector");
        }
        Ok(Some(mine.clone()))
    }

    async fn make_visible(
        &self,
        session: &mut Session,
        repo_id: Option<&str>,
        digest: &Digest,
        upload: Option<&upload::Upload>,
    ) -> Result<Linked, ArtifactError> {
        let (now, review_after) = (self.0.now(), self.0.review_time());
        let linked = match repo_id {
            Some(repo_id) => blob::link(session, repo_id, digest, now, review_after)
                .await
                .map_err(|error| repository_gone(error, repo_id))?,
            None if blob::review(session, digest, review_after).await? => Linked::Again,
            None => Linked::NoBlob,
        };
        // After the link, which holds the repository, as whoever deletes it takes its uploads next.
        if let Some(upload) = upload
            && linked != Linked::NoBlob
            && !upload::delete(session, upload).await?
        {
            return Err(ArtifactError::UploadUnknown(upload.upload_id.clone()));
        }
        Ok(linked)
    }
}

/// The bytes lay without a row for so long that the collector took them.
fn lost(blob: &Blob) -> ArtifactError {
    ArtifactError::Internal(format!("the bytes of {} were collected; push it again", blob.digest))
}
