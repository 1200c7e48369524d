//! Reads a remote file in large pieces that are kept.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::lru::Lru;
use crate::read_at::ReadAt;

/// Turns small reads into reads of whole chunks, so that opening a blob and reading its metadata
/// over ranged requests takes few of them. Counts what it asks for.
pub struct Readahead<R> {
    inner: R,
    chunk: u64,
    cache: Lru,
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl<R: ReadAt> Readahead<R> {
    /// `chunk` bytes are read at a time (more when more is asked for), `chunks` of them kept.
    pub fn new(inner: R, chunk: u32, chunks: usize) -> Self {
        Self {
            inner,
            chunk: u64::from(chunk.max(512)),
            cache: Lru::new(chunks),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Reads of the inner file so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes that they asked for.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The chunks `from..to` in one read.
    fn fetch(&self, from: u64, to: u64) -> io::Result<Vec<Arc<[u8]>>> {
        let start = from * self.chunk;
        let end = (to * self.chunk).min(self.inner.len());
        let len = usize::try_from(end.saturating_sub(start)).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        self.inner.read_at(&mut bytes, start)?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(len as u64, Ordering::Relaxed);
        let chunk = usize::try_from(self.chunk).map_err(io::Error::other)?;
        Ok(bytes.chunks(chunk).map(Arc::from).collect())
    }
}

impl<R: ReadAt> ReadAt for Readahead<R> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(buffer.len() as u64);
        let end = end.filter(|end| *end <= self.inner.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        let (first, last) = (offset / self.chunk, (end - 1) / self.chunk);
        let pieces = self.cache.range(first, last + 1, |from, to| self.fetch(from, to))?;
        let mut skip = usize::try_from(offset % self.chunk).map_err(io::Error::other)?;
        let mut rest = buffer;
        for piece in pieces {
            let from = piece.get(skip..).unwrap_or_default();
            let take = from.len().min(rest.len());
            let (now, later) = rest.split_at_mut(take);
            now.copy_from_slice(from.get(..take).unwrap_or_default());
            rest = later;
            skip = 0;
        }
        if rest.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn len(&self) -> u64 {
        self.inner.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Readahead;
    use crate::read_at::ReadAt;

    #[test]
    fn reads_whole_chunks_once() {
        let bytes: Vec<u8> = (0..10_000_u32).map(|at| at.to_be_bytes()[3]).collect();
        let file = Readahead::new(bytes.clone(), 1024, 4);
        let mut buffer = vec![0; 3000];
        for _ in 0..2 {
            file.read_at(&mut buffer, 500).expect("inside of the file");
            assert_eq!(Some(buffer.as_slice()), bytes.get(500..3500));
        }
        assert_eq!((file.requests(), file.bytes()), (1, 4096));
        file.read_at(&mut buffer, 7000).expect("up to its end");
        assert_eq!(Some(buffer.as_slice()), bytes.get(7000..));
        assert!(file.read_at(&mut buffer, 7001).is_err());
    }
}
