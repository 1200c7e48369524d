//! Bodies: blobs out of the store in the pieces in which they are read, uploads in.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use berth_storage::{ByteStream, StorageError};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http_body::{Frame, SizeHint};

/// A stream of known length as a response body: the length is announced, and a stream that breaks
/// off breaks the answer off, so that no client takes it for whole.
pub(crate) fn sized(stream: ByteStream, length: u64) -> Body {
    Body::new(Sized { stream, remaining: length })
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
        let next = ready!(self.stream.as_mut().poll_next(context));
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
