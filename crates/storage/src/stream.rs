//! The bytes of an object on their way out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt as _, Stream, StreamExt as _};
use tokio::task::JoinHandle;

use crate::{FileRange, StorageError};

/// Bytes of one read of a file. A hundred slow readers hold a few of these each.
const PIECE: u64 = crate::buffers::LEN as u64;

/// The bytes of an object, in pieces of a few hundred kilobytes at most.
pub struct ByteStream(Source);

enum Source {
    File { rest: FileRange, reading: Option<JoinHandle<io::Result<Bytes>>> },
    Pieces(BoxStream<'static, Result<Bytes, StorageError>>),
}

impl ByteStream {
    pub(crate) fn new(
        pieces: impl Stream<Item = Result<Bytes, StorageError>> + Send + 'static,
    ) -> Self {
        Self(Source::Pieces(pieces.boxed()))
    }

    /// The bytes as part of a local file, when that is where all of them still come from. Whoever
    /// can hand a file to the kernel takes them there and leaves the stream.
    pub fn file(&self) -> Option<&FileRange> {
        match &self.0 {
            Source::File { rest, reading: None } => Some(rest),
            _ => None,
        }
    }
}

impl From<FileRange> for ByteStream {
    fn from(range: FileRange) -> Self {
        Self(Source::File { rest: range, reading: None })
    }
}

impl Stream for ByteStream {
    type Item = Result<Bytes, StorageError>;

    /// Out of the page cache in place, else where waiting for the disk harms nobody.
    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, StorageError>>> {
        let (rest, reading) = match &mut self.0 {
            Source::Pieces(pieces) => return pieces.poll_next_unpin(context),
            Source::File { rest, reading } => (rest, reading),
        };
        if reading.is_none() {
            if rest.is_empty() {
                return Poll::Ready(None);
            }
            let piece = rest.first(PIECE);
            if let Some(bytes) = piece.read_resident() {
                rest.advance(bytes.len() as u64);
                return Poll::Ready(Some(Ok(bytes)));
            }
            *reading = Some(tokio::task::spawn_blocking(move || piece.read_from_disk()));
        }
        let Some(handle) = reading else { return Poll::Ready(None) };
        let read = ready!(handle.poll_unpin(context));
        *reading = None;
        let read = read.unwrap_or_else(|error| Err(io::Error::other(error)));
        Poll::Ready(Some(match read {
            Ok(bytes) => {
                rest.advance(bytes.len() as u64);
                Ok(bytes)
            }
            Err(error) => {
                let failed = rest.failed(error);
                rest.advance(u64::MAX);
                Err(failed)
            }
        }))
    }
}
