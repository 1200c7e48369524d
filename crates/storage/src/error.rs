//! What can go wrong with stored bytes.

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
    /// What is stored is not what it should be.
    Corrupt,
    /// Wrong configuration or wrong use.
    Other,
}

/// An error of the store. The message names the object and the cause.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StorageError {
    kind: StorageErrorKind,
    message: String,
}

impl StorageError {
    pub(crate) fn new(kind: StorageErrorKind, message: String) -> Self {
        Self { kind, message }
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
    pub(crate) fn io(action: &str, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => StorageErrorKind::NotFound,
            _ => StorageErrorKind::Io,
        };
        Self::new(kind, format!("cannot {action}: {error}"))
    }

    /// [`StorageError::io`] while reading what is stored: what the disk cannot read is corrupt.
    pub(crate) fn unreadable(action: &str, error: &io::Error) -> Self {
        const BAD: [Errno; 3] = [Errno::IO, Errno::BADMSG, Errno::UCLEAN];
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(errno) if BAD.contains(&errno) => {
                Self::corrupt(format!("cannot {action}: {error}"))
            }
            _ => Self::io(action, error),
        }
    }

    /// An error of the object store while doing `action`.
    pub(crate) fn remote(action: &str, error: &object_store::Error) -> Self {
        let kind = match error {
            object_store::Error::NotFound { .. } => StorageErrorKind::NotFound,
            object_store::Error::Generic { .. } => StorageErrorKind::Io,
            _ => StorageErrorKind::Other,
        };
        Self::new(kind, format!("cannot {action}: {error}"))
    }

    pub(crate) fn foreign(store: &str) -> Self {
        let message = format!("the partial object was not made by this kind of store ({store})");
        Self::new(StorageErrorKind::Other, message)
    }

    pub(crate) fn crashed(error: &tokio::task::JoinError) -> Self {
        Self::new(StorageErrorKind::Io, format!("a storage operation did not end: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_cannot_read_is_corrupt() {
        let kind = |errno: Errno| StorageError::unreadable("read", &errno.into()).kind();
        assert_eq!(kind(Errno::IO), StorageErrorKind::Corrupt);
        assert_eq!(kind(Errno::UCLEAN), StorageErrorKind::Corrupt);
        assert_eq!(kind(Errno::NOENT), StorageErrorKind::NotFound);
        assert_eq!(kind(Errno::MFILE), StorageErrorKind::Io, "says nothing of the object");
        let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(StorageError::unreadable("read", &cut).kind(), StorageErrorKind::Io);
    }
}
