//! The fourth level: objects that no blob has, and removals that a crash cut short.

use std::collections::HashSet;

use berth_metadata::tables::{blob, gc, object_removal};
use berth_storage::{Object, StorageError};
use futures::stream::{BoxStream, Fuse};
use futures::{StreamExt as _, TryStreamExt as _};

use super::{BATCH, GcItem, GcStage, Run, times};
use berth_artifacts::ArtifactError;

/// How long the removal of an object that never had a row is remembered: far longer than a request
/// can take between the end of an object and its row, so that none makes a blob of it meanwhile.
const REMEMBER: i64 = 24 * 3600 * 1000;

/// Objects of the store's list that are looked up at a time.
const LOOK: usize = 256;

impl Run<'_> {
    /// Ends what earlier collections began.
    pub(super) async fn removals(&mut self) -> Result<(), ArtifactError> {
        let mut after = String::new();
        loop {
            self.check()?;
            let mut session = self.maintenance.db.read().await?;
            let known = object_removal::list(&mut session, &after, BATCH).await?;
            drop(session);
            let Some(last) = known.last() else { break };
            after.clone_from(&last.storage_key);
            let mut old = Vec::new();
            for removal in known {
                self.maintenance.store.delete(&removal.storage_key).await?;
                if removal.created_at < self.until.saturating_sub(REMEMBER) {
                    old.push(removal.storage_key);
                }
            }
            self.maintenance.artifacts.blobs().forget_removals(&old).await?;
        }
        self.progress(GcStage::Blobs).await;
        Ok(())
    }

    /// Removes what requests that died left in the store.
    pub(super) async fn objects(&mut self) -> Result<(), ArtifactError> {
        let mut strays = self.maintenance.store.list().await?.fuse();
        while let Some(found) = self.strays(&mut strays).await? {
            for object in found {
                if self.take_object(&object).await? {
                    self.maintenance.store.delete(&object.key).await?;
                    self.report.objects += 1;
                    self.report.object_bytes += object.size;
                    let Object { key, size, .. } = object;
                    self.watch.item(&GcItem::Object { key, size }).await;
                }
            }
        }
        self.progress(GcStage::Objects).await;
        Ok(())
    }

    /// Of the next objects of a list those that are old enough and that no blob has; `None` at the
    /// end of the list.
    pub(super) async fn strays(
        &self,
        list: &mut Fuse<BoxStream<'static, Result<Object, StorageError>>>,
    ) -> Result<Option<Vec<Object>>, ArtifactError> {
        self.check()?;
        let grace = times::millis(self.maintenance.config().grace);
        let mut found = Vec::new();
        let mut seen = 0;
        while seen < LOOK {
            let Some(object) = list.try_next().await? else { break };
            seen += 1;
            if object.modified <= self.until.saturating_sub(grace) {
                found.push(object);
            }
        }
        if seen == 0 {
            return Ok(None);
        }
        let mut session = self.maintenance.db.read().await?;
        let keys: Vec<String> = found.iter().map(|object| object.key.clone()).collect();
        let used = gc::used_keys(&mut session, &keys).await?;
        let used: HashSet<String> = used.into_iter().collect();
        found.retain(|object| !used.contains(&object.key));
        Ok(Some(found))
    }

    /// Whether no blob has the object, and none can come to have it any more.
    async fn take_object(&self, object: &Object) -> Result<bool, ArtifactError> {
        let mut session = self.maintenance.db.begin().await?;
        object_removal::hold(&mut session, &object.key).await?;
        let now = self.maintenance.now();
        if blob::is_key_used(&mut session, &object.key).await?
            || !object_removal::insert(&mut session, &object.key, now).await?
        {
            return Ok(false);
        }
        session.commit().await?;
        Ok(true)
    }
}
