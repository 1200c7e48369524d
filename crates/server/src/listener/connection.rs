//! One connection: HTTP/1 or HTTP/2 over it, watched until it ends.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::{ListenerLimits, Peer};
use crate::limits::{Guarded, Link, OpenRequest, PaceRule, Verdict, count};
use crate::sendfile::{Outgoing, Wire};

/// The first bytes of an HTTP/2 connection (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const TLS_HANDSHAKE: Duration = Duration::from_secs(10);
/// What an HTTP/1 connection holds of a body on its way in or out, in bytes.
const HTTP1_BUFFER: usize = 256 << 10;
/// Room in the head of an HTTP/1 request beside its address and header fields; whoever stays below
/// gets a refusal in words, whoever does not a bare status.
const HEAD_ROOM: u64 = 64 << 10;
/// Requests at the same time on one HTTP/2 connection.
const HTTP2_STREAMS: u32 = 128;
/// What one of them holds of its answer, in bytes.
const HTTP2_BUFFER: usize = 128 << 10;
/// Requests of an HTTP/2 connection that were taken back before anybody looked at them, and those
/// that were wrong, before the connection is ended (CVE-2023-44487 and its kin).
const HTTP2_RESETS: usize = 32;
const HTTP2_ERRORS: usize = 128;
/// How long an HTTP/2 connection that was asked to end may take when nobody waits for an answer.
const HTTP2_GOODBYE: Duration = Duration::from_secs(5);

pub(super) struct Connection {
    pub(super) peer: Peer,
    pub(super) router: Router,
    pub(super) limits: ListenerLimits,
    /// Fires when the server is to end.
    pub(super) shutdown: CancellationToken,
}

impl Connection {
    pub(super) async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Answers are written in few large pieces; waiting to join them only adds latency.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "connection without TCP_NODELAY");
        }
        match tls {
            None => {
                let first = tokio::select! {
                    first = timeout(self.limits.header_timeout, is_http2(&stream)) => first,
                    () = self.shutdown.cancelled() => return,
                };
                match first {
                    Ok(Ok(true)) => self.serve_http2(stream).await,
                    Ok(Ok(false)) => self.serve_files(stream).await,
                    Ok(Err(_)) => {}
                    Err(_) => count("no_request"),
                }
            }
            Some(acceptor) => match timeout(TLS_HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => match stream.get_ref().1.alpn_protocol() {
                    Some(b"h2") => self.serve_http2(stream).await,
                    _ => self.serve_http1(stream).await,
                },
                Ok(Err(error)) => {
                    tracing::debug!(peer = %self.peer.address, %error, "TLS handshake failed");
                }
                Err(_) => {
                    count("tls_handshake");
                    tracing::debug!(peer = %self.peer.address, "TLS handshake too slow");
                }
            },
        }
    }

    fn guard<S>(&self, stream: S) -> Guarded<S> {
        Guarded::new(stream, Arc::clone(&self.peer.link), self.limits.pace)
    }

    /// HTTP/1.1 without TLS: the kernel sends files.
    async fn serve_files(self, stream: TcpStream) {
        let wire = Wire::new(stream);
        let slot = wire.slot();
        let stream = TokioIo::new(self.guard(wire));
        let (peer, router) = (self.peer.clone(), self.router.clone());
        let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer.clone());
            let (answer, slot) = (router.clone().call(request), slot.clone());
            async move { answer.await.map(|response| Outgoing::of(response, &slot)) }
        });
        let mut builder = self.http1();
        builder.writev(true);
        let connection = builder.serve_connection(stream, service);
        self.until_end(connection, http1::Connection::graceful_shutdown).await;
    }

    async fn serve_http1<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = TokioIo::new(self.guard(stream));
        let (peer, router) = (self.peer.clone(), self.router.clone());
        let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer.clone());
            router.clone().call(request)
        });
        let connection = self.http1().serve_connection(stream, service);
        self.until_end(connection, http1::Connection::graceful_shutdown).await;
    }

    /// How HTTP/1.1 is spoken.
    fn http1(&self) -> http1::Builder {
        let head = self.limits.head_size.saturating_add(HEAD_ROOM);
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_header_size(usize::try_from(head).unwrap_or(usize::MAX))
            .max_buf_size(HTTP1_BUFFER);
        builder
    }

    async fn serve_http2<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = TokioIo::new(self.guard(stream));
        let (peer, router) = (self.peer.clone(), self.router.clone());
        let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
            let open = OpenRequest::begin(&peer.link);
            request.extensions_mut().insert(peer.clone());
            let answer = router.clone().call(request);
            async move { answer.await.map(|response| response.map(|body: Body| open.answer(body))) }
        });
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(self.limits.header_timeout))
            .max_concurrent_streams(HTTP2_STREAMS)
            .max_header_list_size(u32::try_from(self.limits.head_size).unwrap_or(u32::MAX))
            .max_send_buf_size(HTTP2_BUFFER)
            .max_pending_accept_reset_streams(HTTP2_RESETS)
            .max_local_error_reset_streams(HTTP2_ERRORS)
            .adaptive_window(true);
        let connection = builder.serve_connection(stream, service);
        let watch = watch(Arc::clone(&self.peer.link), self.limits.clone());
        self.until_end_watched(connection, http2::Connection::graceful_shutdown, watch).await;
    }

    async fn until_end<C>(self, connection: C, finish: impl FnMut(Pin<&mut C>))
    where
        C: Future<Output = hyper::Result<()>>,
    {
        self.until_end_watched(connection, finish, std::future::pending()).await;
    }

    /// Drives the connection. At shutdown, and when the watch has seen enough, it is asked to end
    /// after the requests that run, and cut when it takes too long.
    async fn until_end_watched<C>(
        self,
        connection: C,
        mut finish: impl FnMut(Pin<&mut C>),
        watch: impl Future<Output = Duration>,
    ) where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut connection = pin!(connection);
        let patience = tokio::select! {
            biased;
            ended = connection.as_mut() => return self.ended(ended),
            () = self.shutdown.cancelled() => self.limits.drain_timeout,
            patience = watch => patience,
        };
        finish(connection.as_mut());
        match timeout(patience, connection).await {
            Ok(ended) => self.ended(ended),
            Err(_) => tracing::debug!(peer = %self.peer.address, "connection cut"),
        }
    }

    fn ended(&self, ended: hyper::Result<()>) {
        if let Err(error) = ended {
            if error.is_timeout() {
                count("header_timeout");
            } else if error.is_parse_too_large() {
                count("header_size");
            } else if error.is_parse() {
                count("bad_request");
            }
            tracing::debug!(peer = %self.peer.address, %error, "connection ended early");
        }
    }
}

/// Watches an HTTP/2 connection, whose parts see only their own requests: returns when it is idle,
/// or when it takes none of the answers that are ready, with the time that is left to it.
async fn watch(link: Arc<Link>, limits: ListenerLimits) -> Duration {
    let PaceRule { timeout: write_timeout, rate } = limits.pace;
    let interval = match write_timeout {
        Duration::ZERO => limits.header_timeout,
        timeout => timeout.min(limits.header_timeout),
    };
    let milliseconds = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    let least = rate.saturating_mul(milliseconds) / 1000;
    let mut before = link.look();
    loop {
        sleep(interval).await;
        let now = link.look();
        match now.since(before, least) {
            Verdict::Busy => before = now,
            Verdict::Idle => return HTTP2_GOODBYE,
            Verdict::Stuck if write_timeout.is_zero() => before = now,
            Verdict::Stuck => {
                count("answer_not_read");
                return Duration::ZERO;
            }
        }
    }
}

/// Whether the client opens with the HTTP/2 preface. Reads nothing off the stream.
async fn is_http2(stream: &TcpStream) -> std::io::Result<bool> {
    let mut first = [0u8; HTTP2_PREFACE.len()];
    loop {
        let length = stream.peek(&mut first).await?;
        let seen = first.get(..length).unwrap_or_default();
        if length == 0 || !HTTP2_PREFACE.starts_with(seen) {
            return Ok(false);
        }
        if length == HTTP2_PREFACE.len() {
            return Ok(true);
        }
        // Part of the preface: more must come, and peeking does not wait for it.
        sleep(Duration::from_millis(5)).await;
    }
}
