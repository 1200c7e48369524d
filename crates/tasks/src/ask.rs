//! Asking about tasks, whatever their kind: find, list, log, cancel, and the words for how they
//! stand.

use berth_metadata::tables::{task, task_log};
use berth_metadata::{Db, Page, Session};
use berth_types::Millis;
use serde_json::Value;

use crate::log::{Entry, append, storable};
use crate::{CANCEL_CHANNEL, End, TaskError, TaskRow, TaskState, TaskStatus};

/// ACR's words for how a kind of task stands. All of them say `PENDING` before the first attempt;
/// cancelled tasks read as failed ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    running: &'static str,
    succeeded: &'static str,
    failed: &'static str,
}

impl Words {
    /// Of artifact build tasks.
    pub const BUILD: Self = Self { running: "BUILDING", succeeded: "SUCCESS", failed: "FAILED" };
    /// Of artifact subscription tasks, which say in a field of its own how they ended.
    pub const SUBSCRIPTION: Self =
        Self { running: "RUNNING", succeeded: "COMPLETED", failed: "COMPLETED" };
    /// Of maintenance tasks.
    pub const MAINTENANCE: Self =
        Self { running: "RUNNING", succeeded: "SUCCESS", failed: "FAILED" };

    /// The word for a status.
    pub fn of(self, status: TaskStatus) -> &'static str {
        match status {
            TaskStatus::Pending => "PENDING",
            TaskStatus::Running => self.running,
            TaskStatus::Succeeded => self.succeeded,
            TaskStatus::Failed | TaskStatus::Canceled => self.failed,
        }
    }

    /// The status for a word, the failed one for those that are cancelled too.
    pub fn parse(self, word: &str) -> Option<TaskStatus> {
        [TaskStatus::Pending, TaskStatus::Running, TaskStatus::Succeeded, TaskStatus::Failed]
            .into_iter()
            .find(|status| self.of(*status) == word)
    }
}

/// A task as others see it. Times are epoch milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskView {
    pub task_id: String,
    pub kind: String,
    /// Whose it is.
    pub tenant: String,
    pub state: TaskState,
    /// [`Self::state`] as all kinds of tasks are told about.
    pub status: TaskStatus,
    /// How often it was claimed.
    pub attempt: i64,
    /// How often an attempt may fail.
    pub max_attempts: i64,
    /// How often one failed.
    pub failures: i64,
    /// How many workers were lost while they ran it.
    pub losses: i64,
    pub priority: i64,
    /// Until when a READY task waits, in the database's time; `None` when it could run now.
    pub waits_until: Option<Millis>,
    /// Why it ended, was last retried or waits.
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
pub async fn find(session: &mut Session, task_id: &str) -> Result<Option<TaskView>, TaskError> {
    task::find(session, task_id).await?.map(view).transpose()
}

/// A page of the tasks of a queue, newest first, and how many there are in all; of one kind, or
/// of all when it is empty.
///
/// # Errors
/// [`TaskError`] when the database fails.
pub async fn list(
    session: &mut Session,
    queue: &str,
    kind: &str,
    page: Page,
) -> Result<(Vec<TaskView>, i64), TaskError> {
    let (rows, total) = task::list(session, queue, kind, page).await?;
    Ok((rows.into_iter().map(view).collect::<Result<_, _>>()?, total))
}

/// As [`list`], the tasks that a tenant has in the queue `maintenance`.
///
/// # Errors
/// [`TaskError`] when the database fails.
pub async fn list_maintenance_of_tenant(
    session: &mut Session,
    tenant: &str,
    kind: &str,
    page: Page,
) -> Result<(Vec<TaskView>, i64), TaskError> {
    let (rows, total) = task::list_maintenance_of_tenant(session, tenant, kind, page).await?;
    Ok((rows.into_iter().map(view).collect::<Result<_, _>>()?, total))
}

fn view(row: TaskRow) -> Result<TaskView, TaskError> {
    let progress = serde_json::from_str(&row.progress)
        .map_err(|error| TaskError::Stored("progress", error))?;
    Ok(TaskView {
        task_id: row.task_id,
        kind: row.kind,
        tenant: row.tenant,
        state: row.state,
        status: TaskStatus::of(row.state, row.attempt),
        attempt: row.attempt,
        max_attempts: row.max_attempts,
        failures: row.failures,
        losses: row.losses,
        waits_until: (row.state == TaskState::Ready && row.turn.is_none()).then_some(row.run_at),
        priority: row.priority,
        error: row.error,
        progress,
        cancel_requested: row.cancel_requested,
        created_at: row.created_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
    })
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
pub async fn log(
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
pub async fn cancel(db: &Db, task_id: &str, now: Millis) -> Result<CancelOutcome, TaskError> {
    let mut session = db.begin().await?;
    let outcome = cancel_in(&mut session, task_id, now).await?;
    session.commit().await?;
    if outcome == CancelOutcome::Requested {
        db.notify(CANCEL_CHANNEL);
    }
    Ok(outcome)
}

/// As [`cancel`], in the caller's transaction, who notifies [`CANCEL_CHANNEL`] after the
/// commit and, on [`CancelOutcome::Canceled`], ends its own rows about the task.
///
/// # Errors
/// [`TaskError`] when the database fails.
pub async fn cancel_in(
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
