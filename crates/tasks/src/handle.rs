//! A running attempt as its handler sees it.

use std::sync::Arc;

use berth_metadata::Session;
use berth_metadata::tables::task;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::attempt::{Attempt, later};
use crate::end::{Verdict, record};
use crate::slots::Slot;
use crate::{TaskFailure, TaskState};

/// Why an attempt should stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    CancelRequested,
    /// Another worker has the task, or may have it.
    LeaseLost,
    /// This process ends; the task goes back to the queue.
    Shutdown,
    /// It made no progress until its deadline; the task ends as failed.
    Stuck,
}

/// A running attempt. Clones are the same attempt. Its slot stays taken until the last clone is
/// dropped: threads that work for it hold one.
#[derive(Clone)]
pub struct TaskHandle {
    attempt: Arc<Attempt>,
    _slot: Arc<Slot>,
}

impl TaskHandle {
    pub(crate) fn new(attempt: Arc<Attempt>, slot: Arc<Slot>) -> Self {
        Self { attempt, _slot: slot }
    }

    pub fn id(&self) -> &str {
        &self.attempt.row.task_id
    }

    /// How often the task was claimed, this time included.
    pub fn attempt(&self) -> i64 {
        self.attempt.row.attempt
    }

    /// Whether the task ends when this attempt fails. Attempts that were given back or whose worker
    /// was lost do not count.
    pub fn is_last_attempt(&self) -> bool {
        self.attempt.row.failures + 1 >= self.attempt.row.max_attempts
    }

    /// What the task was enqueued with.
    ///
    /// # Errors
    /// `Permanent` when it is not a `T`.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, TaskFailure> {
        serde_json::from_str(&self.attempt.row.payload)
            .map_err(|error| TaskFailure::Permanent(format!("the task's payload: {error}")))
    }

    /// Fires on a request to cancel, when the lease is lost and at shutdown.
    pub fn cancelled(&self) -> CancellationToken {
        self.attempt.cancel.clone()
    }

    pub fn is_cancelled(&self) -> bool {
        self.attempt.cancel.is_cancelled()
    }

    /// Why [`Self::cancelled`] fired.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.attempt.stop_reason()
    }

    /// `Err` as soon as the attempt should stop: for loops.
    ///
    /// # Errors
    /// `LeaseLost` or `Canceled`.
    pub fn check(&self) -> Result<(), TaskFailure> {
        match self.stop_reason() {
            None => Ok(()),
            Some(StopReason::LeaseLost) => Err(TaskFailure::LeaseLost),
            Some(StopReason::CancelRequested | StopReason::Shutdown | StopReason::Stuck) => {
                Err(TaskFailure::Canceled)
            }
        }
    }

    /// Adds a log line. It is written within half a second and before the task ends, in a fenced
    /// transaction; it is safe to call while holding the session of [`Self::fenced`].
    #[expect(clippy::unused_async, reason = "callers may not depend on it never waiting")]
    pub async fn log(&self, message: impl Into<String>) {
        self.attempt.log(&message.into());
    }

    /// Says that the attempt gets on, where there is nothing new to log or to show. An attempt that
    /// says nothing at all until the runner's deadline counts as stuck.
    pub fn alive(&self) {
        self.attempt.alive();
    }

    /// Replaces what the task says about its progress; written with the next heartbeat.
    #[expect(clippy::needless_pass_by_value, reason = "callers make it for this call")]
    pub fn progress(&self, value: Value) {
        self.attempt.set_progress(value.to_string());
    }

    /// A write transaction in which this attempt still holds the task and its row is locked, so
    /// that nothing can take the task away before the commit. Keep it short.
    ///
    /// # Errors
    /// `LeaseLost`; `Canceled` when that was requested; `Transient` when the database failed.
    pub async fn fenced(&self) -> Result<Session, TaskFailure> {
        let attempt = &self.attempt;
        let mut session = attempt.db.begin().await?;
        let expires = later(session.database_time().await?, attempt.lease);
        match task::fence(&mut session, self.id(), self.attempt(), expires).await? {
            Some(false) => {
                attempt.renewed();
                attempt.alive();
                Ok(session)
            }
            Some(true) => {
                attempt.stop(StopReason::CancelRequested);
                Err(TaskFailure::Canceled)
            }
            None => {
                attempt.stop(StopReason::LeaseLost);
                Err(TaskFailure::LeaseLost)
            }
        }
    }

    /// Ends the task as SUCCEEDED in the transaction of [`Self::fenced`] and commits it: all or
    /// nothing of what the session holds, exactly once over all attempts.
    ///
    /// # Errors
    /// `LeaseLost` when the session is not a fenced one, `Transient` when the commit failed.
    pub async fn complete(&self, mut session: Session) -> Result<(), TaskFailure> {
        let attempt = &self.attempt;
        let now = session.database_time().await?;
        let lines = attempt.buffer.take(attempt.clock.now());
        lines.append(&mut session, self.id()).await?;
        let progress = attempt.progress();
        let finished = task::finish(
            &mut session,
            self.id(),
            self.attempt(),
            TaskState::Succeeded,
            None,
            now,
            progress,
        );
        if !finished.await? {
            attempt.stop(StopReason::LeaseLost);
            return Err(TaskFailure::LeaseLost);
        }
        session.commit().await?;
        lines.written();
        attempt.set_ended();
        record(&attempt.row, &Verdict::Succeeded);
        Ok(())
    }
}
