//! A connection's stream: ended when the client does not read, and closed so that the last answer
//! arrives.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::link::Link;
use super::pace::{Pace, PaceRule, TooSlow};
use super::refusal::count;

/// How long what a client still sends after the last answer is read and thrown away.
const LINGER: Duration = Duration::from_secs(5);
/// How much of it.
const LINGER_BYTES: usize = 64 << 20;

pub(crate) struct Guarded<S> {
    inner: S,
    link: Arc<Link>,
    pace: Pace,
    closing: Closing,
}

enum Closing {
    No,
    /// The write side is closed; the read side is emptied until the client has noticed.
    Lingering {
        end: Pin<Box<Sleep>>,
        left: usize,
    },
}

impl<S> Guarded<S> {
    pub(crate) fn new(inner: S, link: Arc<Link>, rule: PaceRule) -> Self {
        Self { inner, link, pace: Pace::new(rule), closing: Closing::No }
    }

    /// What a write came to; a client that does not read for too long ends the connection.
    fn written(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(Ok(bytes)) => {
                self.pace.moved(bytes);
                self.link.wrote(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Pending => self.waiting(context).map(Err),
            failed => failed,
        }
    }

    fn waiting(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let slow = ready!(self.pace.poll_waiting(context));
        count(match slow {
            TooSlow::Silent => "answer_not_read",
            TooSlow::Dripping => "answer_read_slowly",
        });
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client does not read"))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.written(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(context, pieces);
        self.written(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_flush(context) {
            Poll::Pending => self.waiting(context).map(Err),
            done => done,
        }
    }

    /// Closing a socket with unread bytes resets the connection, and the reset may overtake the
    /// answer that says why. After a request that was not read to its end the client is therefore
    /// given time to read and to close from its side.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.closing {
                Closing::No => {
                    let shut = ready!(Pin::new(&mut this.inner).poll_shutdown(context));
                    if shut.is_err() || !this.link.is_unread() {
                        return Poll::Ready(shut);
                    }
                    this.closing =
                        Closing::Lingering { end: Box::pin(sleep(LINGER)), left: LINGER_BYTES };
                }
                Closing::Lingering { end, left } => {
                    if end.as_mut().poll(context).is_ready() {
                        return Poll::Ready(Ok(()));
                    }
                    let mut scratch = [0u8; 16 << 10];
                    let mut buffer = ReadBuf::new(&mut scratch);
                    let read = ready!(Pin::new(&mut this.inner).poll_read(context, &mut buffer));
                    let length = buffer.filled().len();
                    *left = left.saturating_sub(length);
                    if read.is_err() || length == 0 || *left == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}
