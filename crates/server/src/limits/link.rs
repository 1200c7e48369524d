//! What the parts of one connection tell each other.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};

/// Shared by the stream, the requests and the watch of one connection.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// A request was answered before its body was read to the end.
    unread: AtomicBool,
    /// Requests that ever began.
    begun: AtomicU64,
    /// Requests that have not ended.
    open: AtomicUsize,
    /// Answers that wait for the client to make room.
    owed: AtomicUsize,
    /// Bytes that left.
    written: AtomicU64,
}

/// A look at a [`Link`]; two of them tell what happened between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    begun: u64,
    open: usize,
    owed: usize,
    written: u64,
}

/// What a connection did between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Busy,
    /// No request, neither old nor new.
    Idle,
    /// Answers were ready and the client took hardly anything.
    Stuck,
}

impl Link {
    pub(crate) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    pub(super) fn wrote(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn look(&self) -> Look {
        Look {
            begun: self.begun.load(Ordering::Relaxed),
            open: self.open.load(Ordering::Relaxed),
            owed: self.owed.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
        }
    }
}

impl Look {
    /// What happened since `before`, when at least `least` bytes should have left.
    pub(crate) fn since(self, before: Self, least: u64) -> Verdict {
        // The last piece of an answer may still be on its way after its request has ended.
        if self.written.wrapping_sub(before.written) >= least.max(1) {
            return Verdict::Busy;
        }
        if self.open == 0 && before.open == 0 && self.begun == before.begun {
            return Verdict::Idle;
        }
        if self.owed > 0 && before.owed > 0 { Verdict::Stuck } else { Verdict::Busy }
    }
}

/// One request of a connection, from its head to the end of its answer.
pub(crate) struct OpenRequest(Arc<Link>);

impl OpenRequest {
    pub(crate) fn begin(link: &Arc<Link>) -> Self {
        link.begun.fetch_add(1, Ordering::Relaxed);
        link.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(link))
    }

    /// The answer's body, which says when it waits for the client.
    pub(crate) fn answer(self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        self.0.owed.fetch_add(1, Ordering::Relaxed);
        Body::new(Owed { body, request: self, owed: true })
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that is polled only when the client has room for it, as HTTP/2 does. Between two polls
/// it is the client's turn.
struct Owed {
    body: Body,
    request: OpenRequest,
    owed: bool,
}

impl Owed {
    fn owes(&mut self, owed: bool) {
        if self.owed != owed {
            self.owed = owed;
            let count = &self.request.0.owed;
            if owed {
                count.fetch_add(1, Ordering::Relaxed);
            } else {
                count.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

impl HttpBody for Owed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let owed = matches!(&polled, Poll::Ready(Some(Ok(_)))) && !self.body.is_end_stream();
        self.owes(owed);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.owes(false);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_connection_is_idle_busy_or_stuck() {
        let link = Arc::new(Link::default());
        let start = link.look();
        assert_eq!(link.look().since(start, 1), Verdict::Idle);
        let request = OpenRequest::begin(&link);
        assert_eq!(link.look().since(start, 1), Verdict::Busy);
        let answer = request.answer(Body::from("answer"));
        let ready = link.look();
        assert_eq!(link.look().since(ready, 1), Verdict::Stuck);
        link.wrote(100);
        assert_eq!(link.look().since(ready, 100), Verdict::Busy);
        assert_eq!(link.look().since(ready, 101), Verdict::Stuck);
        answer.collect().await.expect("whole");
        let ended = link.look();
        assert_eq!((ended.open, ended.owed), (0, 0));
        assert_eq!(link.look().since(ended, 1), Verdict::Idle);
        let dropped = OpenRequest::begin(&link).answer(Body::from("x"));
        drop(dropped);
        assert_eq!((link.look().open, link.look().owed), (0, 0));
    }
}
