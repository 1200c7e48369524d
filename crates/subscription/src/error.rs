//! What can go wrong when rules and tasks are asked for.

use berth_metadata::DbError;
use berth_tasks::TaskError;

/// The kind, which the control plane turns into an ACR `Code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionErrorKind {
    NamespaceNotFound,
    RepositoryNotFound,
    RuleNotFound,
    TaskNotFound,
    TaskFinished,
    /// The named parameter is not valid.
    InvalidParameter(&'static str),
    Internal,
}

/// An error of the subscription services, in words for the caller.
#[derive(Debug, thiserror::Error)]
pub enum SubscriptionError {
    #[error("{1}")]
    Refused(SubscriptionErrorKind, String),
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("task engine: {0}")]
    Task(#[from] TaskError),
    #[error("stored rule cannot be read: {0}")]
    Stored(#[from] serde_json::Error),
}

impl SubscriptionError {
    pub fn kind(&self) -> SubscriptionErrorKind {
        match self {
            Self::Refused(kind, _) => *kind,
            Self::Database(_) | Self::Task(_) | Self::Stored(_) => SubscriptionErrorKind::Internal,
        }
    }

    pub(crate) fn refused(kind: SubscriptionErrorKind, message: impl Into<String>) -> Self {
        Self::Refused(kind, message.into())
    }

    pub(crate) fn invalid(parameter: &'static str, reason: impl std::fmt::Display) -> Self {
        let kind = SubscriptionErrorKind::InvalidParameter(parameter);
        Self::Refused(kind, format!("{parameter}: {reason}"))
    }
}
