//! A collection as a task.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use berth_artifacts::ArtifactError;
use berth_tasks::{Handler, TaskFailure, TaskHandle};
use serde_json::json;

use super::{GcItem, GcReport, GcStage, GcWatch};
use crate::scope::Payload;
use crate::{Maintenance, MaintenanceKind, MaintenanceScope};

/// Lines about single things in the log of one task; a first collection may have millions.
const MOST_LINES: u64 = 1000;

/// Runs the `gc` tasks.
pub struct Collector(Maintenance);

impl Collector {
    pub fn new(maintenance: Maintenance) -> Self {
        Self(maintenance)
    }
}

#[async_trait]
impl Handler for Collector {
    fn kind(&self) -> &'static str {
        MaintenanceKind::Gc.task_kind()
    }

    async fn run(&self, task: &TaskHandle) -> Result<(), TaskFailure> {
        let watch = Watch { task: task.clone(), lines: AtomicU64::new(0) };
        let scope = MaintenanceScope::from(task.payload::<Option<Payload>>()?);
        let done = self.0.gc().run_in(&scope, &watch).await;
        let told = watch.lines.load(Ordering::Relaxed);
        if told > MOST_LINES {
            task.log(format!("{} further things are not listed", told - MOST_LINES)).await;
        }
        let report = match done {
            Ok(report) => report,
            Err(ArtifactError::Stopped) => {
                return Err(task.check().err().unwrap_or(TaskFailure::Canceled));
            }
            Err(error) => return Err(error.into()),
        };
        task.log(report.to_string()).await;
        task.complete(task.fenced().await?).await
    }
}

struct Watch {
    task: TaskHandle,
    lines: AtomicU64,
}

#[async_trait]
impl GcWatch for Watch {
    fn stopped(&self) -> bool {
        self.task.is_cancelled()
    }

    async fn item(&self, item: &GcItem) {
        if self.lines.fetch_add(1, Ordering::Relaxed) < MOST_LINES {
            self.task.log(item.to_string()).await;
        }
    }

    async fn progress(&self, stage: GcStage, report: &GcReport) {
        self.task.progress(json!({
            "Stage": stage.as_str(),
            "Reviewed": report.reviewed,
            "Manifests": report.manifests,
            "Links": report.links,
            "Blobs": report.blobs,
            "BlobBytes": report.blob_bytes,
            "Objects": report.objects,
            "ObjectBytes": report.object_bytes,
            "Uploads": report.uploads,
            "Pieces": report.pieces,
        }));
    }
}
