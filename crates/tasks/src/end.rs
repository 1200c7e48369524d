//! The end of an attempt: of the task too, or until its next attempt.

use std::sync::Arc;
use std::time::Duration;

use berth_metadata::tables::task::{self, Released};
use berth_metadata::{DbError, Session};
use berth_types::Millis;
use tokio_util::sync::CancellationToken;

use crate::attempt::{Attempt, later};
use crate::handle::StopReason;
use crate::log::{self, Entry, storable};
use crate::runner::Policy;
use crate::{End, Handler, TASKS_CHANNEL, TaskFailure, TaskRow, TaskState, backoff};

/// What the end of an attempt means for its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Succeeded,
    Ended(End),
    /// The attempt failed; there are more.
    Retry {
        error: String,
        delay: Duration,
    },
    /// Nothing failed; the task waits.
    Postpone {
        reason: String,
        delay: Duration,
    },
    /// Its worker was lost; another takes it up.
    Lost,
    /// The task goes back as it came.
    GiveBack(Back),
}

/// Why a task goes back as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Back {
    Shutdown,
    /// The lease could not be renewed, but nobody took the task meanwhile.
    LeaseLapsed,
}

/// Decides over a task whose worker was lost.
pub(crate) fn judge_lost(cancel_requested: bool, row: &TaskRow, policy: &Policy) -> Verdict {
    if cancel_requested {
        Verdict::Ended(End::Canceled)
    } else if row.losses + 1 >= policy.most_losses {
        let error = format!("its worker disappeared {} times while it ran", row.losses + 1);
        Verdict::Ended(End::Failed(error))
    } else {
        Verdict::Lost
    }
}

/// Decides over a task whose attempt is over.
pub(crate) fn judge(
    result: &Result<(), TaskFailure>,
    cancel_requested: bool,
    attempt: &Attempt,
    policy: &Policy,
) -> Verdict {
    let (row, stopped, stood) = (&attempt.row, attempt.stop_reason(), attempt.stood());
    if cancel_requested {
        return Verdict::Ended(End::Canceled);
    }
    let error = match (result, stopped) {
        (Ok(()), _) => return Verdict::Succeeded,
        (Err(_), Some(StopReason::Shutdown)) => return Verdict::GiveBack(Back::Shutdown),
        (Err(TaskFailure::Permanent(error)), _) => {
            return Verdict::Ended(End::Failed(storable(error)));
        }
        (Err(_), Some(StopReason::Stuck)) => {
            let (_, place) = stood;
            let error = format!(
                "no progress within {} s; it stood at: {place}",
                policy.deadline.as_secs_f64()
            );
            return Verdict::Ended(End::Failed(storable(&error)));
        }
        (Err(TaskFailure::Canceled), Some(StopReason::CancelRequested)) => {
            return Verdict::Ended(End::Canceled);
        }
        (Err(_), Some(StopReason::LeaseLost)) => return Verdict::GiveBack(Back::LeaseLapsed),
        (Err(TaskFailure::Postpone { delay, reason }), _) => {
            return Verdict::Postpone { delay: *delay, reason: storable(reason) };
        }
        (Err(error), _) if attempt.was_database_away() => {
            let reason = storable(&format!("the database was away: {error}"));
            return Verdict::Postpone { delay: policy.backoff_base, reason };
        }
        // Also when the attempt stopped although nobody told it to: another one finds out.
        (Err(error), _) => storable(&error.to_string()),
    };
    if row.failures + 1 >= row.max_attempts {
        return Verdict::Ended(End::Failed(error));
    }
    let delay = backoff::delay(policy.backoff_base, policy.backoff_max, row.failures + 1);
    Verdict::Retry { error, delay }
}

impl Verdict {
    /// What the log says about it.
    pub(crate) fn log_line(&self, row: &TaskRow) -> Option<String> {
        match self {
            Self::Succeeded => None,
            Self::Ended(End::Canceled) => Some(End::Canceled.reason().to_owned()),
            Self::Ended(End::Failed(error)) if row.failures > 0 => {
                Some(format!("failed in attempt {}: {error}", row.failures + 1))
            }
            Self::Ended(End::Failed(error)) => Some(format!("failed: {error}")),
            Self::Retry { error, delay } => Some(format!(
                "attempt {} of {} failed: {error}; the next one starts in {:.1} s",
                row.failures + 1,
                row.max_attempts,
                delay.as_secs_f64()
            )),
            Self::Postpone { reason, delay } => {
                Some(format!("put off for {:.1} s: {reason}", delay.as_secs_f64()))
            }
            Self::Lost => Some(format!(
                "the worker disappeared, for the {}; another one takes the task",
                match row.losses {
                    0 => "first time".to_owned(),
                    losses => format!("time number {}", losses + 1),
                }
            )),
            Self::GiveBack(Back::Shutdown) => {
                Some("the worker shuts down; the task goes back to the queue".to_owned())
            }
            Self::GiveBack(Back::LeaseLapsed) => {
                Some("the lease could not be renewed; the task goes back to the queue".to_owned())
            }
        }
    }
}

/// Writes a verdict in a transaction that holds the attempt's row; `false` when it was not held.
pub(crate) async fn write(
    session: &mut Session,
    row: &TaskRow,
    verdict: &Verdict,
    hook: Option<&dyn Handler>,
    now: Millis,
    progress: Option<String>,
) -> Result<bool, DbError> {
    if let Some(message) = verdict.log_line(row) {
        log::append(session, &row.task_id, &[Entry { message, created_at: now }]).await?;
    }
    let (task_id, attempt) = (row.task_id.as_str(), row.attempt);
    match verdict {
        Verdict::Succeeded => {
            let state = TaskState::Succeeded;
            task::finish(session, task_id, attempt, state, None, now, progress).await
        }
        Verdict::Ended(end) => {
            if let Some(handler) = hook {
                handler.ended(session, row, end).await?;
            }
            let reason = Some(end.reason());
            task::finish(session, task_id, attempt, end.state(), reason, now, progress).await
        }
        Verdict::Retry { error, delay } => {
            let released = Released {
                run_at: Some(later(now, *delay)),
                error: Some(error.clone()),
                failures: 1,
                losses: 0,
            };
            task::release(session, task_id, attempt, released).await
        }
        Verdict::Postpone { reason, delay } => {
            let (run_at, error) = (Some(later(now, *delay)), Some(reason.clone()));
            let released = Released { run_at, error, ..Released::default() };
            task::release(session, task_id, attempt, released).await
        }
        Verdict::Lost => {
            let error = Some("the worker disappeared".to_owned());
            let released = Released { error, losses: 1, ..Released::default() };
            task::release(session, task_id, attempt, released).await
        }
        Verdict::GiveBack(_) => task::release(session, task_id, attempt, Released::default()).await,
    }
}

/// Writes the end of an attempt whose handler returned, and repeats that for as long as the
/// database is away, so that its absence is not taken for the worker's. What cannot be written when
/// the process ends is left to the reaper.
pub(crate) async fn conclude(
    attempt: &Attempt,
    handler: Option<&Arc<dyn Handler>>,
    result: &Result<(), TaskFailure>,
    policy: &Policy,
    shutdown: &CancellationToken,
) {
    let mut hook = handler.map(AsRef::as_ref);
    let mut pause = Duration::from_millis(20);
    while !attempt.has_ended() {
        match try_conclude(attempt, hook, result, policy).await {
            Ok(()) => return,
            Err(error) if error.is_transient() => {
                attempt.database_failed();
                tracing::warn!(task = attempt.row.task_id, %error, "end of attempt not written");
                if attempt.is_overdue() && shutdown.is_cancelled() {
                    return;
                }
            }
            Err(error) => {
                tracing::error!(task = attempt.row.task_id, %error, "end of attempt not written");
                if hook.take().is_none() {
                    return;
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

async fn try_conclude(
    attempt: &Attempt,
    hook: Option<&dyn Handler>,
    result: &Result<(), TaskFailure>,
    policy: &Policy,
) -> Result<(), DbError> {
    let row = &attempt.row;
    let mut session = attempt.db.begin().await?;
    let now = session.database_time().await?;
    let expires = later(now, attempt.lease);
    let fenced = task::fence(&mut session, &row.task_id, row.attempt, expires).await?;
    let Some(cancel_requested) = fenced else {
        tracing::info!(task = row.task_id, attempt = row.attempt, "attempt is no longer held");
        attempt.set_ended();
        return Ok(());
    };
    let verdict = judge(result, cancel_requested, attempt, policy);
    let lines = attempt.buffer.take(attempt.clock.now());
    lines.append(&mut session, &row.task_id).await?;
    let progress = attempt.progress();
    write(&mut session, row, &verdict, hook, now, progress).await?;
    session.commit().await?;
    lines.written();
    attempt.set_ended();
    if !matches!(verdict, Verdict::Succeeded | Verdict::Ended(_)) {
        attempt.db.notify(TASKS_CHANNEL);
    }
    record(row, &verdict);
    Ok(())
}

/// Logs and counts a verdict after its commit.
pub(crate) fn record(row: &TaskRow, verdict: &Verdict) {
    let outcome = match verdict {
        Verdict::Succeeded => "succeeded",
        Verdict::Ended(End::Failed(_)) => "failed",
        Verdict::Ended(End::Canceled) => "canceled",
        Verdict::Retry { .. } => "retried",
        Verdict::Postpone { .. } => "postponed",
        Verdict::Lost => "lost",
        Verdict::GiveBack(_) => "given_back",
    };
    let reason = verdict.log_line(row).unwrap_or_default();
    tracing::info!(task = row.task_id, kind = row.kind, attempt = row.attempt, outcome, reason);
    metrics::counter!("berth_task_attempts_total", "kind" => row.kind.clone(), "outcome" => outcome)
        .increment(1);
}
