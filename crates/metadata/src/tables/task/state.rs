//! What a task's row says about its state, and what that is called when somebody asks.

use std::fmt;
use std::str::FromStr;

/// The state of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Waits for a worker, perhaps until its `run_at`.
    Ready,
    /// Leased by a worker.
    Running,
    Succeeded,
    Failed,
    Canceled,
}

impl TaskState {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "READY",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Canceled => "CANCELED",
        }
    }

    /// Whether the task will not change any more.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a task state")]
pub struct TaskStateError(String);

impl FromStr for TaskState {
    type Err = TaskStateError;

    fn from_str(text: &str) -> Result<Self, TaskStateError> {
        match text {
            "READY" => Ok(Self::Ready),
            "RUNNING" => Ok(Self::Running),
            "SUCCEEDED" => Ok(Self::Succeeded),
            "FAILED" => Ok(Self::Failed),
            "CANCELED" => Ok(Self::Canceled),
            _ => Err(TaskStateError(text.to_owned())),
        }
    }
}

/// How a task stands for those who ask about it (ADR 2). Every kind of task is told about by this
/// rule and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskStatus {
    /// Nobody has begun it.
    Pending,
    /// Begun: an attempt runs, or the next one is waited for.
    Running,
    Succeeded,
    Failed,
    Canceled,
}

impl TaskStatus {
    /// The rule. `attempt` is how often the task was claimed.
    pub fn of(state: TaskState, attempt: i64) -> Self {
        match state {
            TaskState::Ready if attempt == 0 => Self::Pending,
            TaskState::Ready | TaskState::Running => Self::Running,
            TaskState::Succeeded => Self::Succeeded,
            TaskState::Failed => Self::Failed,
            TaskState::Canceled => Self::Canceled,
        }
    }

    /// What lists are filtered by: as the trigger on `task` writes it (migration 4). A cancelled task is
    /// found among the failed ones.
    pub(crate) fn as_filter(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed | Self::Canceled => "FAILED",
        }
    }

    /// Whether it will not change any more.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}
