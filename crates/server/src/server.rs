//! Start and shutdown.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use berth_auth::Auth;
use berth_metadata::Db;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::assemble::{Parts, assemble};
use crate::config::Config;
use crate::error::ServerError;
use crate::health::Health;
use crate::limits::Limits;
use crate::listener::{Listener, ListenerLimits};
use crate::observe::{Observer, observe};
use crate::tls::Tls;
use crate::{credentials, health, metrics, tasks};

/// Starts servers.
pub struct Server;

impl Server {
    /// Opens everything, listens and returns while the server runs.
    ///
    /// # Errors
    /// [`ServerError`]; nothing runs then.
    pub async fn start(config: Config) -> Result<RunningServer, ServerError> {
        let server = &config.server;
        let metrics = metrics::handle();
        make_data_dir(&server.data_dir)?;
        let listen = |source| ServerError::Listen { address: server.listen, source };
        let tcp = TcpListener::bind(server.listen).await.map_err(listen)?;
        let address = tcp.local_addr().map_err(listen)?;
        let metrics_listener = match server.metrics_listen {
            None => None,
            Some(address) => {
                let listen = |source| ServerError::Listen { address, source };
                Some(TcpListener::bind(address).await.map_err(listen)?)
            }
        };
        let metrics_address =
            metrics_listener.as_ref().map(TcpListener::local_addr).transpose().map_err(listen)?;
        let mut parts = assemble(&config).await?;
        let tls = Tls::open(&config)?;
        let endpoint = endpoint(address, tls.is_some());
        let credentials_file = write_credentials(&config, &mut parts, &endpoint)?;

        let shutdown = CancellationToken::new();
        let tracker = TaskTracker::new();
        let health = Arc::new(Health {
            db: parts.db.clone(),
            store: Arc::clone(&parts.store),
            shutdown: shutdown.clone(),
            metrics: metrics.clone(),
            last: Mutex::default(),
            metrics_token: server.metrics_token.clone(),
        });
        let router = router(&config, &parts, &health);
        if let Some(tcp) = metrics_listener {
            let limits = ListenerLimits::new(&config);
            let listener = Listener { tcp, tls: None, limits };
            let router = health::metrics_router(health);
            tracker.spawn(listener.serve(router, shutdown.clone()));
        }
        let listener = Listener {
            tcp,
            tls: tls.as_ref().map(Tls::acceptor),
            limits: ListenerLimits::new(&config),
        };
        tracker.spawn(listener.serve(router, shutdown.clone()));
        let authority_file = tls.as_ref().and_then(Tls::authority_file);
        if let Some(tls) = tls {
            tracker.spawn(tls.keep_fresh(shutdown.clone()));
        }
        if server.role.runs_tasks() {
            tasks::arrange(&parts.maintenance, &config).await?;
            tasks::spawn(&parts, &config, &tracker, &shutdown);
        }
        let upkeep = shutdown.clone();
        tracker.spawn(async move {
            tokio::select! {
                () = metrics::upkeep(metrics) => {}
                () = upkeep.cancelled() => {}
            }
        });
        tracker.spawn(tidy(parts.auth.clone(), shutdown.clone()));
        tracker.close();
        let Parts { db, auth, .. } = parts;
        Ok(RunningServer {
            address,
            metrics_address,
            endpoint,
            credentials_file,
            authority_file,
            auth,
            db,
            shutdown,
            tracker,
        })
    }
}

/// A server at work. Dropping it leaves it running until the runtime ends.
pub struct RunningServer {
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    endpoint: String,
    credentials_file: Option<PathBuf>,
    authority_file: Option<PathBuf>,
    auth: Auth,
    db: Db,
    shutdown: CancellationToken,
    tracker: TaskTracker,
}

impl RunningServer {
    /// Where it listens; with the port that was chosen when the configuration said 0.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Where the metrics are, when they have an address of their own.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Scheme, host and port under which this machine reaches it.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The file of the root key pair; `None` when the operator gave the pair.
    pub fn credentials_file(&self) -> Option<&Path> {
        self.credentials_file.as_deref()
    }

    /// The certificate that clients have to trust; `None` unless Berth is its own authority.
    pub fn authority_file(&self) -> Option<&Path> {
        self.authority_file.as_deref()
    }

    /// Asks it to end: no new connections, running requests end, tasks go back to the queue.
    pub fn shutdown(&self) {
        self.shutdown.cancel();
    }

    /// Fires when the server was asked to end.
    pub fn stopping(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Waits until it has ended.
    pub async fn wait(self) {
        self.tracker.wait().await;
        self.auth.close().await;
        self.db.close().await;
    }
}

/// Removes nonces that have expired, every minute.
async fn tidy(auth: Auth, shutdown: CancellationToken) {
    let mut tick = tokio::time::interval(Duration::from_secs(60));
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = shutdown.cancelled() => return,
        }
        if let Err(error) = auth.tidy().await {
            tracing::warn!(%error, "expired nonces cannot be removed");
        }
    }
}

fn router(config: &Config, parts: &Parts, health: &Arc<Health>) -> Router {
    let mut router = health::probes(Arc::clone(health));
    if config.server.metrics_listen.is_none() {
        router = router.merge(health::metrics_router(Arc::clone(health)));
    }
    if config.server.role.serves_data() {
        router = router.merge(berth_registry::router(parts.registry.clone()));
    }
    if config.server.role.serves_api() {
        router = router.merge(berth_control::router(parts.control.clone()));
    }
    let limits = Arc::new(Limits::new(config));
    let observer = Observer { trust_proxy: config.server.trust_proxy, limits };
    router.layer(from_fn_with_state(observer, observe))
}

fn make_data_dir(path: &Path) -> Result<(), ServerError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| ServerError::DataDir { path: path.to_owned(), source })
}

/// How this machine reaches the server: a wildcard address is reached by loopback.
fn endpoint(address: SocketAddr, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
}

/// Writes the generated root key to its file; a pair that the operator gave is written nowhere.
fn write_credentials(
    config: &Config,
    parts: &mut Parts,
    endpoint: &str,
) -> Result<Option<PathBuf>, ServerError> {
    if parts.bootstrap.given {
        return Ok(None);
    }
    parts.bootstrap.credentials.endpoint = endpoint.to_owned();
    let path = config.in_data_dir(credentials::FILE_NAME);
    credentials::write(&config.server.data_dir, &parts.bootstrap.credentials)
        .map_err(|source| ServerError::Credentials { path: path.clone(), source })?;
    Ok(Some(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let at = |text: &str, tls| endpoint(text.parse().expect("address"), tls);
        assert_eq!(at("127.0.0.1:5000", false), "http://127.0.0.1:5000");
        assert_eq!(at("0.0.0.0:443", true), "https://127.0.0.1:443");
        assert_eq!(at("[::]:1", false), "http://[::1]:1");
    }
}
