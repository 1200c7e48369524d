//! What runs beside requests: build and subscription workers, and schedules.

use std::sync::Arc;
use std::time::Duration;

use berth_artifacts::Artifacts;
use berth_builder::Builder;
use berth_metadata::repos::task::{TaskState, count_by_state};
use berth_metadata::{Db, DbError};
use berth_subscription::Subscription;
use berth_tasks::{Runner, RunnerConfig, Scheduler};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::assemble::Parts;
use crate::config::Config;
use crate::metrics::TASKS;

/// Starts the workers; on `shutdown` they give their tasks back and end.
pub(crate) fn spawn(
    parts: &Parts,
    config: &Config,
    tracker: &TaskTracker,
    shutdown: &CancellationToken,
) {
    let builds = RunnerConfig::new(Builder::QUEUE, config.build.workers);
    let subscriptions = RunnerConfig::new(Subscription::QUEUE, config.subscription.workers);
    let runner = |config, handlers| {
        Runner::new(parts.db.clone(), Arc::clone(&parts.clock), config, handlers)
    };
    tracker.spawn(runner(builds, parts.builder.handlers()).run(shutdown.clone()));
    tracker.spawn(runner(subscriptions, parts.subscription.handlers()).run(shutdown.clone()));
    let scheduler = Scheduler::new(
        parts.db.clone(),
        Arc::clone(&parts.clock),
        Arc::new(parts.subscription.clone()),
    );
    tracker.spawn(scheduler.run(shutdown.clone()));
    let (artifacts, shutdown) = (parts.artifacts.clone(), shutdown.clone());
    tracker.spawn(async move {
        tokio::select! {
            () = collect_uploads(&artifacts) => {}
            () = shutdown.cancelled() => {}
        }
    });
}

/// How long an upload may pause before its bytes are collected.
const UPLOAD_PAUSE: Duration = Duration::from_secs(24 * 3600);
/// Time between two looks at abandoned uploads.
const COLLECT_INTERVAL: Duration = Duration::from_secs(600);

/// Removes uploads that nobody continues, and what unfinished objects left in the store.
async fn collect_uploads(artifacts: &Artifacts) {
    let pause = i64::try_from(UPLOAD_PAUSE.as_millis()).unwrap_or(i64::MAX);
    let mut tick = tokio::time::interval(COLLECT_INTERVAL);
    loop {
        tick.tick().await;
        loop {
            match artifacts.uploads().purge(artifacts.clock.now() - pause).await {
                Ok(0) => break,
                Ok(count) => tracing::info!(count, "abandoned uploads removed"),
                Err(error) => {
                    tracing::warn!(%error, "abandoned uploads could not be removed");
                    break;
                }
            }
        }
        // Later than the sessions, so that only pieces without a session are left to sweep.
        match artifacts.store.sweep(UPLOAD_PAUSE + COLLECT_INTERVAL).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "pieces of unfinished objects removed"),
            Err(error) => tracing::warn!(%error, "unfinished objects could not be swept"),
        }
    }
}

/// Brings the gauges of unfinished tasks up to date.
pub(crate) async fn measure(db: &Db) -> Result<(), DbError> {
    let mut session = db.read().await?;
    for queue in [Builder::QUEUE, Subscription::QUEUE] {
        for (label, state) in [("ready", TaskState::Ready), ("running", TaskState::Running)] {
            let count = count_by_state(&mut session, queue, state).await?;
            // Exact up to 2^53 tasks.
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            metrics::gauge!(TASKS, "queue" => queue, "state" => label).set(count as f64);
        }
    }
    Ok(())
}
