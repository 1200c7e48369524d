//! The crate's error: what was wrong with which input, and whether trying again can help.

use std::io;

use crate::ext4::Ext4Error;
use crate::ext4::reader::ReadError;
use crate::overlaybd::{OverlayError, OverlayErrorKind};
use crate::tar::TarError;
use crate::tree::TreeError;

/// Anything that can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The archive of a layer is broken.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A layer asks for something that no file system can do.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The image does not fit ext4 or the virtual disk.
    #[error(transparent)]
    Ext4(#[from] Ext4Error),
    /// A layer blob is broken, or its conversion failed.
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    /// A file system is broken.
    #[error(transparent)]
    FileSystem(#[from] ReadError),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What the caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatErrorKind {
    /// The input is at fault: trying again gives the same answer.
    Invalid,
    /// Reading or writing failed: trying again may help.
    Io,
}

impl FormatError {
    /// The class of the error.
    pub fn kind(&self) -> FormatErrorKind {
        match self {
            Self::Tar(TarError::Io { .. })
            | Self::Io(_)
            | Self::FileSystem(ReadError::Io { .. }) => FormatErrorKind::Io,
            Self::Overlay(error) => match error.kind() {
                OverlayErrorKind::Invalid | OverlayErrorKind::Full => FormatErrorKind::Invalid,
                _ => FormatErrorKind::Io,
            },
            Self::Tar(_) | Self::Tree(_) | Self::Ext4(_) | Self::FileSystem(_) => {
                FormatErrorKind::Invalid
            }
        }
    }
}
