//! Layers of a build as blocking readers over the blob store.

use std::io::{self, Read};
use std::sync::Mutex;

use berth_storage::{ByteStream, StorageError};
use bytes::{Buf as _, Bytes};
use futures::StreamExt as _;
use tokio::runtime::Handle;

/// Reads an asynchronous byte stream from a thread outside the runtime.
pub(crate) struct BlockingReader {
    runtime: Handle,
    stream: ByteStream,
    chunk: Bytes,
}

impl BlockingReader {
    pub(crate) fn new(runtime: Handle, stream: ByteStream) -> Self {
        Self { runtime, stream, chunk: Bytes::new() }
    }
}

impl Read for BlockingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                None => return Ok(0),
                Some(chunk) => {
                    self.chunk = chunk.map_err(|error: StorageError| io::Error::other(error))?;
                }
            }
        }
        let count = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// Remembers that the source itself failed, so that a fault of the storage, which a retry may
/// cure, is told apart from a broken layer, which nothing cures.
#[derive(Debug, Default)]
pub(crate) struct FaultNote(Mutex<Option<String>>);

impl FaultNote {
    pub(crate) fn take(&self) -> Option<String> {
        self.0.lock().ok()?.take()
    }

    pub(crate) fn note(&self, error: &io::Error) {
        if let Ok(mut note) = self.0.lock() {
            note.get_or_insert_with(|| error.to_string());
        }
    }
}

/// A reader that counts what it gives and notes the faults of its source.
pub(crate) struct Watched<'a, R, C> {
    pub(crate) inner: R,
    pub(crate) fault: &'a FaultNote,
    pub(crate) count: C,
}

impl<R: Read, C: Fn(u64)> Read for Watched<'_, R, C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(count) => {
                (self.count)(count as u64);
                Ok(count)
            }
            Err(error) => {
                self.fault.note(&error);
                Err(error)
            }
        }
    }
}
