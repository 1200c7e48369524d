//! How the copy of one tag fails.

use berth_artifacts::{ArtifactError, ArtifactErrorKind};
use berth_metadata::DbError;
use berth_oci::client::ClientError;
use berth_tasks::TaskFailure;
use berth_types::Millis;

/// Why a tag was not copied.
#[derive(Debug)]
pub(super) enum CopyFailure {
    /// The whole attempt must end.
    Task(TaskFailure),
    /// This tag, for now.
    Fault(String),
    /// This tag, for good.
    Tag(String),
    /// The source named the time before which it does not want to be asked again.
    Pause { until: Millis, reason: String },
}

impl From<TaskFailure> for CopyFailure {
    fn from(failure: TaskFailure) -> Self {
        Self::Task(failure)
    }
}

impl From<DbError> for CopyFailure {
    fn from(error: DbError) -> Self {
        Self::Task(error.into())
    }
}

impl From<ClientError> for CopyFailure {
    fn from(error: ClientError) -> Self {
        if let Some(until) = error.retry_at() {
            Self::Pause { until, reason: error.to_string() }
        } else if error.is_transient() {
            Self::Fault(error.to_string())
        } else {
            Self::Tag(error.to_string())
        }
    }
}

impl From<ArtifactError> for CopyFailure {
    fn from(error: ArtifactError) -> Self {
        match error.kind() {
            // Our own database or disk: not a matter of the tag.
            ArtifactErrorKind::Transient | ArtifactErrorKind::Full => Self::Task(error.into()),
            ArtifactErrorKind::Internal => Self::Fault(error.to_string()),
            _ => Self::Tag(error.to_string()),
        }
    }
}
