//! The scratch file in which a layer blob grows.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file that is removed when dropped. Written in order, with single places patched at the end.
pub struct Spool {
    file: NamedTempFile,
    len: u64,
}

impl Spool {
    /// A new empty file in `folder`.
    ///
    /// # Errors
    /// When the folder does not exist or is not writable.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let file = tempfile::Builder::new().prefix("layer-").suffix(".obd").tempfile_in(folder)?;
        Ok(Self { file, len: 0 })
    }

    pub fn path(&self) -> &Path {
        self.file.path()
    }

    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Overwrites bytes that were written before.
    pub(crate) fn patch(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file().write_all_at(bytes, offset)
    }

    /// Keeps the file: it is the caller's from here on.
    ///
    /// # Errors
    /// When the file cannot be detached from its removal.
    pub fn keep(self) -> io::Result<PathBuf> {
        let (_, path) = self.file.keep().map_err(|error| error.error)?;
        Ok(path)
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.as_file_mut().write(bytes)?;
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
