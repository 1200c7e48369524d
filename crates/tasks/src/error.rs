//! Why a call of the queue failed.

use berth_metadata::DbError;

/// What a caller can do about a [`TaskError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskErrorKind {
    /// Worth trying again.
    Transient,
    /// The stored task or the given one makes no sense.
    Invalid,
    Internal,
}

#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error("the task queue's database failed: {0}")]
    Database(#[from] DbError),
    #[error("the stored {0} of a task is not valid JSON: {1}")]
    Stored(&'static str, serde_json::Error),
    #[error("a task needs at least one attempt, not {0}")]
    Attempts(i64),
}

impl TaskError {
    pub fn kind(&self) -> TaskErrorKind {
        match self {
            Self::Database(error) if error.is_transient() => TaskErrorKind::Transient,
            Self::Attempts(_) => TaskErrorKind::Invalid,
            Self::Database(_) | Self::Stored(..) => TaskErrorKind::Internal,
        }
    }
}
