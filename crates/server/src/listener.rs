//! The accept loop: connections in, requests to the router, and an orderly end.
//!
//! `axum::serve` sets no timer, so its header timeout never fires, and it knows no TLS. This loop
//! bounds everything a stranger can hold: the number of connections, the TLS handshake, the wait for
//! the first bytes, the head of every request and the time between two requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

/// The first bytes of an HTTP/2 connection (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const TLS_HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections that arrive faster than they are accepted wait in the kernel this long between tries
/// when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of the connection; in the extensions of every request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) tls: bool,
}

/// What the accept loop needs.
pub(crate) struct Listener {
    pub(crate) tcp: TcpListener,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) connections: usize,
    pub(crate) header_timeout: Duration,
    /// How long running requests may go on after the shutdown.
    pub(crate) drain_timeout: Duration,
}

impl Listener {
    /// Accepts until `shutdown` fires, then lets running requests end and returns.
    pub(crate) async fn serve(self, router: Router, shutdown: CancellationToken) {
        let graceful = GracefulShutdown::new();
        let slots = Arc::new(Semaphore::new(self.connections));
        let tasks = TaskTracker::new();
        let abort = CancellationToken::new();
        while let Some((stream, address, slot)) = self.accept(&slots, &shutdown).await {
            let connection = Connection {
                peer: Peer { address, tls: self.tls.is_some() },
                router: router.clone(),
                watcher: graceful.watcher(),
                header_timeout: self.header_timeout,
                shutdown: shutdown.clone(),
            };
            let (tls, abort) = (self.tls.clone(), abort.clone());
            tasks.spawn(async move {
                let _slot = slot;
                tokio::select! {
                    () = connection.run(stream, tls) => {}
                    () = abort.cancelled() => {}
                }
            });
        }
        drop(self.tcp);
        tasks.close();
        if timeout(self.drain_timeout, graceful.shutdown()).await.is_err() {
            tracing::warn!(connections = tasks.len(), "requests still running at shutdown are cut");
        }
        abort.cancel();
        tasks.wait().await;
    }

    /// The next connection with its slot; `None` at shutdown.
    async fn accept(
        &self,
        slots: &Arc<Semaphore>,
        shutdown: &CancellationToken,
    ) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
        loop {
            let next = async {
                let slot = Arc::clone(slots).acquire_owned().await.ok()?;
                Some((self.tcp.accept().await, slot))
            };
            let (accepted, slot) = tokio::select! {
                next = next => next?,
                () = shutdown.cancelled() => return None,
            };
            match accepted {
                Ok((stream, address)) => return Some((stream, address, slot)),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

struct Connection {
    peer: Peer,
    router: Router,
    watcher: Watcher,
    header_timeout: Duration,
    shutdown: CancellationToken,
}

impl Connection {
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Answers are written in few large pieces; waiting to join them only adds latency.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "connection without TCP_NODELAY");
        }
        match tls {
            None => {
                let http2 = tokio::select! {
                    first = timeout(self.header_timeout, is_http2(&stream)) => first,
                    () = self.shutdown.cancelled() => return,
                };
                if let Ok(Ok(http2)) = http2 {
                    self.serve(stream, http2).await;
                }
            }
            Some(acceptor) => match timeout(TLS_HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    self.serve(stream, http2).await;
                }
                Ok(Err(error)) => {
                    tracing::debug!(peer = %self.peer.address, %error, "TLS handshake failed");
                }
                Err(_) => tracing::debug!(peer = %self.peer.address, "TLS handshake too slow"),
            },
        }
    }

    async fn serve<S>(self, stream: S, http2: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (peer, router) = (self.peer, self.router);
        let service =
            hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
                request.extensions_mut().insert(peer);
                router.clone().call(request)
            });
        let stream = TokioIo::new(stream);
        let ended = if http2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .keep_alive_interval(Some(self.header_timeout))
                .max_concurrent_streams(256)
                .adaptive_window(true);
            self.watcher.watch(builder.serve_connection(stream, service)).await
        } else {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(self.header_timeout);
            self.watcher.watch(builder.serve_connection(stream, service)).await
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %peer.address, %error, "connection ended early");
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
