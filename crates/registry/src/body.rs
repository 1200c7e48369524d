//! Bodies: blobs out of the store in the pieces in which they are read, uploads in.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use berth_storage::{ByteStream, FileRange, StorageError};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http_body::{Frame, SizeHint};

/// In the extensions of an answer whose body is part of a local file: a connection that can hand
/// files to the kernel sends it from there and leaves the body alone.
#[derive(Debug, Clone)]
pub struct FileBody {
    /// What is still to be sent.
    pub range: FileRange,
    sent: Arc<AtomicU64>,
}

impl FileBody {
    /// Of which nothing was sent yet.
    pub fn new(range: FileRange) -> Self {
        Self { range, sent: Arc::default() }
    }

    /// Notes that bytes were sent.
    pub fn advance(&mut self, count: u64) {
        self.range.advance(count);
        self.sent.fetch_add(count, Ordering::Relaxed);
    }

    /// Bytes sent so far, by this and all its clones.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// An answer with a stream of known length as its body: the length is announced, and a stream that
/// breaks off breaks the answer off, so that no client takes it for whole.
pub(crate) fn sized(stream: ByteStream, length: u64) -> Response {
    let file = stream.file().cloned().map(FileBody::new);
    let mut response = Response::new(Body::new(Sized { stream, remaining: length }));
    if let Some(file) = file {
        response.extensions_mut().insert(file);
    }
    response
}

struct Sized {
    stream: ByteStream,
    remaining: u64,
}

impl http_body::Body for Sized {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StorageError>>> {
        let next = ready!(self.stream.poll_next_unpin(context));
        Poll::Ready(next.map(|chunk| {
            chunk.map(|bytes| {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                self.remaining = self.remaining.saturating_sub(length);
                Frame::data(bytes)
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

/// The bytes of a request body; a client that goes away ends them with an error.
pub(crate) fn incoming(body: Body) -> BoxStream<'static, std::io::Result<Bytes>> {
    body.into_data_stream().map(|chunk| chunk.map_err(std::io::Error::other)).boxed()
}
