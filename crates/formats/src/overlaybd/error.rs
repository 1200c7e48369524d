//! What can go wrong when OverlayBD layers are written or read.

use std::io;

use crate::ext4::Ext4Error;
use crate::tar::TarError;

/// An error of this module; the message says which part was wrong.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// Bytes do not follow the format.
    #[error("{part} is not valid: {reason}")]
    Invalid { part: &'static str, reason: String },
    /// A stored checksum does not match the bytes.
    #[error("{part} is damaged: checksum {computed:#010x} instead of {stored:#010x}")]
    Checksum { part: String, stored: u32, computed: u32 },
    /// The format allows it, this implementation does not do it.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// A limit was passed: of the format, or of what a layer may make of us.
    #[error("limit passed: {0}")]
    Limit(String),
    /// The source layer's archive is broken; names the entry.
    #[error("{0}")]
    Tar(#[from] TarError),
    /// The source layer's compression is damaged or ends early.
    #[error("damaged compression after {inflated} bytes of tar{near}: {reason}")]
    Damaged { inflated: u64, near: String, reason: String },
    /// The source layer is another one than was promised.
    #[error("uncompressed layer has diff-id {found}, the image configuration says {expected}")]
    DiffId { expected: String, found: String },
    /// The reader that the caller gave for the source layer failed; its own error is the source.
    #[error("reading the layer failed after {inflated} bytes of tar{near}: {source}")]
    Source { inflated: u64, near: String, source: io::Error },
    /// The layer does not fit into the file system.
    #[error("{0}")]
    Ext4(#[from] Ext4Error),
    /// Reading or writing a blob failed.
    #[error("input/output: {0}")]
    Io(#[from] io::Error),
    /// [`super::Cancel`] was set.
    #[error("cancelled")]
    Canceled,
}

/// Groups of [`OverlayError`] that callers treat alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlayErrorKind {
    /// The input is wrong; trying again gives the same.
    Invalid,
    /// The image needs a larger virtual disk.
    Full,
    /// The caller's reader of a source layer failed.
    Source,
    /// Reading or writing blobs failed; trying again may help.
    Io,
    Canceled,
}

impl OverlayError {
    pub(crate) fn invalid(part: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { part, reason: reason.into() }
    }

    pub fn kind(&self) -> OverlayErrorKind {
        match self {
            Self::Canceled => OverlayErrorKind::Canceled,
            Self::Source { .. } => OverlayErrorKind::Source,
            Self::Ext4(Ext4Error::DiskFull { .. } | Ext4Error::InodesFull { .. }) => {
                OverlayErrorKind::Full
            }
            Self::Io(error) => match error.kind() {
                io::ErrorKind::InvalidData
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::UnexpectedEof => OverlayErrorKind::Invalid,
                _ => OverlayErrorKind::Io,
            },
            _ => OverlayErrorKind::Invalid,
        }
    }

    /// For interfaces that speak of [`io::Error`] only.
    pub(crate) fn into_io(self) -> io::Error {
        match self {
            Self::Io(error) => error,
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        }
    }
}
