//! The second level: blobs of a repository that none of its manifests names.

use berth_metadata::tables::gc::{self, Hold};
use berth_metadata::tables::{blob, repository};
use berth_types::Digest;

use super::{BATCH, GcItem, GcStage, Run, is_full};
use berth_artifacts::ArtifactError;

impl Run<'_> {
    pub(super) async fn links(&mut self) -> Result<(), ArtifactError> {
        let mut after = String::new();
        loop {
            let mut session = self.maintenance.db.read().await?;
            let found =
                gc::link_repositories(&mut session, self.instance_id, self.until, &after, BATCH);
            let found = found.await?;
            drop(session);
            let Some(last) = found.last() else { break };
            after.clone_from(last);
            for repo_id in &found {
                self.links_of(repo_id).await?;
            }
        }
        self.progress(GcStage::Links).await;
        Ok(())
    }

    async fn links_of(&mut self, repo_id: &str) -> Result<(), ArtifactError> {
        let mut after: Option<Digest> = None;
        loop {
            self.check()?;
            let mut session = self.maintenance.db.begin().await?;
            // A manifest that names the blob is pushed under this lock.
            let Some(row) = repository::lock(&mut session, repo_id).await? else { return Ok(()) };
            let cursor = after.as_ref().map_or("", Digest::as_str);
            let due =
                gc::due_links(&mut session, repo_id, self.until, cursor, BATCH, Hold::Yes).await?;
            let mut gone = Vec::new();
            // In the order of the digests, in which every collector locks the blobs.
            for link in &due {
                if gc::is_named(&mut session, repo_id, &link.digest).await? {
                    gc::keep_link(&mut session, repo_id, &link.digest).await?;
                } else {
                    // The grace has passed: the blob is due at once.
                    blob::unlink(&mut session, repo_id, &link.digest, self.until).await?;
                    gone.push(link.digest.clone());
                }
            }
            session.commit().await?;
            self.report.reviewed += due.len() as u64;
            self.report.links += gone.len() as u64;
            let name = format!("{}/{}", row.namespace_name, row.name);
            for digest in &gone {
                let (repository, digest) = (name.clone(), digest.clone());
                self.watch.item(&GcItem::Link { repository, digest }).await;
            }
            if self.instance_id.is_some() {
                self.blobs_of(&gone).await?;
            }
            self.progress(GcStage::Links).await;
            match due.last() {
                Some(last) if is_full(&due) => after = Some(last.digest.clone()),
                _ => return Ok(()),
            }
        }
    }
}
