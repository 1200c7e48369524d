//! The first level: manifests without a tag.

use berth_metadata::tables::gc::{self, Hold};
use berth_metadata::tables::{manifest, repository};
use berth_types::Digest;

use super::{BATCH, GcItem, GcStage, Run, is_full};
use berth_artifacts::ArtifactError;

/// An index that goes leaves its children to be looked at, and these theirs: rounds of one run. A
/// row that somebody is changing is due again in the next run.
const ROUNDS: usize = 16;

impl Run<'_> {
    pub(super) async fn manifests(&mut self) -> Result<(), ArtifactError> {
        for _ in 0..ROUNDS {
            let mut after = String::new();
            let mut any = false;
            loop {
                let mut session = self.maintenance.db.read().await?;
                let found = gc::manifest_repositories(
                    &mut session,
                    self.instance_id,
                    self.until,
                    &after,
                    BATCH,
                );
                let found = found.await?;
                drop(session);
                let Some(last) = found.last() else { break };
                (any, after) = (true, last.clone());
                for repo_id in &found {
                    self.manifests_of(repo_id).await?;
                }
            }
            if !any {
                break;
            }
        }
        self.progress(GcStage::Manifests).await;
        Ok(())
    }

    async fn manifests_of(&mut self, repo_id: &str) -> Result<(), ArtifactError> {
        let mut after: Option<Digest> = None;
        loop {
            self.check()?;
            let mut session = self.maintenance.db.begin().await?;
            let Some(row) = repository::lock(&mut session, repo_id).await? else { return Ok(()) };
            let cursor = after.as_ref().map_or("", Digest::as_str);
            let due =
                gc::due_manifests(&mut session, repo_id, self.until, cursor, BATCH, Hold::Yes)
                    .await?;
            let mut gone = Vec::new();
            for digest in &due {
                // One by one: what goes puts off the review of what it kept.
                if !gone.is_empty()
                    && !gc::is_due(&mut session, repo_id, digest, self.until).await?
                {
                    continue;
                }
                let kept = row.untagged_days.is_none()
                    || gc::is_tagged(&mut session, repo_id, digest).await?
                    || !gc::keepers(&mut session, repo_id, digest).await?.is_empty();
                if kept {
                    gc::keep_manifest(&mut session, repo_id, digest).await?;
                } else {
                    manifest::delete(&mut session, repo_id, digest, self.again).await?;
                    gone.push(digest.clone());
                }
            }
            session.commit().await?;
            self.report.reviewed += due.len() as u64;
            self.report.manifests += gone.len() as u64;
            let name = format!("{}/{}", row.namespace_name, row.name);
            for digest in gone {
                let repository = name.clone();
                self.watch.item(&GcItem::Manifest { repository, digest }).await;
            }
            self.progress(GcStage::Manifests).await;
            match due.last() {
                Some(last) if is_full(&due) => after = Some(last.clone()),
                _ => return Ok(()),
            }
        }
    }
}
