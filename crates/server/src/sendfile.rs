//! Files straight from the page cache into the socket.
//!
//! On a plain HTTP/1.1 connection the kernel can send a blob's file itself, without a copy through
//! this process: that is most of what an answer of many megabytes costs. hyper frames such an answer
//! and knows its length; the bytes it is given are a [`Piece::File`], which holds none. When hyper
//! gathers what to write next, the piece leaves its file in the [`Slot`] that it shares with the
//! connection and an empty slice in its place; the [`Wire`] below writes up to the empty slice, and
//! at it sends the file. Nothing but a [`Wire`] ever finds bytes for a piece of a file: anything else
//! writes none, and the connection ends.
//!
//! TLS and HTTP/2 take the body of the same answer as a stream.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use berth_registry::FileBody;
use berth_storage::FileRange;
use bytes::{Buf, Bytes};
use futures::FutureExt as _;
use http_body::{Frame, SizeHint};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// What goes through memory: head and bytes in one write cost less than a file of its own.
const SMALL: u64 = 16 << 10;

/// Bytes of a file handed to the kernel at a time; it takes them in portions of 64 KiB.
const PIECE: u64 = 512 << 10;

/// The file that is next on a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slot(Arc<Mutex<Option<FileRange>>>);

impl Slot {
    /// Leaves a file, unless one that comes before it lies here.
    fn offer(&self, range: &FileRange) {
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_none() {
            *next = Some(range.clone());
        }
    }

    fn take(&self) -> Option<FileRange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The body of an answer: of a file when it is one, else as it came.
pub(crate) enum Outgoing {
    Body(Body),
    File(Option<Sending>),
}

impl Outgoing {
    /// Takes the file out of an answer that has one, for the connection with that slot.
    pub(crate) fn of(mut response: Response, slot: &Slot) -> http::Response<Self> {
        let file = response.extensions_mut().remove::<FileBody>();
        response.map(|body| match file {
            Some(file) if file.range.len() > SMALL => {
                Self::File(Some(Sending { file, slot: slot.clone(), _body: body }))
            }
            _ => Self::Body(body),
        })
    }
}

impl http_body::Body for Outgoing {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        match &mut *self {
            Self::Body(body) => {
                let frame = ready!(Pin::new(body).poll_frame(context));
                Poll::Ready(frame.map(|frame| Ok(frame?.map_data(Piece::Bytes))))
            }
            Self::File(file) => {
                Poll::Ready(file.take().map(|file| Ok(Frame::data(Piece::File(file)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Body(body) => body.is_end_stream(),
            Self::File(file) => file.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Body(body) => body.size_hint(),
            Self::File(file) => {
                SizeHint::with_exact(file.as_ref().map_or(0, |sending| sending.file.range.len()))
            }
        }
    }
}

/// What hyper has to write of a body.
#[derive(Debug)]
pub(crate) enum Piece {
    Bytes(Bytes),
    File(Sending),
}

/// A file that is being sent.
#[derive(Debug)]
pub(crate) struct Sending {
    /// What is still to be sent.
    file: FileBody,
    slot: Slot,
    /// The body in whose place the file is sent: whoever watches over it sees it end with this.
    _body: Body,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.remaining(),
            Self::File(sending) => usize::try_from(sending.file.range.len()).unwrap_or(usize::MAX),
        }
    }

    /// Of a file none: its bytes are not in memory.
    fn chunk(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes.chunk(),
            Self::File(_) => &[],
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        match (self, slices.first_mut()) {
            (Self::Bytes(bytes), _) => bytes.chunks_vectored(slices),
            (Self::File(sending), Some(first)) if !sending.file.range.is_empty() => {
                sending.slot.offer(&sending.file.range);
                *first = IoSlice::new(&[]);
                1
            }
            (Self::File(_), _) => 0,
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Bytes(bytes) => bytes.advance(count),
            Self::File(sending) => {
                sending.file.advance(u64::try_from(count).unwrap_or(u64::MAX));
            }
        }
    }
}

/// A connection that sends files.
pub(crate) struct Wire {
    stream: TcpStream,
    slot: Slot,
    /// Brings what is sent next into the page cache.
    warming: Option<JoinHandle<()>>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, slot: Slot::default(), warming: None }
    }

    /// What the answers on this connection must know.
    pub(crate) fn slot(&self) -> Slot {
        self.slot.clone()
    }

    /// Writes once the socket takes something.
    fn poll_io(
        &self,
        context: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            match self.stream.try_io(Interest::WRITABLE, || Ok(write(&self.stream)?)) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_file(
        &mut self,
        context: &mut Context<'_>,
        file: &FileRange,
    ) -> Poll<io::Result<usize>> {
        ready!(self.stream.poll_write_ready(context))?;
        let part = file.first(PIECE);
        if self.warming.is_some() || !part.is_resident() {
            let start = || {
                let part = part.clone();
                tokio::task::spawn_blocking(move || part.warm())
            };
            // What went wrong shows again when the part is sent.
            drop(ready!(self.warming.get_or_insert_with(start).poll_unpin(context)));
            self.warming = None;
        }
        let len = usize::try_from(part.len()).unwrap_or(usize::MAX);
        let sent = self.poll_io(context, |stream| {
            let mut offset = part.start();
            match rustix::fs::sendfile(stream, part.file(), Some(&mut offset), len) {
                // A file system that does not offer it.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => copy(stream, &part),
                sent => sent,
            }
        });
        match ready!(sent) {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            sent => Poll::Ready(sent),
        }
    }
}

/// Sends through memory.
fn copy(stream: &TcpStream, part: &FileRange) -> rustix::io::Result<usize> {
    let bytes = part.first(64 << 10).read().map_err(|_| Errno::IO)?;
    send(stream, &bytes, SendFlags::NOSIGNAL)
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(file) = self.slot.take() else {
            return Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        };
        match slices.first() {
            Some(first) if first.is_empty() => self.poll_file(context, &file),
            // The head of the answer; with the flag it leaves together with the file's first bytes.
            Some(first) => {
                let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
                self.poll_io(context, |stream| send(stream, first, flags))
            }
            None => Poll::Ready(Err(io::ErrorKind::InvalidInput.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
