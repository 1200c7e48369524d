//! The end of an attempt: of the task too, or until its next attempt.

use std::sync::Arc;
use std::time::Duration;

use berth_metadata::tables::task;
use berth_metadata::{DbError, Session};
use berth_types::Millis;

use crate::attempt::Attempt;
use crate::handle::StopReason;
use crate::log::{self, Entry, storable};
use crate::runner::Policy;
use crate::{End, Handler, TASKS_CHANNEL, TaskFailure, TaskRow, TaskState, backoff};

/// What the end of an attempt means for its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Succeeded,
    Ended(End),
    Retry { error: String, delay: Duration },
    GiveBack,
}

/// Decides over a task whose attempt is over.
pub(crate) fn judge(
    result: &Result<(), TaskFailure>,
    cancel_requested: bool,
    stopped: Option<StopReason>,
    row: &TaskRow,
    policy: &Policy,
) -> Verdict {
    if cancel_requested {
        return Verdict::Ended(End::Canceled);
    }
    let error = match result {
        Ok(()) => return Verdict::Succeeded,
        Err(_) if stopped == Some(StopReason::Shutdown) => return Verdict::GiveBack,
        Err(TaskFailure::Permanent(error)) => {
            return Verdict::Ended(End::Failed(storable(error)));
        }
        Err(TaskFailure::Canceled) if stopped == Some(StopReason::CancelRequested) => {
            return Verdict::Ended(End::Canceled);
        }
        // The attempt stopped although nobody told it to, or because its lease seemed lost for a
        // while: another attempt finds out.
        Err(error) => storable(&error.to_string()),
    };
    if row.attempt >= row.max_attempts {
        return Verdict::Ended(End::Failed(error));
    }
    let delay = backoff::delay(policy.backoff_base, policy.backoff_max, row.attempt);
    Verdict::Retry { error, delay }
}

impl Verdict {
    /// What the log says about it.
    pub(crate) fn log_line(&self, row: &TaskRow) -> Option<String> {
        match self {
            Self::Succeeded => None,
            Self::Ended(End::Canceled) => Some(End::Canceled.reason().to_owned()),
            Self::Ended(End::Failed(error)) if row.attempt > 1 => {
                Some(format!("failed in attempt {}: {error}", row.attempt))
            }
            Self::Ended(End::Failed(error)) => Some(format!("failed: {error}")),
            Self::Retry { error, delay } => Some(format!(
                "attempt {} of {} failed: {error}; the next one starts in {:.1} s",
                row.attempt,
                row.max_attempts,
                delay.as_secs_f64()
            )),
            Self::GiveBack => {
                Some("the worker shuts down; the task goes back to the queue".to_owned())
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
            let delay = Millis::try_from(delay.as_millis()).unwrap_or(Millis::MAX);
            task::retry(session, task_id, attempt, now.saturating_add(delay), error).await
        }
        Verdict::GiveBack => task::give_back(session, task_id, attempt, now).await,
    }
}

/// Writes the end of an attempt whose handler returned, and repeats that while the database is
/// away and the lease lasts. What cannot be written is left to the reaper.
pub(crate) async fn conclude(
    attempt: &Attempt,
    handler: Option<&Arc<dyn Handler>>,
    result: &Result<(), TaskFailure>,
    policy: &Policy,
) {
    let mut hook = handler.map(AsRef::as_ref);
    let mut pause = Duration::from_millis(20);
    while !attempt.has_ended() {
        match try_conclude(attempt, hook, result, policy).await {
            Ok(()) => return,
            Err(error) if error.is_transient() => {
                tracing::warn!(task = attempt.row.task_id, %error, "end of attempt not written");
                if attempt.is_overdue() {
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
    let fenced = task::fence(&mut session, &row.task_id, row.attempt, attempt.lease_end()).await?;
    let Some(cancel_requested) = fenced else {
        tracing::info!(task = row.task_id, attempt = row.attempt, "attempt is no longer held");
        attempt.set_ended();
        return Ok(());
    };
    let verdict = judge(result, cancel_requested, attempt.stop_reason(), row, policy);
    let now = attempt.clock.now();
    let lines = attempt.buffer.take(now);
    lines.append(&mut session, &row.task_id).await?;
    let progress = attempt.progress();
    write(&mut session, row, &verdict, hook, now, progress).await?;
    session.commit().await?;
    lines.written();
    attempt.set_ended();
    if matches!(verdict, Verdict::Retry { .. } | Verdict::GiveBack) {
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
        Verdict::GiveBack => "given_back",
    };
    let reason = verdict.log_line(row).unwrap_or_default();
    tracing::info!(task = row.task_id, kind = row.kind, attempt = row.attempt, outcome, reason);
    metrics::counter!("berth_task_attempts_total", "kind" => row.kind.clone(), "outcome" => outcome)
        .increment(1);
}
