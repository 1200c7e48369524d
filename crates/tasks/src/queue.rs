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
