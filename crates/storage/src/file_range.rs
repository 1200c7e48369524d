//! Bytes of an object that lie in a local file: for whoever can hand a file to the kernel, and for
//! everybody else as a stream.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use crate::StorageError;
use crate::buffers::{self, Buffer};

/// One byte in so many is looked at to learn whether a read would wait for the disk.
const PROBE: u64 = 64 << 10;

/// What is asked of the disk beyond a piece that has to be waited for.
const AHEAD: u64 = 2 << 20;

/// Part of an object's file. The file is not written to any more.
#[derive(Debug, Clone)]
pub struct FileRange {
    file: Arc<File>,
    key: Arc<str>,
    range: Range<u64>,
}

impl FileRange {
    pub(crate) fn new(file: Arc<File>, key: Arc<str>, range: Range<u64>) -> Self {
        Self { file, key, range }
    }

    /// The whole file; the part begins at [`FileRange::start`].
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where the part begins in the file.
    pub fn start(&self) -> u64 {
        self.range.start
    }

    /// Bytes of the part.
    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Leaves out the first `count` bytes.
    pub fn advance(&mut self, count: u64) {
        self.range.start = self.range.end.min(self.range.start.saturating_add(count));
    }

    /// The first `len` bytes, or as many as there are.
    #[must_use]
    pub fn first(&self, len: u64) -> Self {
        let end = self.range.end.min(self.range.start.saturating_add(len));
        Self { range: self.range.start..end, ..self.clone() }
    }

    /// Whether reading the part would wait for no disk: samples of it are in the page cache.
    /// Cheap enough to ask before every piece, and never waits itself.
    pub fn is_resident(&self) -> bool {
        // From the end: what was read ahead of an earlier read covers the beginning before the end.
        let mut end = self.range.end;
        while end > self.start() {
            if !self.is_byte_resident(end - 1) {
                return false;
            }
            end = end.saturating_sub(PROBE);
        }
        true
    }

    fn is_byte_resident(&self, offset: u64) -> bool {
        let mut byte = [0];
        let mut into = [IoSliceMut::new(&mut byte)];
        preadv2(&self.file, &mut into, offset, ReadWriteFlags::NOWAIT) == Ok(1)
    }

    /// Brings the part into the page cache; waits for the disk. An error shows again when the part
    /// is read.
    pub fn warm(&self) {
        self.ask_for();
        let mut rest = self.clone();
        while !rest.is_empty() {
            let piece = rest.first(PROBE);
            if piece.read().is_err() {
                return;
            }
            rest.advance(piece.len());
        }
    }

    /// Lets the kernel forget what it keeps of the part in memory, so that the next reading is one of
    /// the disk. May take a while.
    pub fn forget(&self) {
        if let Some(len) = NonZeroU64::new(self.len()) {
            // Advice: what is not forgotten is read from memory.
            let _ = fadvise(&self.file, self.start(), Some(len), Advice::DontNeed);
        }
    }

    /// All bytes of a part that is small, when reading them waits for no disk.
    pub(crate) fn read_resident(&self) -> Option<Bytes> {
        let len = usize::try_from(self.len()).ok().filter(|len| *len <= buffers::LEN)?;
        let mut buffer = Buffer::take();
        let mut into = [IoSliceMut::new(buffer.room(len))];
        let read = preadv2(&self.file, &mut into, self.start(), ReadWriteFlags::NOWAIT);
        (read == Ok(len)).then(|| buffer.freeze())
    }

    /// [`FileRange::read`], with more asked of the disk meanwhile.
    pub(crate) fn read_from_disk(&self) -> io::Result<Bytes> {
        self.ask_for();
        self.read()
    }

    /// Asks the disk for the part and some more, and does not wait.
    fn ask_for(&self) {
        let wanted = NonZeroU64::new(self.len().saturating_add(AHEAD));
        // Advice: where it is not taken, reading does the work.
        let _ = fadvise(&self.file, self.start(), wanted, Advice::WillNeed);
    }

    /// All bytes of a part that is small. Waits for the disk when they are not in the page cache.
    ///
    /// # Errors
    /// Those of the disk, and `UnexpectedEof` when somebody cut the file.
    pub fn read(&self) -> io::Result<Bytes> {
        let len = usize::try_from(self.len()).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let offset = self.start() + bytes.len() as u64;
            match pread(&self.file, spare_capacity(&mut bytes), offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The allocator may have given more room than was asked for.
        bytes.truncate(len);
        Ok(Bytes::from(bytes))
    }

    pub(crate) fn failed(&self, error: io::Error) -> StorageError {
        StorageError::unreadable(&format!("read object {}", self.key), error)
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;

    use super::*;
    use crate::ByteStream;

    fn range(bytes: &[u8], range: Range<u64>) -> FileRange {
        let file = tempfile::tempfile().expect("a file");
        rustix::io::pwrite(&file, bytes, 0).expect("written");
        FileRange::new(Arc::new(file), "test".into(), range)
    }

    #[test]
    fn parts_of_parts() {
        let mut part = range(b"0123456789", 2..9);
        assert_eq!((part.start(), part.len()), (2, 7));
        assert_eq!(part.first(3).read().expect("read"), "234");
        assert_eq!(part.first(100).read().expect("read"), "2345678");
        part.advance(5);
        assert_eq!(part.read().expect("read"), "78");
        part.advance(u64::MAX);
        assert!(part.is_empty() && part.is_resident());
    }

    #[test]
    fn what_is_forgotten_is_still_there() {
        let mut file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).expect("a file");
        std::io::Write::write_all(&mut file, &[7; 300_000]).expect("written");
        file.sync_all().expect("synced");
        let part = FileRange::new(Arc::new(file), "test".into(), 1_000..299_000);
        part.forget();
        assert!(part.read().expect("read").iter().all(|byte| *byte == 7));
    }

    #[tokio::test]
    async fn a_file_that_was_cut_is_no_shorter_answer() {
        let part = range(&[1; 300_000], 0..300_000);
        part.file().set_len(200_000).expect("cut");
        assert!(!part.is_resident(), "what is not there is not resident");
        let mut stream = ByteStream::from(part);
        assert_eq!(
            stream.try_next().await.expect("the first piece").map(|b| b.len()),
            Some(131_072)
        );
        let error = stream.try_next().await.expect_err("the rest is gone");
        assert!(error.to_string().contains("test"), "{error}");
    }
}
