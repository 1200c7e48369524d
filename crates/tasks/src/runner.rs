//! Claims tasks of one queue and runs them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use berth_metadata::tables::task::claim::{Claimant, first, promote};
use berth_metadata::{Db, DbError};
use berth_types::{Clock, Millis, id};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::attempt::later;
use crate::claim::{Allowance, Places, next};
use crate::handle::StopReason;
use crate::reaper::reap_forever;
use crate::slots::{Free, Sizes, Slots};
use crate::supervise::supervise;
use crate::watch::{Running, watch};
use crate::{Handler, TASKS_CHANNEL, TaskRow};

/// How a [`Runner`] works.
#[derive(Debug, Clone)]
pub struct RunnerConfig {
    pub queue: &'static str,
    /// Tasks at a time.
    pub workers: usize,
    /// Tasks beside them while as many are slow, so that slow ones do not hold up the others.
    pub spare: usize,
    /// A task that runs for longer is slow: it and the others of its share cannot take the last
    /// slot.
    pub slow_after: Duration,
    /// How long an attempt may go without progress before its task ends as failed; zero is for
    /// ever. See [`crate::TaskHandle::alive`].
    pub deadline: Duration,
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
    /// How long a handler may take to stop before it is dropped, and after that until it is left
    /// to itself.
    pub grace: Duration,
    /// A task that lost so many workers ends: it may be what they are lost to.
    pub most_losses: i64,
    /// Unique among all runners on the database.
    pub worker_id: String,
}

impl RunnerConfig {
    /// The defaults: a lease of 15 s, a heartbeat and a poll of 1 s, a minute to be slow and half an
    /// hour without progress.
    pub fn new(queue: &'static str, workers: usize) -> Self {
        Self {
            queue,
            workers,
            spare: 0,
            slow_after: Duration::from_secs(60),
            deadline: Duration::from_secs(1800),
            lease: Duration::from_secs(15),
            heartbeat: Duration::from_secs(1),
            poll: Duration::from_secs(1),
            backoff_base: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            grace: Duration::from_millis(1500),
            most_losses: 5,
            worker_id: id::key(),
        }
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy {
            backoff_base: self.backoff_base,
            backoff_max: self.backoff_max,
            deadline: self.deadline,
            most_losses: self.most_losses,
        }
    }

    /// A task that lost so many workers runs only while no other such task does, so that the one
    /// that kills its workers is found out and those beside it are not blamed.
    fn suspect(&self) -> i64 {
        self.most_losses.saturating_sub(3).max(1)
    }
}

/// How attempts end.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) backoff_base: Duration,
    pub(crate) backoff_max: Duration,
    pub(crate) deadline: Duration,
    pub(crate) most_losses: i64,
}

/// What the parts of a runner share.
pub(crate) struct Shared {
    pub(crate) db: Db,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: RunnerConfig,
    pub(crate) handlers: HashMap<&'static str, Arc<dyn Handler>>,
    pub(crate) running: Running,
    pub(crate) slots: Arc<Slots>,
    pub(crate) places: Places,
    /// As leases name this worker.
    pub(crate) owner: String,
    pub(crate) shutdown: CancellationToken,
}

/// Runs the tasks of one queue. Any number of runners, in any number of processes, share a queue.
pub struct Runner {
    shared: Arc<Shared>,
}

impl Runner {
    /// A task of a kind that has no handler here counts as a failed attempt. The clock dates log
    /// lines; whatever is waited for is measured in the database's time.
    pub fn new(
        db: Db,
        clock: Arc<dyn Clock>,
        config: RunnerConfig,
        handlers: Vec<Arc<dyn Handler>>,
    ) -> Self {
        let handlers = handlers.into_iter().map(|handler| (handler.kind(), handler)).collect();
        let RunnerConfig { workers, spare, slow_after, .. } = config;
        Self {
            shared: Arc::new(Shared {
                owner: format!("{}{}", db.tenure(), config.worker_id),
                slots: Slots::new(config.queue, Sizes { workers, spare, slow_after }),
                db,
                clock,
                config,
                handlers,
                running: Running::default(),
                places: Places::default(),
                shutdown: CancellationToken::new(),
            }),
        }
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
        let free = shared.slots.free();
        let changes_in = free.changes_in.unwrap_or(shared.config.poll);
        if free.slots == 0 {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = shared.slots.freed() => {}
                () = tokio::time::sleep(changes_in), if free.changes_in.is_some() => {}
            }
            continue;
        }
        // Not cancelled by the shutdown: a claim that was sent may have been committed.
        let wait = match claim(shared, &free).await {
            Ok(Claimed::Tasks(rows)) => {
                for row in rows {
                    let slot = shared.slots.take((row.tenant.clone(), row.share.clone()));
                    tasks.spawn(supervise(Arc::clone(shared), row, slot));
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
            () = shared.slots.freed() => {}
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

async fn claim(shared: &Shared, free: &Free) -> Result<Claimed, DbError> {
    let config = &shared.config;
    // Read first: an idle runner never takes the writer.
    let mut session = shared.db.read().await?;
    let known = first(&mut session, config.queue).await?;
    if !known.ready {
        let Some(run_at) = known.run_at else { return Ok(Claimed::Nothing { wait: config.poll }) };
        let now = session.database_time().await?;
        let wait = Duration::from_millis(u64::try_from(run_at.saturating_sub(now)).unwrap_or(0));
        if !wait.is_zero() {
            return Ok(Claimed::Nothing { wait: wait.min(config.poll) });
        }
    }
    drop(session);
    let mut session = shared.db.begin().await?;
    let now = session.database_time().await?;
    let is_due = known.run_at.is_some_and(|run_at| run_at <= now);
    if is_due {
        promote(&mut session, config.queue, now).await?;
    }
    let claimant = Claimant {
        owner: &shared.owner,
        now,
        lease_expires_at: later(now, config.lease),
        losses: i64::MAX,
    };
    let slow_after = Millis::try_from(config.slow_after.as_millis()).unwrap_or(Millis::MAX);
    let allowance = Allowance {
        slots: free.slots,
        guard_last: free.guard_last,
        slow: &free.slow,
        suspect: config.suspect(),
        slow_before: now.saturating_sub(slow_after),
    };
    let rows = next(&mut session, config.queue, &shared.places, &claimant, &allowance).await?;
    if is_due || !rows.is_empty() {
        session.commit().await?;
    }
    if rows.is_empty() {
        // Others were faster, hold the rows right now, or what waits is slow.
        return Ok(Claimed::Nothing { wait: config.poll });
    }
    Ok(Claimed::Tasks(rows))
}
