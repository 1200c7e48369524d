//! What runs beside requests: workers of builds, subscriptions and maintenance, and schedules.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use berth_artifacts::BlobSource;
use berth_builder::Builder;
use berth_maintenance::{Collector, History, Maintenance, MaintenanceKind, Scrub};
use berth_metadata::tables::schedule::Schedule;
use berth_metadata::tables::scrub::count_damaged;
use berth_metadata::tables::task::count_unfinished;
use berth_metadata::{Db, DbError, Session};
use berth_subscription::Subscription;
use berth_tasks::{Fire, Handler, Runner, RunnerConfig, Scheduler, TaskError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::assemble::Parts;
use crate::config::Config;
use crate::metrics::{BLOBS_DAMAGED, TASKS};

/// Builds beside the workers while one of those takes long.
pub(crate) const BUILD_SPARE: usize = 1;

/// After so long, a subscription task makes room for those of other sources.
const SLOW_SOURCE: Duration = Duration::from_secs(10);

/// Starts the workers; on `shutdown` they give their tasks back and end.
pub(crate) fn spawn(
    parts: &Parts,
    config: &Config,
    tracker: &TaskTracker,
    shutdown: &CancellationToken,
) {
    let builds = RunnerConfig {
        spare: BUILD_SPARE,
        deadline: config.build.deadline,
        ..RunnerConfig::new(Builder::QUEUE, config.build.workers)
    };
    // A slow source costs a slot and little else, so that as many may open again.
    let subscriptions = RunnerConfig {
        spare: config.subscription.workers,
        slow_after: SLOW_SOURCE,
        deadline: config.subscription.deadline,
        ..RunnerConfig::new(Subscription::QUEUE, config.subscription.workers)
    };
    let maintenance = RunnerConfig {
        deadline: config.maintenance.deadline,
        ..RunnerConfig::new(Maintenance::QUEUE, MaintenanceKind::ALL.len())
    };
    let runner = |config, handlers| {
        Runner::new(parts.db.clone(), Arc::clone(&parts.clock), config, handlers)
    };
    let subscription = Arc::new(parts.subscription.clone());
    let scrub = Scrub::new(parts.maintenance.clone(), config.scrub.rate)
        .with_source(Arc::clone(&subscription) as Arc<dyn BlobSource>);
    let caretakers: Vec<Arc<dyn Handler>> = vec![
        Arc::new(Collector::new(parts.maintenance.clone())),
        Arc::new(scrub),
        Arc::new(History::new(parts.db.clone(), config.history.kept())),
    ];
    tracker.spawn(runner(builds, parts.builder.handlers()).run(shutdown.clone()));
    tracker.spawn(runner(subscriptions, parts.subscription.handlers()).run(shutdown.clone()));
    tracker.spawn(runner(maintenance, caretakers).run(shutdown.clone()));
    let schedules = Schedules(vec![subscription, Arc::new(parts.maintenance.clone())]);
    let scheduler = Scheduler::new(parts.db.clone(), Arc::new(schedules));
    tracker.spawn(scheduler.run(shutdown.clone()));
}

/// Writes the schedules of maintenance as the configuration has them.
pub(crate) async fn arrange(maintenance: &Maintenance, config: &Config) -> Result<(), DbError> {
    let maintenance = maintenance.tasks();
    maintenance.arrange(MaintenanceKind::Gc, config.gc.interval).await?;
    maintenance.arrange(MaintenanceKind::Scrub, config.scrub.interval).await?;
    maintenance.arrange(MaintenanceKind::History, config.history.interval).await
}

/// Whoever has schedules: each fires its own kinds and leaves the others alone.
struct Schedules(Vec<Arc<dyn Fire>>);

#[async_trait]
impl Fire for Schedules {
    async fn fire(&self, session: &mut Session, schedule: &Schedule) -> Result<(), TaskError> {
        for owner in &self.0 {
            owner.fire(session, schedule).await?;
        }
        Ok(())
    }
}

/// Brings the gauges of unfinished tasks and damaged blobs up to date.
pub(crate) async fn measure(db: &Db) -> Result<(), DbError> {
    let mut session = db.read().await?;
    for queue in [Builder::QUEUE, Subscription::QUEUE, Maintenance::QUEUE] {
        let unfinished = count_unfinished(&mut session, queue).await?;
        for (label, count) in [
            ("ready", unfinished.ready),
            ("delayed", unfinished.delayed),
            ("running", unfinished.running),
        ] {
            // Exact up to 2^53 tasks.
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            metrics::gauge!(TASKS, "queue" => queue, "state" => label).set(count as f64);
        }
    }
    let damaged = count_damaged(&mut session).await?;
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!(BLOBS_DAMAGED).set(damaged as f64);
    Ok(())
}
