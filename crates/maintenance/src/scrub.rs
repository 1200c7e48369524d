//! Reading every blob again, to find the damaged ones before their readers do.
//!
//! A pass goes through the digests in order. How far it came is kept beside what it found, in the
//! same transactions, so that a pass that was stopped goes on from there, in whatever process. Whole
//! blobs get the time; damaged ones go into quarantine and are asked for at every source. A blob in
//! quarantine is read like any other: when its bytes are back, so is the blob.

mod handler;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use berth_artifacts::{ArtifactError, Blob, BlobSource, Finding, Throttle};
use berth_metadata::Change;
use berth_metadata::tables::{blob, scrub, setting};
use berth_storage::ObjectStat;
use berth_types::Digest;
use serde::{Deserialize, Serialize};

use crate::{Maintenance, MaintenanceScope};

/// The setting that says how far the pass of the server that is under way has come; those of
/// instances have their own.
const CURSOR: &str = "scrub_cursor";

/// Digests that are read from the database at a time.
const PAGE: i64 = 100;

/// What was found is written down after so many blobs or so much time.
const WRITE_AFTER: usize = 100;
const WRITE_WITHIN: Duration = Duration::from_secs(2);

/// How often a blob that takes long is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// So many blobs in a row that cannot be read mean that the store cannot.
const MOST_UNREAD: u64 = 10;

/// What a pass has found so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScrubReport {
    pub blobs: u64,
    pub bytes: u64,
    /// Blobs whose bytes are missing or wrong, whether or not they could be repaired.
    pub damaged: u64,
    pub repaired: u64,
    /// Blobs of which nothing is known, because their object could not be read this time.
    pub unread: u64,
}

/// How far a pass has come.
#[derive(Debug, Clone, Copy)]
pub struct ScrubProgress<'a> {
    pub report: &'a ScrubReport,
    /// Blobs and bytes of the whole pass, as they were when it began or went on.
    pub blobs_total: u64,
    pub bytes_total: u64,
}

/// Whoever wants to know how a pass goes.
#[async_trait]
pub trait ScrubWatch: Send + Sync {
    /// Something worth a line.
    async fn log(&self, line: String);

    fn progress(&self, progress: ScrubProgress<'_>);

    /// A large blob is being read, and bytes still come.
    fn alive(&self) {}
}

/// Where the pass under way stands.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursor {
    /// Up to this digest everything is done.
    after: String,
    report: ScrubReport,
}

/// The scrubber.
#[derive(Clone)]
pub struct Scrub {
    maintenance: Maintenance,
    rate: u64,
    sources: Vec<Arc<dyn BlobSource>>,
}

impl Scrub {
    /// The kind of its tasks.
    pub const KIND: &'static str = "scrub";

    /// Reads at most `rate` bytes a second; 0 is without limit.
    pub fn new(maintenance: Maintenance, rate: u64) -> Self {
        Self { maintenance, rate, sources: Vec::new() }
    }

    /// Asks there for what is damaged.
    #[must_use]
    pub fn with_source(mut self, source: Arc<dyn BlobSource>) -> Self {
        self.sources.push(source);
        self
    }

    /// Ends the pass under way, or makes a whole one when there is none. May be dropped and called
    /// again at any time.
    ///
    /// # Errors
    /// When the database or the store cannot be used.
    pub async fn run(&self, watch: &dyn ScrubWatch) -> Result<ScrubReport, ArtifactError> {
        self.run_in(&MaintenanceScope::Server, watch).await
    }

    /// As [`Scrub::run`], over the blobs within a scope.
    ///
    /// # Errors
    /// As [`Scrub::run`].
    pub async fn run_in(
        &self,
        scope: &MaintenanceScope,
        watch: &dyn ScrubWatch,
    ) -> Result<ScrubReport, ArtifactError> {
        Pass::resume(self, scope, watch).await?.run().await
    }

    /// Forgets how far the pass of the server that is under way has come: the next one begins at the beginning.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn restart(&self) -> Result<(), ArtifactError> {
        let mut session = self.maintenance.db.begin().await?;
        session.touch(Change::Instances);
        setting::delete(&mut session, CURSOR).await?;
        Ok(session.commit().await?)
    }

    /// Gets the bytes of a damaged blob from the first source that has them; its name. Of one instance
    /// only its own sources are asked, and named in its log.
    async fn repair(
        &self,
        scope: &MaintenanceScope,
        blob: Blob,
        watch: &dyn ScrubWatch,
    ) -> Result<Option<&'static str>, ArtifactError> {
        let repair =
            self.maintenance.artifacts.integrity().repair(scope.instance_id(), blob).await?;
        for source in &self.sources {
            match source.refetch(&repair).await {
                Ok(true) => return Ok(Some(source.name())),
                Ok(false) => {}
                Err(reason) => {
                    let (digest, name) = (repair.digest(), source.name());
                    watch.log(format!("{digest} could not be had from {name}: {reason}")).await;
                }
            }
        }
        Ok(None)
    }
}

/// One pass while it runs.
struct Pass<'a> {
    scrub: &'a Scrub,
    scope: &'a MaintenanceScope,
    watch: &'a dyn ScrubWatch,
    throttle: Throttle,
    cursor: Cursor,
    blobs_total: u64,
    bytes_total: u64,
    /// Found whole, and not written down yet.
    whole: Vec<(Blob, ObjectStat)>,
    written: Instant,
    /// Blobs in a row that could not be read.
    unread: u64,
}

impl<'a> Pass<'a> {
    async fn resume(
        scrub: &'a Scrub,
        scope: &'a MaintenanceScope,
        watch: &'a dyn ScrubWatch,
    ) -> Result<Self, ArtifactError> {
        let mut session = scrub.maintenance.db.read().await?;
        let kept = setting::find(&mut session, &scope.name(CURSOR)).await?;
        let cursor: Cursor =
            kept.and_then(|kept| serde_json::from_str(&kept).ok()).unwrap_or_default();
        let ahead = scrub::ahead(&mut session, scope.instance_id(), &cursor.after).await?;
        drop(session);
        let (blobs, bytes) = (unsigned(ahead.blobs), unsigned(ahead.bytes));
        watch
            .log(if cursor.after.is_empty() {
                format!("{blobs} blobs to read, {bytes} bytes")
            } else {
                format!("going on after {}: {blobs} blobs to read, {bytes} bytes", cursor.after)
            })
            .await;
        Ok(Self {
            blobs_total: cursor.report.blobs + blobs,
            bytes_total: cursor.report.bytes + bytes,
            throttle: Throttle::new(scrub.rate),
            scrub,
            scope,
            watch,
            cursor,
            whole: Vec::new(),
            written: Instant::now(),
            unread: 0,
        })
    }

    async fn run(mut self) -> Result<ScrubReport, ArtifactError> {
        loop {
            let mut session = self.scrub.maintenance.db.read().await?;
            let instance_id = self.scope.instance_id();
            let page = scrub::page(&mut session, instance_id, &self.cursor.after, PAGE).await?;
            drop(session);
            if page.is_empty() {
                break;
            }
            for digest in page {
                self.look_at(&digest).await?;
                self.cursor.after = digest.to_string();
                if self.whole.len() >= WRITE_AFTER || self.written.elapsed() >= WRITE_WITHIN {
                    self.write_down(false).await?;
                    self.show();
                }
            }
        }
        self.write_down(true).await?;
        self.show();
        let report = self.cursor.report;
        self.watch.log(report.in_words()).await;
        Ok(report)
    }

    async fn look_at(&mut self, digest: &Digest) -> Result<(), ArtifactError> {
        let Maintenance { artifacts, db, .. } = &self.scrub.maintenance;
        let mut session = db.read().await?;
        let found = blob::find(&mut session, digest).await?;
        drop(session);
        // Collected meanwhile.
        let Some(blob) = found else { return Ok(()) };
        let passed = self.throttle.passed();
        let integrity = artifacts.integrity();
        let hash = integrity.hash(&blob, &mut self.throttle);
        let finding = match while_it_reads(hash, &passed, self.watch).await {
            Ok(finding) => finding,
            Err(error) => return self.could_not_read(&blob, error).await,
        };
        self.unread = 0;
        self.cursor.report.blobs += 1;
        self.cursor.report.bytes += unsigned(blob.size);
        metrics::counter!("berth_scrub_bytes_total").increment(unsigned(blob.size));
        match finding {
            Finding::Whole(stat) => {
                if blob.damaged_at.is_some() {
                    metrics::counter!("berth_blobs_repaired_total", "by" => "scrub").increment(1);
                    self.watch.log(format!("{digest} is whole again")).await;
                }
                self.whole.push((blob, stat));
            }
            Finding::Damaged(reason) => self.damaged(blob, reason).await?,
        }
        Ok(())
    }

    async fn could_not_read(
        &mut self,
        blob: &Blob,
        error: ArtifactError,
    ) -> Result<(), ArtifactError> {
        self.unread += 1;
        self.cursor.report.unread += 1;
        self.watch.log(format!("{} could not be read: {error}", blob.digest)).await;
        if self.unread >= MOST_UNREAD { Err(error) } else { Ok(()) }
    }

    async fn damaged(&mut self, blob: Blob, reason: String) -> Result<(), ArtifactError> {
        let integrity = self.scrub.maintenance.artifacts.integrity();
        let new = blob.damaged_at.is_none();
        let digest = blob.digest.clone();
        let line = format!("{digest} is damaged: {reason}");
        if new && !integrity.settle(&blob, &Finding::Damaged(reason)).await? {
            // Its bytes were replaced, or it was collected, while they were read.
            return Ok(());
        }
        self.cursor.report.damaged += 1;
        self.watch.log(line).await;
        match self.scrub.repair(self.scope, blob, self.watch).await? {
            Some(by) => {
                self.cursor.report.repaired += 1;
                metrics::counter!("berth_blobs_repaired_total", "by" => by).increment(1);
                tracing::warn!(%digest, by, "a damaged blob was repaired");
                self.watch.log(format!("{digest} is repaired: its bytes came from {by}")).await;
            }
            None => {
                let line = format!("{digest} stays in quarantine until it is pushed again");
                self.watch.log(line).await;
            }
        }
        Ok(())
    }

    /// Writes down what was found whole and how far the pass came.
    async fn write_down(&mut self, at_end: bool) -> Result<(), ArtifactError> {
        let maintenance = &self.scrub.maintenance;
        let now = maintenance.now();
        let mut session = maintenance.db.begin().await?;
        for (blob, stat) in self.whole.drain(..) {
            let (digest, key) = (&blob.digest, &blob.storage_key);
            scrub::set_whole(&mut session, digest, key, &stat.stamp, now).await?;
        }
        session.touch(Change::Instances);
        let place = self.scope.name(CURSOR);
        if at_end {
            setting::delete(&mut session, &place).await?;
        } else {
            let cursor = serde_json::to_string(&self.cursor)
                .map_err(|error| ArtifactError::Internal(error.to_string()))?;
            setting::put(&mut session, &place, &cursor).await?;
        }
        session.commit().await?;
        self.written = Instant::now();
        Ok(())
    }

    fn show(&self) {
        self.watch.progress(ScrubProgress {
            report: &self.cursor.report,
            blobs_total: self.blobs_total,
            bytes_total: self.bytes_total,
        });
    }
}

/// Waits for a blob to be hashed, and says as long as bytes come that it gets on.
async fn while_it_reads<T>(
    hash: impl Future<Output = T>,
    passed: &AtomicU64,
    watch: &dyn ScrubWatch,
) -> T {
    let mut hash = std::pin::pin!(hash);
    let mut seen = passed.load(Ordering::Relaxed);
    loop {
        if let Ok(done) = tokio::time::timeout(LOOK_EVERY, &mut hash).await {
            return done;
        }
        let now = passed.load(Ordering::Relaxed);
        if now > seen {
            watch.alive();
        }
        seen = now;
    }
}

impl ScrubReport {
    /// One line for people.
    pub fn in_words(&self) -> String {
        let Self { blobs, bytes, damaged, repaired, unread } = self;
        let mut line = format!("{blobs} blobs read, {bytes} bytes: ");
        line += &match damaged {
            0 => "all are whole".to_owned(),
            _ => format!("{damaged} damaged, {repaired} of them repaired"),
        };
        if *unread > 0 {
            line += &format!("; {unread} could not be read");
        }
        line
    }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
