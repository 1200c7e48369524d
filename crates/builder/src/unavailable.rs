//! Whether the server itself could not do its part, which is no fault of a build.

use std::error::Error;
use std::io;

use berth_artifacts::{ArtifactError, ArtifactErrorKind};
use berth_metadata::{DbError, DbErrorKind};
use berth_storage::{StorageError, StorageErrorKind};
use berth_tasks::TaskFailure;

/// Whether a database that does not answer, a full disk or a store that is away is among the causes.
pub(crate) fn is_unavailable(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if is_cause(error) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn is_cause(error: &(dyn Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<DbError>() {
        return matches!(error.kind(), DbErrorKind::Unavailable | DbErrorKind::Full);
    }
    if let Some(error) = error.downcast_ref::<StorageError>() {
        return matches!(error.kind(), StorageErrorKind::Io | StorageErrorKind::Full);
    }
    if let Some(error) = error.downcast_ref::<ArtifactError>() {
        return match error {
            ArtifactError::Database(error) => is_cause(error),
            ArtifactError::Storage(error) => is_cause(error),
            error => error.kind() == ArtifactErrorKind::Full,
        };
    }
    if let Some(error) = error.downcast_ref::<TaskFailure>() {
        return matches!(error, TaskFailure::Postpone { .. });
    }
    let Some(error) = error.downcast_ref::<io::Error>() else { return false };
    let inner = error.get_ref().map(|inner| inner as &(dyn Error + 'static));
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || inner.is_some_and(is_unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::StoreError;

    #[test]
    fn the_cause_is_found_however_deep_it_lies() {
        let full = || DbError::Full("no space left on device".to_owned());
        let wrapped = StoreError::transient(ArtifactError::Database(full()));
        assert!(is_unavailable(&io::Error::other(wrapped)));
        assert!(is_unavailable(&StoreError::transient(TaskFailure::from(full()))));
        assert!(is_unavailable(&io::Error::from(io::ErrorKind::StorageFull)));
        assert!(!is_unavailable(&StoreError::permanent("the layer is broken")));
        assert!(!is_unavailable(&StoreError::transient(TaskFailure::LeaseLost)));
        assert!(!is_unavailable(&io::Error::from(io::ErrorKind::UnexpectedEof)));
    }
}
