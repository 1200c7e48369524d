//! Putting tasks in, asking about them, cancelling them.

use berth_metadata::tables::{task, task_log};
use berth_metadata::{Db, Page, Session};
use berth_types::Millis;
use serde_json::Value;

use crate::log::{Entry, append, storable};
use crate::{CANCEL_CHANNEL, End, TaskError, TaskState};

/// A task to enqueue.
#[derive(Debug, Clone)]
pub struct NewTask {
    pub task_id: String,
    /// Which runners may take it.
    pub queue: &'static str,
    /// Which handler runs it.
    pub kind: &'static str,
    pub payload: Value,
    /// Higher first.
    pub priority: i64,
    /// At least 1.
    pub max_attempts: i64,
    /// At most one unfinished task has it.
    pub dedup_key: Option<String>,
    /// Not before this time; `None` is now.
    pub run_at: Option<Millis>,
}

/// What became of a [`NewTask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enqueued {
    New,
    /// An unfinished task holds the dedup key.
    Duplicate {
        task_id: String,
    },
}

/// Adds a task in the caller's transaction. After the commit the caller notifies
/// [`crate::TASKS_CHANNEL`].
///
/// # Errors
/// [`TaskError`] when the database fails, the id is taken or no attempt is allowed.
pub async fn enqueue(
    session: &mut Session,
    task: NewTask,
    now: Millis,
) -> Result<Enqueued, TaskError> {
    if task.max_attempts < 1 {
        return Err(TaskError::Attempts(task.max_attempts));
    }
    let row = task::Task {
        task_id: task.task_id,
        queue: task.queue.to_owned(),
        kind: task.kind.to_owned(),
        payload: task.payload.to_string(),
        state: TaskState::Ready,
        priority: task.priority,
        run_at: task.run_at.unwrap_or(now),
        attempt: 0,
        max_attempts: task.max_attempts,
        lease_owner: None,
        lease_expires_at: None,
        cancel_requested: false,
        progress: Value::Null.to_string(),
        dedup_key: task.dedup_key,
        error: None,
        log_lines: 0,
        created_at: now,
        started_at: None,
        finished_at: None,
    };
    loop {
        if task::insert(session, &row).await? {
            return Ok(Enqueued::New);
        }
        // The holder may end between the two statements; then the next insert succeeds.
        let Some(dedup_key) = row.dedup_key.as_deref() else { continue };
        if let Some(task_id) = task::find_unfinished_by_dedup_key(session, dedup_key).await? {
            return Ok(Enqueued::Duplicate { task_id });
        }
    }
}

/// What became of a request to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It waited; it is CANCELED now.
    Canceled,
    /// It runs; its worker was told and will end it as CANCELED.
    Requested,
    AlreadyFinished,
    NotFound,
}

/// Cancels a task and tells its worker.
///
/// # Errors
/// [`TaskError`] when the database fails.
pub async fn request_cancel(
    db: &Db,
    task_id: &str,
    now: Millis,
) -> Result<CancelOutcome, TaskError> {
    let mut session = db.begin().await?;
    let outcome = request_cancel_in(&mut session, task_id, now).await?;
    session.commit().await?;
    if outcome == CancelOutcome::Requested {
        db.notify(CANCEL_CHANNEL);
    }
    Ok(outcome)
}

/// As [`request_cancel`], in the caller's transaction, who notifies [`CANCEL_CHANNEL`] after the
/// commit and, on [`CancelOutcome::Canceled`], ends its own rows about the task.
///
/// # Errors
/// [`TaskError`] when the database fails.
pub async fn request_cancel_in(
    session: &mut Session,
    task_id: &str,
    now: Millis,
) -> Result<CancelOutcome, TaskError> {
    let reason = End::Canceled.reason();
    Ok(match task::cancel(session, task_id, reason, now).await? {
        Some(TaskState::Canceled) => {
            let line = Entry { message: storable(reason), created_at: now };
            append(session, task_id, &[line]).await?;
            CancelOutcome::Canceled
        }
        Some(_) => CancelOutcome::Requested,
        None if task::find(session, task_id).await?.is_some() => CancelOutcome::AlreadyFinished,
        None => CancelOutcome::NotFound,
    })
}

/// A task as others see it. Times are epoch milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskView {
    pub task_id: String,
    pub kind: String,
    pub state: TaskState,
    pub attempt: i64,
    pub max_attempts: i64,
    pub priority: i64,
    /// Why it ended or was last retried.
    pub error: Option<String>,
    /// What the handler last said; `null` before it said anything.
    pub progress: Value,
    pub cancel_requested: bool,
    pub created_at: Millis,
    /// When it was first claimed.
    pub started_at: Option<Millis>,
    pub finished_at: Option<Millis>,
}

/// The task of that id.
///
/// # Errors
/// [`TaskError`] when the database fails.
pub async fn get(session: &mut Session, task_id: &str) -> Result<Option<TaskView>, TaskError> {
    let Some(row) = task::find(session, task_id).await? else { return Ok(None) };
    let progress = serde_json::from_str(&row.progress)
        .map_err(|error| TaskError::Stored("progress", error))?;
    Ok(Some(TaskView {
        task_id: row.task_id,
        kind: row.kind,
        state: row.state,
        attempt: row.attempt,
        max_attempts: row.max_attempts,
        priority: row.priority,
        error: row.error,
        progress,
        cancel_requested: row.cancel_requested,
        created_at: row.created_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
    }))
}

/// A line of a task's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// From 1, without gaps.
    pub line_number: i64,
    pub message: String,
    pub created_at: Millis,
}

/// A page of a task's log and the number of lines in all; empty for an unknown task.
///
/// # Errors
/// [`TaskError`] when the database fails.
pub async fn log_page(
    session: &mut Session,
    task_id: &str,
    page: Page,
) -> Result<(Vec<LogLine>, i64), TaskError> {
    let (rows, total) = task_log::list(session, task_id, page).await?;
    let lines = rows
        .into_iter()
        .map(|row| LogLine {
            line_number: row.line_number,
            message: row.message,
            created_at: row.created_at,
        })
        .collect();
    Ok((lines, total))
}
