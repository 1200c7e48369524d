//! Online garbage collection: what nothing uses any more goes, while everybody pushes and pulls.
//!
//! Four levels, each fed by the one before: manifests without a tag go by their repository's
//! policy; links of blobs that no manifest of the repository names; blobs that no repository links;
//! objects that no blob has. The queue is the column `review_after` of the first three
//! ([`berth_metadata::tables::gc`]): whatever ends a use, or says to a client that something
//! is here, puts the review off for the grace. A decision and what it deletes are one transaction
//! that holds the rows that the decision rests on; any number of collectors may run.

mod audit;
mod blobs;
mod handler;
mod links;
mod manifests;
mod objects;
mod preview;
mod report;
mod times;

use std::time::Instant;

use async_trait::async_trait;
use berth_artifacts::{ArtifactError, GcConfig};
use berth_metadata::tables::{gc, maintenance_task};
use berth_types::Millis;

pub use self::audit::GcAudit;
pub use self::handler::Collector;
pub use self::report::{GcItem, GcReport, GcStage};
use crate::{Maintenance, MaintenanceScope};

/// Rows that one transaction reviews.
const BATCH: i64 = 64;

/// Whether more may be due than the batch that was read.
fn is_full<T>(batch: &[T]) -> bool {
    i64::try_from(batch.len()) == Ok(BATCH)
}

/// Follows a collection, and may end it.
#[async_trait]
pub trait GcWatch: Send + Sync {
    /// Whether to stop before the next transaction.
    fn stopped(&self) -> bool {
        false
    }

    /// Something was collected, or would be.
    async fn item(&self, item: &GcItem) {
        let _ = item;
    }

    /// How far it came, after each transaction and at the end of each stage.
    async fn progress(&self, stage: GcStage, report: &GcReport) {
        let _ = (stage, report);
    }
}

/// Follows nothing.
#[async_trait]
impl GcWatch for () {}

/// The collector.
pub struct Gc<'a>(pub(crate) &'a Maintenance);

impl Gc<'_> {
    pub fn config(&self) -> &GcConfig {
        self.0.config()
    }

    /// Collects everything that is due now.
    ///
    /// # Errors
    /// `Stopped` when the watch stops it; when database or store fail. What was collected until
    /// then stays so, and the next run goes on.
    pub async fn run(&self, watch: &dyn GcWatch) -> Result<GcReport, ArtifactError> {
        self.run_in(&MaintenanceScope::Server, watch).await
    }

    /// As [`Gc::run`], within a scope. In that of an instance, blobs go that this run took from its
    /// repositories and that no other has; blobs of deleted repositories, uploads, and objects that
    /// no blob has belong to no instance.
    ///
    /// # Errors
    /// As [`Gc::run`].
    pub async fn run_in(
        &self,
        scope: &MaintenanceScope,
        watch: &dyn GcWatch,
    ) -> Result<GcReport, ArtifactError> {
        let start = Instant::now();
        let mut run = Run::new(self.0, scope.instance_id(), watch);
        // The levels go down, so that what one frees is freed by the next of the same run.
        run.manifests().await?;
        run.links().await?;
        if *scope == MaintenanceScope::Server {
            run.blobs().await?;
            run.removals().await?;
            run.uploads().await?;
            run.objects().await?;
            run.books().await?;
        }
        let GcReport { manifests, links, blobs, blob_bytes, objects, object_bytes, .. } =
            run.report;
        for (what, count) in
            [("manifest", manifests), ("link", links), ("blob", blobs), ("object", objects)]
        {
            metrics::counter!("berth_gc_collected_total", "what" => what).increment(count);
        }
        metrics::counter!("berth_gc_bytes_total").increment(blob_bytes + object_bytes);
        metrics::histogram!("berth_gc_duration_seconds").record(start.elapsed());
        Ok(run.report)
    }
}

/// One collection.
struct Run<'a> {
    maintenance: &'a Maintenance,
    /// The only instance to look at, if it is one.
    instance_id: Option<&'a str>,
    watch: &'a dyn GcWatch,
    /// What is due by this time is due.
    until: Millis,
    /// When the collector looks again at what lost a use by this collection.
    again: Millis,
    report: GcReport,
}

impl<'a> Run<'a> {
    fn new(
        maintenance: &'a Maintenance,
        instance_id: Option<&'a str>,
        watch: &'a dyn GcWatch,
    ) -> Self {
        let until = maintenance.now();
        let again = until.saturating_add(times::millis(maintenance.config().grace));
        Self { maintenance, instance_id, watch, until, again, report: GcReport::default() }
    }

    fn check(&self) -> Result<(), ArtifactError> {
        if self.watch.stopped() { Err(ArtifactError::Stopped) } else { Ok(()) }
    }

    async fn progress(&self, stage: GcStage) {
        self.watch.progress(stage, &self.report).await;
    }

    /// Rows that grow with time and say nothing any more.
    async fn books(&mut self) -> Result<(), ArtifactError> {
        self.check()?;
        self.maintenance.artifacts.quotas().fold().await?;
        let before = self.until - times::KEEP_TASKS;
        let mut session = self.maintenance.db.read().await?;
        let any = maintenance_task::any_before(&mut session, before).await?;
        drop(session);
        if any {
            let mut session = self.maintenance.db.begin().await?;
            maintenance_task::forget(&mut session, before).await?;
            session.commit().await?;
        }
        Ok(())
    }

    /// Uploads that nobody continues, and what unfinished objects left in the store.
    async fn uploads(&mut self) -> Result<(), ArtifactError> {
        let pause = self.maintenance.config().upload_pause;
        let before = self.until - times::millis(pause);
        let mut session = self.maintenance.db.read().await?;
        let mut stale = gc::count_stale_uploads(&mut session, before).await?;
        drop(session);
        while stale > 0 {
            self.check()?;
            let purged = self.maintenance.artifacts.uploads().purge(before).await?;
            self.report.uploads += purged as u64;
            self.progress(GcStage::Uploads).await;
            stale = if purged == 0 { 0 } else { stale };
        }
        // Later than the sessions, so that only pieces without a session are left to sweep.
        self.report.pieces +=
            self.maintenance.store.sweep(pause + times::SWEEP_MARGIN.min(pause)).await?;
        self.progress(GcStage::Uploads).await;
        Ok(())
    }
}
