//! Why a file system cannot be read.

use std::io;

/// An error of the reader.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes are not those of a sound file system.
    #[error("file system is damaged: {0}")]
    Corrupt(String),
    /// A feature that is not read here.
    #[error("file system has {0}, which is not supported")]
    Unsupported(String),
    #[error("{0:?} does not exist")]
    NotFound(String),
    #[error("reading {what}: {source}")]
    Io { what: &'static str, source: io::Error },
}

impl ReadError {
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }

    pub(crate) fn io(what: &'static str, source: io::Error) -> Self {
        Self::Io { what, source }
    }

    /// For interfaces that speak of [`io::Error`] only.
    pub(crate) fn into_io(self) -> io::Error {
        match self {
            Self::Io { source, .. } => source,
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        }
    }
}
