//! The fourth level: objects that no blob has, and removals that a crash cut short.

use berth_metadata::repos::{blob, object_removal};
use berth_storage::Object;
use futures::TryStreamExt as _;

use super::{BATCH, Gc, GcItem, GcStage, Run, config};
use crate::ArtifactError;

/// How long the removal of an object that never had a row is remembered: far longer than a request
/// can take between the end of an object and its row, so that none makes a blob of it meanwhile.
const REMEMBER: i64 = 24 * 3600 * 1000;

/// Objects between two looks at the watch.
const LOOK: u64 = 256;

impl Run<'_> {
    /// Ends what earlier collections began.
    pub(super) async fn removals(&mut self) -> Result<(), ArtifactError> {
        let mut after = String::new();
        loop {
            self.check()?;
            let mut session = self.artifacts.db.read().await?;
            let known = object_removal::list(&mut session, &after, BATCH).await?;
            drop(session);
            let Some(last) = known.last() else { break };
            after.clone_from(&last.storage_key);
            let mut old = Vec::new();
            for removal in known {
                self.artifacts.store.delete(&removal.storage_key).await?;
                if removal.created_at < self.until.saturating_sub(REMEMBER) {
                    old.push(removal.storage_key);
                }
            }
            self.artifacts.gc().forget_removals(&old).await?;
        }
        self.progress(GcStage::Blobs).await;
        Ok(())
    }

    /// Removes what requests that died left in the store.
    pub(super) async fn objects(&mut self) -> Result<(), ArtifactError> {
        let mut objects = self.artifacts.store.list().await?;
        let mut seen: u64 = 0;
        while let Some(object) = objects.try_next().await? {
            seen += 1;
            if seen.is_multiple_of(LOOK) {
                self.check()?;
            }
            if self.is_old(&object) && self.take_object(&object).await? {
                self.artifacts.store.delete(&object.key).await?;
                self.report.objects += 1;
                self.report.object_bytes += object.size;
                let Object { key, size, .. } = object;
                self.watch.item(&GcItem::Object { key, size }).await;
            }
        }
        self.progress(GcStage::Objects).await;
        Ok(())
    }

    /// Whether the object is older than the grace.
    pub(super) fn is_old(&self, object: &Object) -> bool {
        let grace = config::millis(self.artifacts.gc.grace);
        object.modified <= self.until.saturating_sub(grace)
    }

    /// Whether no blob has the object, and none can come to have it any more.
    async fn take_object(&self, object: &Object) -> Result<bool, ArtifactError> {
        let mut session = self.artifacts.db.read().await?;
        let known = blob::is_key_used(&mut session, &object.key).await?;
        drop(session);
        if known {
            return Ok(false);
        }
        let mut session = self.artifacts.db.begin().await?;
        object_removal::hold(&mut session, &object.key).await?;
        let now = self.artifacts.now();
        if blob::is_key_used(&mut session, &object.key).await?
            || !object_removal::insert(&mut session, &object.key, now).await?
        {
            return Ok(false);
        }
        session.commit().await?;
        Ok(true)
    }
}

impl Gc<'_> {
    /// Removes objects whose rows went in a transaction that noted their removal.
    pub(crate) async fn remove_objects(&self, keys: &[String]) -> Result<(), ArtifactError> {
        for key in keys {
            self.0.store.delete(key).await?;
        }
        self.forget_removals(keys).await
    }

    async fn forget_removals(&self, keys: &[String]) -> Result<(), ArtifactError> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut session = self.0.db.begin().await?;
        for key in keys {
            object_removal::delete(&mut session, key).await?;
        }
        Ok(session.commit().await?)
    }
}
