//! Opens a layer blob as it comes: wrapped in a tar or bare, compressed or plain.

use std::io;

use super::lsmt::{self, Lsmt};
use super::zfile::{self, ZFile};
use super::{OverlayError, tarwrap};
use crate::read_at::ReadAt;

/// A part of a file.
pub struct Window<R> {
    inner: R,
    offset: u64,
    len: u64,
}

impl<R: ReadAt> Window<R> {
    /// `len` bytes of `inner` from `offset`; the caller has checked that they are there.
    pub(crate) fn new(inner: R, offset: u64, len: u64) -> Self {
        Self { inner, offset, len }
    }

    /// Where the part begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl<R: ReadAt> ReadAt for Window<R> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.inner.read_at(buffer, self.offset.saturating_add(offset))
    }

    fn len(&self) -> u64 {
        self.len
    }
}

/// The LSMT blob inside.
pub enum Payload<R> {
    Plain(Window<R>),
    Compressed(Box<ZFile<Window<R>>>),
}

impl<R: ReadAt> Payload<R> {
    /// Unwraps and recognises by magic bytes.
    ///
    /// # Errors
    /// [`OverlayError::Invalid`] for anything but a layer blob; those of [`ZFile::open`].
    pub fn open(file: R) -> Result<Self, OverlayError> {
        let (offset, len) = tarwrap::locate(&file)?;
        let window = Window::new(file, offset, len);
        let mut magic = [0; 8];
        if len >= 8 {
            window.read_at(&mut magic, 0)?;
        }
        match magic {
            zfile::MAGIC => Ok(Self::Compressed(Box::new(ZFile::open(window)?))),
            lsmt::MAGIC => Ok(Self::Plain(window)),
            _ => Err(OverlayError::invalid("layer blob", "it is neither a ZFile nor an LSMT file")),
        }
    }

    /// The ZFile, when there is one.
    pub fn zfile(&self) -> Option<&ZFile<Window<R>>> {
        match self {
            Self::Plain(_) => None,
            Self::Compressed(zfile) => Some(zfile),
        }
    }
}

impl<R: ReadAt> ReadAt for Payload<R> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Plain(window) => window.read_at(buffer, offset),
            Self::Compressed(zfile) => zfile.read_at(buffer, offset),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Plain(window) => window.len(),
            Self::Compressed(zfile) => zfile.len(),
        }
    }
}

/// An open layer blob.
pub type Blob<R> = Lsmt<Payload<R>>;

/// Opens a layer blob of any form.
///
/// # Errors
/// Those of [`Payload::open`] and [`Lsmt::open`].
pub fn open_blob<R: ReadAt>(file: R) -> Result<Blob<R>, OverlayError> {
    Lsmt::open(Payload::open(file)?)
}
