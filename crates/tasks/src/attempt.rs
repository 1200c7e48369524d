//! The state of a running attempt that its handler, its supervisor and the watch share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use berth_metadata::tables::task;
use berth_metadata::{Db, DbError};
use berth_types::{Clock, Millis};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::TaskRow;
use crate::handle::StopReason;
use crate::log::Buffer;

/// A failure so soon after the database was away is put down to that.
const AFTERMATH: Duration = Duration::from_secs(30);

/// How long log lines and progress may wait to be written.
const WRITE_WITHIN: Duration = Duration::from_millis(400);

pub(crate) struct Attempt {
    pub(crate) db: Db,
    pub(crate) clock: Arc<dyn Clock>,
    /// As it was when claimed.
    pub(crate) row: TaskRow,
    pub(crate) buffer: Buffer,
    pub(crate) cancel: CancellationToken,
    pub(crate) lease: Duration,
    reason: OnceLock<StopReason>,
    progress: Mutex<Option<String>>,
    /// When it last got on, and where it was then.
    stood: Mutex<(Instant, String)>,
    /// Something waits to be written.
    dirty: Notify,
    last_renewed: Mutex<Instant>,
    database_failed: Mutex<Option<Instant>>,
    ended: AtomicBool,
}

impl Attempt {
    pub(crate) fn new(db: Db, clock: Arc<dyn Clock>, row: TaskRow, lease: Duration) -> Self {
        Self {
            db,
            clock,
            buffer: Buffer::after(row.log_lines),
            row,
            cancel: CancellationToken::new(),
            lease,
            reason: OnceLock::new(),
            progress: Mutex::new(None),
            stood: Mutex::new((Instant::now(), "its beginning".to_owned())),
            dirty: Notify::new(),
            last_renewed: Mutex::new(Instant::now()),
            database_failed: Mutex::new(None),
            ended: AtomicBool::new(false),
        }
    }

    /// Tells the handler to stop. The first reason stands.
    pub(crate) fn stop(&self, reason: StopReason) {
        let _ = self.reason.set(reason);
        self.cancel.cancel();
    }

    pub(crate) fn stop_reason(&self) -> Option<StopReason> {
        self.reason.get().copied()
    }

    /// The end of this attempt is committed.
    pub(crate) fn set_ended(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Notes that the attempt gets on.
    pub(crate) fn alive(&self) {
        locked(&self.stood).0 = Instant::now();
    }

    fn stands_at(&self, place: &str) {
        *locked(&self.stood) = (Instant::now(), place.to_owned());
    }

    /// For how long it did not get on, and where it stands.
    pub(crate) fn stood(&self) -> (Duration, String) {
        let stood = locked(&self.stood);
        (stood.0.elapsed(), stood.1.clone())
    }

    pub(crate) fn log(&self, message: &str) {
        self.stands_at(message);
        self.buffer.push(message, self.clock.now());
        self.dirty.notify_one();
    }

    pub(crate) fn set_progress(&self, progress: String) {
        self.stands_at(&progress);
        *locked(&self.progress) = Some(progress);
        self.dirty.notify_one();
    }

    /// What was said last and is not written yet.
    pub(crate) fn progress(&self) -> Option<String> {
        locked(&self.progress).clone()
    }

    pub(crate) fn renewed(&self) {
        *locked(&self.last_renewed) = Instant::now();
    }

    /// Notes that the database did not answer.
    pub(crate) fn database_failed(&self) {
        *locked(&self.database_failed) = Some(Instant::now());
    }

    /// Whether it did not answer a short while ago.
    pub(crate) fn was_database_away(&self) -> bool {
        locked(&self.database_failed).is_some_and(|at| at.elapsed() < AFTERMATH)
    }

    /// Whether the lease ran out as far as this worker knows.
    pub(crate) fn is_overdue(&self) -> bool {
        locked(&self.last_renewed).elapsed() >= self.lease
    }

    /// Renews the lease and writes log lines and progress, until `done` fires. Never returns
    /// before that; errors are counted in the lease that is not renewed.
    pub(crate) async fn upkeep(&self, done: &CancellationToken) {
        let renew_every = self.lease / 3;
        let mut renew_at = tokio::time::Instant::now() + renew_every;
        loop {
            tokio::select! {
                () = done.cancelled() => return,
                () = tokio::time::sleep_until(renew_at) => {}
                () = self.dirty.notified() => {
                    // Lines come in bursts; one transaction takes a burst.
                    let at = (tokio::time::Instant::now() + WRITE_WITHIN).min(renew_at);
                    tokio::select! {
                        () = done.cancelled() => return,
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
            }
            match tokio::time::timeout(renew_every, self.write_back()).await {
                Ok(Ok(true)) => renew_at = tokio::time::Instant::now() + renew_every,
                Ok(Ok(false)) => {
                    self.stop(StopReason::LeaseLost);
                    return done.cancelled().await;
                }
                failed => {
                    self.database_failed();
                    let reason = match failed {
                        Ok(Err(error)) => error.to_string(),
                        _ => "the database did not answer".to_owned(),
                    };
                    tracing::warn!(task = self.row.task_id, reason, "lease was not renewed");
                    if self.is_overdue() {
                        self.stop(StopReason::LeaseLost);
                        return done.cancelled().await;
                    }
                    renew_at = tokio::time::Instant::now() + renew_every / 4;
                    self.dirty.notify_one();
                }
            }
        }
    }

    /// One transaction that renews the lease and writes what waits; `false` when the lease is lost.
    async fn write_back(&self) -> Result<bool, DbError> {
        let mut session = self.db.begin().await?;
        let progress = self.progress();
        let (task_id, attempt) = (self.row.task_id.as_str(), self.row.attempt);
        let expires = later(session.database_time().await?, self.lease);
        let renewed = task::renew(&mut session, task_id, attempt, expires, progress.clone());
        let Some(cancel_requested) = renewed.await? else { return Ok(false) };
        let lines = self.buffer.take(self.clock.now());
        lines.append(&mut session, task_id).await?;
        session.commit().await?;
        lines.written();
        self.renewed();
        let mut waiting = locked(&self.progress);
        if *waiting == progress {
            *waiting = None;
        }
        drop(waiting);
        if cancel_requested {
            self.stop(StopReason::CancelRequested);
        }
        Ok(true)
    }
}

/// The time `after` a time of the database.
pub(crate) fn later(now: Millis, after: Duration) -> Millis {
    now.saturating_add(Millis::try_from(after.as_millis()).unwrap_or(Millis::MAX))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
