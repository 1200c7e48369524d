//! A collection that only says what it would collect.
//!
//! It reads, and follows what one level would free into the next as the collector does: only
//! without a grace does anything that lost a use go in the same run.

use std::collections::{HashMap, HashSet};

use berth_metadata::tables::gc::{self, DueBlob, Hold};
use berth_metadata::tables::{blob, manifest, object_removal, repository};
use berth_metadata::{DbError, Session};
use berth_types::Digest;
use futures::StreamExt as _;

use super::blobs::Verdict;
use super::{BATCH, Gc, GcItem, GcReport, GcStage, GcWatch, Run, times};
use berth_artifacts::ArtifactError;

/// What would be gone of one repository.
#[derive(Default)]
struct Doomed {
    manifests: HashSet<Digest>,
    links: HashSet<Digest>,
}

/// Repository ids and what would go of each.
type Plan = HashMap<String, Doomed>;

impl Gc<'_> {
    /// What [`Gc::run`] would collect now; changes nothing. The pieces of unfinished objects are
    /// not counted.
    ///
    /// # Errors
    /// `Stopped` when the watch stops it; when database or store fail.
    pub async fn preview(&self, watch: &dyn GcWatch) -> Result<GcReport, ArtifactError> {
        let mut run = Run::new(self.0, None, watch);
        let mut plan = Plan::new();
        run.preview_manifests(&mut plan).await?;
        run.preview_links(&mut plan).await?;
        run.preview_blobs(&plan).await?;
        run.preview_uploads().await?;
        run.preview_objects().await?;
        Ok(run.report)
    }
}

impl Run<'_> {
    /// Whether what loses a use goes in the same run.
    fn cascades(&self) -> bool {
        self.again <= self.until
    }

    async fn preview_manifests(&mut self, plan: &mut Plan) -> Result<(), ArtifactError> {
        let cascades = self.cascades();
        let mut session = self.maintenance.db.read().await?;
        let mut after = String::new();
        loop {
            self.check()?;
            let found = gc::manifest_repositories(&mut session, None, self.until, &after, BATCH);
            let found = found.await?;
            let Some(last) = found.last() else { break };
            after.clone_from(last);
            for repo_id in &found {
                let Some(row) = repository::find_by_id(&mut session, repo_id).await? else {
                    continue;
                };
                let mut candidates = due_manifests(&mut session, repo_id, self.until).await?;
                self.report.reviewed += candidates.len() as u64;
                if row.untagged_days.is_none() {
                    continue;
                }
                let doomed = plan.entry(repo_id.clone()).or_default();
                while let Some(digest) = candidates.pop() {
                    if doomed.manifests.contains(&digest)
                        || gc::is_tagged(&mut session, repo_id, &digest).await?
                    {
                        continue;
                    }
                    let keepers = gc::keepers(&mut session, repo_id, &digest).await?;
                    let keeps = |keeper| !cascades || !doomed.manifests.contains(keeper);
                    if keepers.iter().any(keeps) {
                        continue;
                    }
                    if cascades {
                        let freed = gc::kept_by(&mut session, repo_id, &digest).await?;
                        for child in freed {
                            if manifest::exists(&mut session, repo_id, &child).await? {
                                candidates.push(child);
                            }
                        }
                    }
                    doomed.manifests.insert(digest.clone());
                    self.report.manifests += 1;
                    let repository = format!("{}/{}", row.namespace_name, row.name);
                    self.watch.item(&GcItem::Manifest { repository, digest }).await;
                }
            }
        }
        self.progress(GcStage::Manifests).await;
        Ok(())
    }

    async fn preview_links(&mut self, plan: &mut Plan) -> Result<(), ArtifactError> {
        let mut session = self.maintenance.db.read().await?;
        let mut repositories: HashSet<String> = HashSet::new();
        if self.cascades() {
            repositories.extend(plan.keys().cloned());
        }
        let cascades = self.cascades();
        let mut after = String::new();
        loop {
            let found = gc::link_repositories(&mut session, None, self.until, &after, BATCH);
            let found = found.await?;
            let Some(last) = found.last() else { break };
            after.clone_from(last);
            repositories.extend(found);
        }
        for repo_id in repositories {
            self.check()?;
            let Some(row) = repository::find_by_id(&mut session, &repo_id).await? else {
                continue;
            };
            let doomed = plan.entry(repo_id.clone()).or_default();
            let mut candidates = due_links(&mut session, &repo_id, self.until).await?;
            self.report.reviewed += candidates.len() as u64;
            if cascades {
                for manifest in &doomed.manifests {
                    let freed = gc::kept_by(&mut session, &repo_id, manifest).await?;
                    for child in freed {
                        if blob::is_linked(&mut session, &repo_id, &child).await? {
                            candidates.push(child);
                        }
                    }
                }
            }
            for digest in candidates {
                let naming = gc::naming(&mut session, &repo_id, &digest).await?;
                let keeps = |manifest| !cascades || !doomed.manifests.contains(manifest);
                if naming.iter().any(keeps) || !doomed.links.insert(digest.clone()) {
                    continue;
                }
                self.report.links += 1;
                let repository = format!("{}/{}", row.namespace_name, row.name);
                self.watch.item(&GcItem::Link { repository, digest }).await;
            }
        }
        self.progress(GcStage::Links).await;
        Ok(())
    }

    async fn preview_blobs(&mut self, plan: &Plan) -> Result<(), ArtifactError> {
        let mut session = self.maintenance.db.read().await?;
        let mut seen: HashSet<Digest> = HashSet::new();
        let mut after: Option<DueBlob> = None;
        loop {
            self.check()?;
            let until = self.until;
            let due = gc::due_blobs(&mut session, until, after.as_ref(), BATCH, Hold::No).await?;
            self.report.reviewed += due.len() as u64;
            for found in &due {
                self.preview_blob(&mut session, plan, &mut seen, &found.digest, found.size).await?;
            }
            match due.into_iter().next_back() {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        for digest in plan.values().flat_map(|doomed| &doomed.links) {
            let found = blob::find(&mut session, digest).await?;
            let due = |found: &blob::Blob| found.review_after.is_none_or(|time| time <= self.until);
            if let Some(found) = found.filter(due) {
                self.preview_blob(&mut session, plan, &mut seen, digest, found.size).await?;
            }
        }
        self.progress(GcStage::Blobs).await;
        Ok(())
    }

    async fn preview_blob(
        &mut self,
        session: &mut Session,
        plan: &Plan,
        seen: &mut HashSet<Digest>,
        digest: &Digest,
        size: i64,
    ) -> Result<(), ArtifactError> {
        let links = gc::links(session, digest).await?;
        let stays = |repo_id| !plan.get(repo_id).is_some_and(|gone| gone.links.contains(digest));
        if links.iter().any(stays) || !seen.insert(digest.clone()) {
            return Ok(());
        }
        if !matches!(
            self.maintenance.judge_layer(session, digest, self.until).await?,
            Verdict::Unused
        ) {
            return Ok(());
        }
        self.report.blobs += 1;
        self.report.blob_bytes += u64::try_from(size).unwrap_or(0);
        self.watch.item(&GcItem::Blob { digest: digest.clone(), size }).await;
        Ok(())
    }

    async fn preview_uploads(&mut self) -> Result<(), ArtifactError> {
        let mut session = self.maintenance.db.read().await?;
        let before = self.until - times::millis(self.maintenance.config().upload_pause);
        let stale = gc::count_stale_uploads(&mut session, before).await?;
        self.report.uploads = u64::try_from(stale).unwrap_or(0);
        self.progress(GcStage::Uploads).await;
        Ok(())
    }

    async fn preview_objects(&mut self) -> Result<(), ArtifactError> {
        let mut objects = self.maintenance.store.list().await?.fuse();
        while let Some(found) = self.strays(&mut objects).await? {
            for object in found {
                let mut session = self.maintenance.db.read().await?;
                if object_removal::exists(&mut session, &object.key).await? {
                    continue;
                }
                self.report.objects += 1;
                self.report.object_bytes += object.size;
                self.watch.item(&GcItem::Object { key: object.key, size: object.size }).await;
            }
        }
        self.progress(GcStage::Objects).await;
        Ok(())
    }
}

async fn due_manifests(
    session: &mut Session,
    repo_id: &str,
    until: i64,
) -> Result<Vec<Digest>, DbError> {
    let mut all: Vec<Digest> = Vec::new();
    loop {
        let after = all.last().map_or("", Digest::as_str);
        let next = gc::due_manifests(session, repo_id, until, after, BATCH, Hold::No).await?;
        if next.is_empty() {
            return Ok(all);
        }
        all.extend(next);
    }
}

async fn due_links(
    session: &mut Session,
    repo_id: &str,
    until: i64,
) -> Result<Vec<Digest>, DbError> {
    let mut all: Vec<Digest> = Vec::new();
    loop {
        let after = all.last().map_or("", Digest::as_str);
        let next = gc::due_links(session, repo_id, until, after, BATCH, Hold::No).await?;
        if next.is_empty() {
            return Ok(all);
        }
        all.extend(next.into_iter().map(|link| link.digest));
    }
}
