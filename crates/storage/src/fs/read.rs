//! Reading: positioned reads of large pieces, one piece ahead of the reader.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use rustix::buffer::spare_capacity;
use tokio::task::JoinHandle;

use super::blocking;
use super::layout::{Layout, object_error, stat_of};
use crate::{ByteStream, StorageError};

/// Bytes of one read.
const PIECE: u64 = 512 << 10;

pub(super) async fn read(
    layout: &Arc<Layout>,
    key: &str,
    range: Range<u64>,
    stamp: Option<&str>,
) -> Result<ByteStream, StorageError> {
    let (owned_key, expected) = (key.to_owned(), stamp.map(str::to_owned));
    let opened = blocking(layout, move |layout| {
        let key = owned_key;
        let path = layout.object(&key)?;
        let file = File::open(&path).map_err(|error| object_error("open", &key, &error))?;
        let metadata = file.metadata().map_err(|error| object_error("measure", &key, &error))?;
        let actual = stat_of(&metadata).stamp;
        if let Some(expected) = expected.filter(|expected| *expected != actual) {
            return Err(StorageError::changed(&key, &actual, &expected));
        }
        if range.start > range.end || range.end > metadata.len() {
            return Err(StorageError::range(&key, &range, metadata.len()));
        }
        let mut reading = Reading { file: Arc::new(file), key, range, ahead: None };
        let first = reading.next_range();
        let first = piece(&reading.file, first);
        let first = first.map_err(|error| object_error("read", &reading.key, &error))?;
        Ok((first, reading))
    });
    let (first, mut reading) = opened.await?;
    if first.is_empty() {
        return Ok(stream::empty().boxed());
    }
    if reading.range.is_empty() {
        return Ok(stream::iter([Ok(first)]).boxed());
    }
    reading.read_ahead();
    Ok(stream::iter([Ok(first)]).chain(stream::try_unfold(reading, next)).boxed())
}

/// An open object and what of it is still to be read.
struct Reading {
    file: Arc<File>,
    key: String,
    range: Range<u64>,
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Reading {
    /// Takes the next piece off the range.
    fn next_range(&mut self) -> Range<u64> {
        let start = self.range.start;
        self.range.start = self.range.end.min(start.saturating_add(PIECE));
        start..self.range.start
    }

    fn read_ahead(&mut self) {
        if !self.range.is_empty() {
            let (file, range) = (Arc::clone(&self.file), self.next_range());
            self.ahead = Some(tokio::task::spawn_blocking(move || piece(&file, range)));
        }
    }
}

async fn next(mut reading: Reading) -> Result<Option<(Bytes, Reading)>, StorageError> {
    let Some(ahead) = reading.ahead.take() else { return Ok(None) };
    let read = ahead.await.map_err(|error| StorageError::crashed(&error))?;
    let bytes = read.map_err(|error| object_error("read", &reading.key, &error))?;
    reading.read_ahead();
    Ok(Some((bytes, reading)))
}

/// Exactly the bytes of the range, at most [`PIECE`].
fn piece(file: &File, range: Range<u64>) -> io::Result<Bytes> {
    let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let offset = range.start + bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The allocator may have given more room than was asked for.
    bytes.truncate(len);
    Ok(Bytes::from(bytes))
}
