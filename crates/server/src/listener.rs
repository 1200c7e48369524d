//! The accept loop: connections in, requests to the router, and an orderly end.
//!
//! `axum::serve` sets no timer, so its header timeout never fires, and it knows no TLS. This loop
//! bounds everything a stranger can hold: the number of connections, the TLS handshake, the wait for
//! the first bytes, the head of every request, the time between two requests, and the time in which
//! an answer is not read.

mod connection;
mod holders;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::Connection;
use self::holders::{Held, Holders};
use crate::config::Config;
use crate::limits::{Link, PaceRule, count};

/// Connections that arrive faster than they are accepted wait in the kernel this long between tries
/// when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// After the requests that run were given their time, every connection is ended within this.
const CUT: Duration = Duration::from_secs(1);

/// Who is at the other end of the connection; in the extensions of every request.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) tls: bool,
    pub(crate) link: Arc<Link>,
}

/// What a connection may take.
#[derive(Debug, Clone)]
pub(crate) struct ListenerLimits {
    connections: usize,
    /// Connections of one address.
    address_connections: usize,
    header_timeout: Duration,
    /// Bytes of a request's address and header fields.
    head_size: u64,
    /// How answers have to be read.
    pace: PaceRule,
    /// How long running requests may go on after the shutdown.
    drain_timeout: Duration,
}

impl ListenerLimits {
    pub(crate) fn new(config: &Config) -> Self {
        let limits = &config.limits;
        // Behind a proxy all connections are those of one address.
        let all = limits.address_connections == 0 || config.server.trust_proxy;
        Self {
            connections: limits.connections,
            address_connections: if all { usize::MAX } else { limits.address_connections },
            header_timeout: limits.header_timeout,
            head_size: limits.header_size.saturating_add(limits.uri_length),
            pace: PaceRule { timeout: limits.write_timeout, rate: limits.minimum_rate },
            drain_timeout: config.server.shutdown_timeout,
        }
    }
}

/// What the accept loop needs.
pub(crate) struct Listener {
    pub(crate) tcp: TcpListener,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) limits: ListenerLimits,
}

/// A connection as it was accepted, with what it takes of the limits.
struct Accepted {
    stream: TcpStream,
    address: SocketAddr,
    _slot: OwnedSemaphorePermit,
    _held: Held,
}

impl Listener {
    /// Accepts until `shutdown` fires, then lets running requests end and returns.
    pub(crate) async fn serve(self, router: Router, shutdown: CancellationToken) {
        let slots = Arc::new(Semaphore::new(self.limits.connections));
        let holders = Arc::new(Holders::default());
        let tasks = TaskTracker::new();
        while let Some(accepted) = self.accept(&slots, &holders, &shutdown).await {
            let peer = Peer {
                address: accepted.address,
                tls: self.tls.is_some(),
                link: Arc::new(Link::default()),
            };
            let connection = Connection {
                peer,
                router: router.clone(),
                limits: self.limits.clone(),
                // One of its own: looking at it takes a lock.
                shutdown: shutdown.child_token(),
            };
            let tls = self.tls.clone();
            tasks.spawn(async move {
                let Accepted { stream, _slot, _held, .. } = accepted;
                connection.run(stream, tls).await;
            });
        }
        drop(self.tcp);
        tasks.close();
        let drain = self.limits.drain_timeout.saturating_add(CUT);
        if timeout(self.limits.drain_timeout, tasks.wait()).await.is_err() {
            tracing::warn!(connections = tasks.len(), "requests still running at shutdown are cut");
            drop(timeout(drain, tasks.wait()).await);
        }
    }

    /// The next connection; `None` at shutdown.
    async fn accept(
        &self,
        slots: &Arc<Semaphore>,
        holders: &Arc<Holders>,
        shutdown: &CancellationToken,
    ) -> Option<Accepted> {
        loop {
            let next = async {
                let slot = Arc::clone(slots).acquire_owned().await.ok()?;
                Some((self.tcp.accept().await, slot))
            };
            let (accepted, _slot) = tokio::select! {
                next = next => next?,
                () = shutdown.cancelled() => return None,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match holders.take(address.ip().into(), self.limits.address_connections) {
                Some(_held) => return Some(Accepted { stream, address, _slot, _held }),
                None => count("address_connections"),
            }
        }
    }
}
