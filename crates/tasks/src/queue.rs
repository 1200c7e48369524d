//! Putting tasks in.

use berth_metadata::Session;
use berth_metadata::tables::task;
use berth_types::Millis;
use serde_json::Value;

use crate::{TaskError, TaskState};

/// A task to enqueue.
#[derive(Debug, Clone)]
pub struct NewTask {
    pub task_id: String,
    /// Which runners may take it.
    pub queue: &'static str,
    /// Which handler runs it.
    pub kind: &'static str,
    pub payload: Value,
    /// Slots are shared between tenants first.
    pub tenant: String,
    /// And then between a tenant's shares: what its work waits for or competes with, such as a
    /// repository or an upstream host.
    pub share: String,
    /// Higher first: each step is worth an hour of waiting.
    pub priority: i64,
    /// At least 1.
    pub max_attempts: i64,
    /// At most one unfinished task has it.
    pub dedup_key: Option<String>,
    /// Not before this time of the database; `None` is now.
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
    let database_now = session.database_time().await?;
    let run_at = task.run_at.unwrap_or(database_now);
    let row = task::Task {
        task_id: task.task_id,
        queue: task.queue.to_owned(),
        kind: task.kind.to_owned(),
        payload: task.payload.to_string(),
        state: TaskState::Ready,
        priority: task.priority,
        run_at,
        attempt: 0,
        max_attempts: task.max_attempts,
        failures: 0,
        losses: 0,
        turn: (run_at <= database_now).then(|| task::turn(run_at, task.priority)),
        tenant: task.tenant,
        share: task.share,
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

/// Raises the priority of a task that waits; `false` when it has that much, runs or is finished.
///
/// # Errors
/// [`TaskError`] when the database fails.
pub async fn raise_priority(
    session: &mut Session,
    task_id: &str,
    priority: i64,
) -> Result<bool, TaskError> {
    Ok(task::raise_priority(session, task_id, priority).await?)
}
