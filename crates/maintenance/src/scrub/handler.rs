//! A pass as a task.

use async_trait::async_trait;
use berth_tasks::{Handler, TaskFailure, TaskHandle};
use serde_json::json;

use crate::MaintenanceScope;
use crate::scope::Payload;

use super::{Scrub, ScrubProgress, ScrubWatch};

#[async_trait]
impl Handler for Scrub {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    async fn run(&self, task: &TaskHandle) -> Result<(), TaskFailure> {
        let scope = MaintenanceScope::from(task.payload::<Option<Payload>>()?);
        let stop = task.cancelled();
        // What was found until then is written down; the next pass goes on from there.
        let done = tokio::select! {
            biased;
            () = stop.cancelled() => {
                return Err(task.check().err().unwrap_or(TaskFailure::Canceled));
            }
            done = self.run_in(&scope, task) => done,
        };
        done.map_err(TaskFailure::from)?;
        task.complete(task.fenced().await?).await
    }
}

#[async_trait]
impl ScrubWatch for TaskHandle {
    async fn log(&self, line: String) {
        Self::log(self, line).await;
    }

    fn alive(&self) {
        Self::alive(self);
    }

    fn progress(&self, progress: ScrubProgress<'_>) {
        let report = progress.report;
        Self::progress(
            self,
            json!({
                "Blobs": report.blobs,
                "BlobsTotal": progress.blobs_total,
                "Bytes": report.bytes,
                "BytesTotal": progress.bytes_total,
                "Damaged": report.damaged,
                "Repaired": report.repaired,
                "Unread": report.unread,
            }),
        );
    }
}
