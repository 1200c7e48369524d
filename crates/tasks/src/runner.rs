//! Claims tasks of one queue and runs them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use berth_metadata::tables::task;
use berth_metadata::{Db, DbError};
use berth_types::{Clock, id};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::attempt::end_of_lease;
use crate::handle::StopReason;
use crate::reaper::reap_forever;
use crate::supervise::supervise;
use crate::watch::{Running, watch};
use crate::{Handler, TASKS_CHANNEL, TaskRow};

/// How a [`Runner`] works.
#[derive(Debug, Clone)]
pub struct RunnerConfig {
    pub queue: &'static str,
    /// Tasks at a time.
    pub workers: usize,
    /// How long a task stays with a worker that says nothing.
    pub lease: Duration,
    /// How often the runner looks for cancellations that it was not notified of.
    pub heartbeat: Duration,
    /// How often an idle runner looks for tasks that it was not notified of.
    pub poll: Duration,
    /// Pause after the first failed attempt; it doubles with every further one.
    pub backoff_base: Duration,
    /// Longest pause between attempts.
    pub backoff_max: Duration,
    /// How long a handler may take to stop before it is dropped.
    pub grace: Duration,
    /// Unique among all runners on the database.
    pub worker_id: String,
}

impl RunnerConfig {
    /// The defaults: a lease of 15 s, a heartbeat and a poll of 1 s.
    pub fn new(queue: &'static str, workers: usize) -> Self {
        Self {
            queue,
            workers,
            lease: Duration::from_secs(15),
            heartbeat: Duration::from_secs(1),
            poll: Duration::from_secs(1),
            backoff_base: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            grace: Duration::from_millis(1500),
            worker_id: id::key(),
        }
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy { backoff_base: self.backoff_base, backoff_max: self.backoff_max }
    }
}

/// How attempts are repeated.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) backoff_base: Duration,
    pub(crate) backoff_max: Duration,
}

/// What the parts of a runner share.
pub(crate) struct Shared {
    pub(crate) db: Db,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: RunnerConfig,
    pub(crate) handlers: HashMap<&'static str, Arc<dyn Handler>>,
    pub(crate) running: Running,
    pub(crate) shutdown: CancellationToken,
}

/// Runs the tasks of one queue. Any number of runners, in any number of processes, share a queue.
pub struct Runner {
    shared: Arc<Shared>,
}

impl Runner {
    /// A task of a kind that has no handler here counts as a failed attempt.
    pub fn new(
        db: Db,
        clock: Arc<dyn Clock>,
        config: RunnerConfig,
        handlers: Vec<Arc<dyn Handler>>,
    ) -> Self {
        let handlers = handlers.into_iter().map(|handler| (handler.kind(), handler)).collect();
        let (running, shutdown) = (Running::default(), CancellationToken::new());
        Self { shared: Arc::new(Shared { db, clock, config, handlers, running, shutdown }) }
    }

    /// Works until `shutdown` fires, then tells the handlers to stop, gives their tasks back and
    /// returns. Dropping the future aborts everything at once; the leases then run out.
    pub async fn run(self, shutdown: CancellationToken) {
        let shared = &self.shared;
        tokio::select! {
            () = claim_until(shared, &shutdown) => {}
            () = watch(shared) => {}
            () = reap_forever(shared) => {}
        }
    }
}

async fn claim_until(shared: &Arc<Shared>, shutdown: &CancellationToken) {
    let mut tasks = JoinSet::new();
    while !shutdown.is_cancelled() {
        while tasks.try_join_next().is_some() {}
        let free = shared.config.workers.saturating_sub(tasks.len());
        if free == 0 {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = tasks.join_next() => continue,
            }
        }
        // Not cancelled by the shutdown: a claim that was sent may have been committed.
        let wait = match claim(shared, free).await {
            Ok(Claimed::Tasks(rows)) => {
                for row in rows {
                    tasks.spawn(supervise(Arc::clone(shared), row));
                }
                continue;
            }
            Ok(Claimed::Nothing { wait }) => wait,
            Err(error) => {
                tracing::warn!(%error, queue = shared.config.queue, "claiming tasks failed");
                shared.config.poll
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = shared.db.wait_notified(TASKS_CHANNEL, wait) => {}
        }
    }
    shared.shutdown.cancel();
    for attempt in shared.running.all() {
        attempt.stop(StopReason::Shutdown);
    }
    while tasks.join_next().await.is_some() {}
}

enum Claimed {
    Tasks(Vec<TaskRow>),
    /// Nothing is due for that long, as far as is known.
    Nothing {
        wait: Duration,
    },
}

async fn claim(shared: &Shared, limit: usize) -> Result<Claimed, DbError> {
    let config = &shared.config;
    let now = shared.clock.now();
    // Read first: an idle runner never takes the writer.
    let mut session = shared.db.read().await?;
    let next = task::next_run_at(&mut session, config.queue).await?;
    drop(session);
    let due_in = match next {
        None => config.poll,
        Some(run_at) => Duration::from_millis(u64::try_from(run_at - now).unwrap_or(0)),
    };
    if !due_in.is_zero() {
        return Ok(Claimed::Nothing { wait: due_in.min(config.poll) });
    }
    let mut session = shared.db.begin().await?;
    let now = shared.clock.now();
    let expires = end_of_lease(now, config.lease);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let owner = &config.worker_id;
    let rows = task::claim(&mut session, config.queue, now, limit, owner, expires).await?;
    if rows.is_empty() {
        // Others were faster, or hold the rows right now.
        return Ok(Claimed::Nothing { wait: config.poll.min(Duration::from_millis(50)) });
    }
    session.commit().await?;
    Ok(Claimed::Tasks(rows))
}
