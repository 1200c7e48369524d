//! What a kind of task does.

use std::time::Duration;

use async_trait::async_trait;
use berth_metadata::{DbError, DbErrorKind, Session};

use crate::{TaskHandle, TaskRow, TaskState};

/// The work of one kind of task. Idempotent: an attempt may find what an earlier one left.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// The `kind` of the tasks that it runs.
    fn kind(&self) -> &'static str;

    /// Runs one attempt. Should end soon after [`TaskHandle::cancelled`] fires; it is dropped at
    /// its next await when it takes longer than the runner's grace.
    ///
    /// # Errors
    /// [`TaskFailure`] decides between another attempt and the task's end.
    async fn run(&self, task: &TaskHandle) -> Result<(), TaskFailure>;

    /// Called in the transaction that ends the task without success, also when its worker died and
    /// the last attempt is spent, so that the rows about the task end with it. Not called for a
    /// READY task that is cancelled: whoever cancels it does that in the same transaction
    /// ([`crate::request_cancel_in`]).
    ///
    /// # Errors
    /// A transient error repeats the transaction. After any other the task ends without this call.
    async fn ended(&self, session: &mut Session, task: &TaskRow, end: &End) -> Result<(), DbError> {
        let _ = (session, task, end);
        Ok(())
    }
}

/// How a task ended without success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With the reason in words.
    Failed(String),
    Canceled,
}

impl End {
    pub fn state(&self) -> TaskState {
        match self {
            Self::Failed(_) => TaskState::Failed,
            Self::Canceled => TaskState::Canceled,
        }
    }

    /// The reason, as the task's `error` says it.
    pub fn reason(&self) -> &str {
        match self {
            Self::Failed(reason) => reason,
            Self::Canceled => "the task was cancelled",
        }
    }
}

/// Why an attempt did not complete its task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskFailure {
    /// Another attempt may succeed.
    #[error("{0}")]
    Transient(String),
    /// No attempt will succeed.
    #[error("{0}")]
    Permanent(String),
    /// Nothing failed, but nothing can be done for a while. The task waits, READY and without a
    /// slot, until then and says why; no attempt is spent.
    #[error("{reason}")]
    Postpone { delay: Duration, reason: String },
    /// The attempt stopped because it was told to.
    #[error("the task was cancelled")]
    Canceled,
    /// Another worker has the task; nothing of this attempt counts.
    #[error("the worker lost its lease")]
    LeaseLost,
}

/// How long a task waits for a database that does not answer, or a disk that is full.
const SERVER_AWAY: Duration = Duration::from_secs(2);

impl TaskFailure {
    /// The server could not do its part: its database does not answer, its disk is full. Nothing is
    /// wrong with the task, and no attempt is spent.
    pub fn unavailable(reason: impl std::fmt::Display) -> Self {
        Self::Postpone { delay: SERVER_AWAY, reason: reason.to_string() }
    }
}

impl From<DbError> for TaskFailure {
    fn from(error: DbError) -> Self {
        match error.kind() {
            DbErrorKind::Transient | DbErrorKind::Unavailable | DbErrorKind::Full => {
                Self::unavailable(error)
            }
            DbErrorKind::Other => Self::Transient(error.to_string()),
            _ => Self::Permanent(error.to_string()),
        }
    }
}
