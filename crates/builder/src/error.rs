//! What can go wrong when rules and tasks are asked for.

use berth_artifacts::ArtifactError;
use berth_metadata::DbError;

/// The kind, which the control plane turns into an ACR `Code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildErrorKind {
    InstanceNotFound,
    RepositoryNotFound,
    TagNotFound,
    RuleNotFound,
    RuleExists,
    TaskNotFound,
    TaskFinished,
    /// The named parameter is not valid.
    InvalidParameter(&'static str),
    /// Asked for something that this version does not build.
    Unsupported,
    Internal,
}

/// An error of the building services, in words for the caller.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("{1}")]
    Refused(BuildErrorKind, String),
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error("task engine: {0}")]
    Task(#[from] berth_tasks::TaskError),
}

impl BuildError {
    pub fn kind(&self) -> BuildErrorKind {
        match self {
            Self::Refused(kind, _) => *kind,
            Self::Database(_) | Self::Artifact(_) | Self::Task(_) => BuildErrorKind::Internal,
        }
    }

    pub(crate) fn refused(kind: BuildErrorKind, message: impl Into<String>) -> Self {
        Self::Refused(kind, message.into())
    }
}
