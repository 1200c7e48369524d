//! What can go wrong with stored bytes.

use std::error::Error;
use std::io;

use rustix::io::Errno;

/// The kinds that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageErrorKind {
    /// There is no such object, or no such partial object.
    NotFound,
    /// The object is not the one that was written: its stamp is another.
    Changed,
    /// The range goes beyond the end of the object.
    Range,
    /// The disk or the network failed; trying again may help.
    Io,
    /// The disk or the bucket is full. What was durable before is; once there is space, trying again
    /// helps.
    Full,
    /// What is stored is not what it should be.
    Corrupt,
    /// Wrong configuration or wrong use.
    Other,
}

/// An error of the store. The message names the object and the cause, which is also the source.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StorageError {
    kind: StorageErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StorageError {
    pub(crate) fn new(kind: StorageErrorKind, message: String) -> Self {
        Self { kind, message, source: None }
    }

    /// What failed while doing `action`.
    fn of<E: Error + Send + Sync + 'static>(
        kind: StorageErrorKind,
        action: &str,
        error: E,
    ) -> Self {
        let message = format!("cannot {action}: {error}");
        Self { kind, message, source: Some(Box::new(error)) }
    }

    pub fn kind(&self) -> StorageErrorKind {
        self.kind
    }

    pub(crate) fn corrupt(message: String) -> Self {
        Self::new(StorageErrorKind::Corrupt, message)
    }

    pub(crate) fn changed(key: &str, actual: &str, expected: &str) -> Self {
        let message = format!("object {key} has the stamp {actual}, and was written as {expected}");
        Self::new(StorageErrorKind::Changed, message)
    }

    pub(crate) fn range(key: &str, range: &std::ops::Range<u64>, size: u64) -> Self {
        let message = format!(
            "bytes {}..{} of object {key} were asked for, and it has {size}",
            range.start, range.end
        );
        Self::new(StorageErrorKind::Range, message)
    }

    /// An error of the file system while doing `action`.
    pub(crate) fn io(action: &str, error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => StorageErrorKind::NotFound,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageErrorKind::Full,
            _ => StorageErrorKind::Io,
        };
        Self::of(kind, action, error)
    }

    /// [`StorageError::io`] while reading what is stored: what the disk cannot read is corrupt.
    pub(crate) fn unreadable(action: &str, error: io::Error) -> Self {
        const BAD: [Errno; 3] = [Errno::IO, Errno::BADMSG, Errno::UCLEAN];
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(errno) if BAD.contains(&errno) => {
                Self::of(StorageErrorKind::Corrupt, action, error)
            }
            _ => Self::io(action, error),
        }
    }

    /// An error of the object store while doing `action`.
    pub(crate) fn remote(action: &str, error: object_store::Error) -> Self {
        let kind = match &error {
            object_store::Error::NotFound { .. } => StorageErrorKind::NotFound,
            object_store::Error::Generic { .. } if says_full(&error.to_string()) => {
                StorageErrorKind::Full
            }
            object_store::Error::Generic { .. } => StorageErrorKind::Io,
            _ => StorageErrorKind::Other,
        };
        Self::of(kind, action, error)
    }

    pub(crate) fn foreign(store: &str) -> Self {
        let message = format!("the partial object was not made by this kind of store ({store})");
        Self::new(StorageErrorKind::Other, message)
    }

    pub(crate) fn crashed(error: tokio::task::JoinError) -> Self {
        Self::of(StorageErrorKind::Io, "end a storage operation", error)
    }
}

/// Whether a service says that its disks, or what the bucket may hold, are used up: in words of
/// RFC 4918, MinIO, Ceph and OSS, or with their codes.
pub(crate) fn says_full(answer: &str) -> bool {
    const WORDS: [&str; 5] = [
        "507 Insufficient Storage",
        "XMinioStorageFull",
        "XMinioAdminBucketQuotaExceeded",
        "QuotaExceeded",
        "InsufficientStorage",
    ];
    WORDS.iter().any(|word| answer.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_full_bucket_have_their_own_kind() {
        let kind = |errno: Errno| StorageError::io("write", errno.into()).kind();
        assert_eq!(kind(Errno::NOSPC), StorageErrorKind::Full);
        assert_eq!(kind(Errno::DQUOT), StorageErrorKind::Full);
        assert_eq!(kind(Errno::NOENT), StorageErrorKind::NotFound);
        let answer = |text: &str| {
            let source = text.to_owned().into();
            let error = object_store::Error::Generic { store: "S3", source };
            StorageError::remote("write", error).kind()
        };
        let full = "status 507 Insufficient Storage: <Code>XMinioStorageFull</Code>";
        assert_eq!(answer(full), StorageErrorKind::Full);
        assert_eq!(answer("status 500: <Code>InternalError</Code>"), StorageErrorKind::Io);
    }

    #[test]
    fn an_error_keeps_its_cause() {
        let error = StorageError::io("write", Errno::NOSPC.into());
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        assert_eq!(cause.and_then(io::Error::raw_os_error), Some(Errno::NOSPC.raw_os_error()));
    }

    #[test]
    fn what_the_disk_cannot_read_is_corrupt() {
        let kind = |errno: Errno| StorageError::unreadable("read", errno.into()).kind();
        assert_eq!(kind(Errno::IO), StorageErrorKind::Corrupt);
        assert_eq!(kind(Errno::UCLEAN), StorageErrorKind::Corrupt);
        assert_eq!(kind(Errno::NOENT), StorageErrorKind::NotFound);
        assert_eq!(kind(Errno::MFILE), StorageErrorKind::Io, "says nothing of the object");
        let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(StorageError::unreadable("read", cut).kind(), StorageErrorKind::Io);
    }
}
