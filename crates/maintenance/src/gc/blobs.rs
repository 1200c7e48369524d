//! The third level: blobs that no repository has.

use berth_artifacts::ArtifactError;
use berth_metadata::Session;
use berth_metadata::tables::gc::{self, DueBlob, Hold};
use berth_metadata::tables::{blob, object_removal};
use berth_types::{Digest, Millis};

use super::{BATCH, GcItem, GcStage, Run, is_full, times};
use crate::Maintenance;

/// What the review of a blob comes to.
pub(super) enum Verdict {
    /// A repository has it.
    Used,
    /// A build may take it, until this time.
    Later(Millis),
    Unused,
}

impl Run<'_> {
    pub(super) async fn blobs(&mut self) -> Result<(), ArtifactError> {
        let mut after: Option<DueBlob> = None;
        let mut session = self.maintenance.db.read().await?;
        let waits = gc::due_blobs(&mut session, self.until, None, 1, Hold::No).await?;
        drop(session);
        while !waits.is_empty() {
            self.check()?;
            let mut session = self.maintenance.db.begin().await?;
            let due = gc::due_blobs(&mut session, self.until, after.as_ref(), BATCH, Hold::Yes);
            let due = due.await?;
            self.review(session, &due).await?;
            match due.last() {
                Some(last) if is_full(&due) => after = Some(last.clone()),
                _ => break,
            }
        }
        self.progress(GcStage::Blobs).await;
        Ok(())
    }

    /// Those of the blobs that are due, which a repository had until now.
    pub(super) async fn blobs_of(&mut self, digests: &[Digest]) -> Result<(), ArtifactError> {
        if digests.is_empty() {
            return Ok(());
        }
        let mut session = self.maintenance.db.begin().await?;
        let mut due = Vec::new();
        for digest in digests {
            due.extend(gc::due_blob(&mut session, digest, self.until).await?);
        }
        self.review(session, &due).await
    }

    /// Reviews blobs whose rows the transaction holds, and ends it.
    async fn review(&mut self, mut session: Session, due: &[DueBlob]) -> Result<(), ArtifactError> {
        let mut gone = Vec::new();
        for found in due {
            if self.maintenance.review(&mut session, found, self.until).await? {
                gone.push(found.clone());
            }
        }
        session.commit().await?;
        self.report.reviewed += due.len() as u64;
        let keys: Vec<_> = gone.iter().map(|found| found.storage_key.clone()).collect();
        self.maintenance.artifacts.blobs().remove_objects(&keys).await?;
        for found in gone {
            self.report.blobs += 1;
            self.report.blob_bytes += u64::try_from(found.size).unwrap_or(0);
            let (digest, size) = (found.digest, found.size);
            self.watch.item(&GcItem::Blob { digest, size }).await;
        }
        self.progress(GcStage::Blobs).await;
        Ok(())
    }
}

impl Maintenance {
    /// Reviews a blob whose row the transaction holds; `true` when it is gone and its object is to
    /// be removed after the commit.
    async fn review(
        &self,
        session: &mut Session,
        found: &DueBlob,
        now: Millis,
    ) -> Result<bool, ArtifactError> {
        let digest = &found.digest;
        match self.judge(session, digest, now).await? {
            Verdict::Used => gc::keep_blob(session, digest, None).await?,
            Verdict::Later(time) => gc::keep_blob(session, digest, Some(time)).await?,
            Verdict::Unused => {
                let stale = now.saturating_sub(self.layer_cache());
                gc::forget_layers(session, digest, stale).await?;
                // A build may have taken the layer since it was judged.
                if let Some(used_at) = gc::layer_used_at(session, digest).await? {
                    let time = used_at.saturating_add(self.layer_cache());
                    gc::keep_blob(session, digest, Some(time)).await?;
                    return Ok(false);
                }
                object_removal::insert(session, &found.storage_key, self.now()).await?;
                blob::delete(session, digest).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How long a converted layer stays at least; a build that took it links it within the grace.
    fn layer_cache(&self) -> Millis {
        times::millis(self.config().layer_cache.max(self.config().grace))
    }

    async fn judge(
        &self,
        session: &mut Session,
        digest: &Digest,
        now: Millis,
    ) -> Result<Verdict, ArtifactError> {
        // Asked after the row is held: no link can come any more.
        if gc::is_linked_anywhere(session, digest).await? {
            return Ok(Verdict::Used);
        }
        self.judge_layer(session, digest, now).await
    }

    /// [`Maintenance::judge`] of a blob that no repository links.
    pub(super) async fn judge_layer(
        &self,
        session: &mut Session,
        digest: &Digest,
        now: Millis,
    ) -> Result<Verdict, ArtifactError> {
        let used_at = gc::layer_used_at(session, digest).await?;
        let time = used_at.map(|used_at| used_at.saturating_add(self.layer_cache()));
        Ok(match time {
            Some(time) if time > now => Verdict::Later(time),
            _ => Verdict::Unused,
        })
    }
}
