//! A real `berth serve` process on a free port, with a data folder of its own.

use crate::api::Api;
use crate::environment::required_path;
use crate::process::{Daemon, free_port};
use crate::registry::{Registry, answers};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;
use tempfile::TempDir;

/// What the first start writes to `root-credentials.json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Credentials {
    /// User name of both planes.
    pub access_key_id: String,
    /// Its secret.
    pub access_key_secret: String,
    /// The root account.
    pub account_id: String,
    /// The address of the control plane.
    pub endpoint: String,
    /// The instance that was made at first start.
    pub instance_id: String,
}

/// A running server. It is killed when dropped, and its data folder goes with it.
#[derive(Debug)]
pub struct TestServer {
    daemon: Daemon,
    command: ServeCommand,
    credentials: Credentials,
    folder: TempDir,
}

/// How the server is started, and started again.
#[derive(Debug)]
struct ServeCommand {
    address: SocketAddr,
    /// With a certificate authority of the server's own.
    tls: bool,
    data_folder: PathBuf,
    config: PathBuf,
    log: PathBuf,
}

impl TestServer {
    /// A server on embedded defaults that may contact upstreams on this machine.
    #[must_use]
    pub fn start() -> TestServer {
        TestServer::start_with("")
    }

    /// The same with more lines of `berth.toml`.
    #[must_use]
    pub fn start_with(config: &str) -> TestServer {
        let allow = "[upstream]\nallow = [\"127.0.0.0/8\"]\n";
        TestServer::start_configured(&format!("{allow}{config}"))
    }

    /// A server with exactly this `berth.toml`.
    #[must_use]
    pub fn start_configured(config: &str) -> TestServer {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        TestServer::start_at(address, config, false)
    }

    /// A server that is its own certificate authority, at an address of this machine that is not
    /// loopback: from loopback many clients take any certificate, or none.
    #[must_use]
    pub fn start_with_own_ca() -> TestServer {
        let address = SocketAddr::from((machine_address(), free_port()));
        TestServer::start_at(address, "[server]\ntls_own_ca = true\n", true)
    }

    /// # Panics
    /// With the server's log, when it does not become ready.
    fn start_at(address: SocketAddr, config: &str, tls: bool) -> TestServer {
        let folder = tempfile::Builder::new()
            .prefix("berth-e2e-")
            .tempdir()
            .expect("a temporary folder can be made");
        let command = ServeCommand {
            address,
            tls,
            data_folder: folder.path().join("data"),
            config: folder.path().join("berth.toml"),
            log: folder.path().join("berth.log"),
        };
        std::fs::write(&command.config, config).expect("the configuration can be written");
        let daemon = command.start();
        let path = command.data_folder.join("root-credentials.json");
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", path.display(), daemon.log()));
        let credentials = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}: {text}", path.display()));
        TestServer { daemon, command, credentials, folder }
    }

    /// `ADDRESS:PORT`, the host part of image names.
    #[must_use]
    pub fn host(&self) -> String {
        self.command.address.to_string()
    }

    /// `http://ADDRESS:PORT`, or with `https`.
    #[must_use]
    pub fn url(&self) -> String {
        self.command.url()
    }

    /// The certificate that clients have to trust, when the server speaks TLS.
    #[must_use]
    pub fn authority(&self) -> Option<PathBuf> {
        self.command.authority()
    }

    /// The root key pair and the names of what the first start made.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// `AccessKeyId:AccessKeySecret`, as skopeo and curl take it.
    #[must_use]
    pub fn user_and_password(&self) -> String {
        format!("{}:{}", self.credentials.access_key_id, self.credentials.access_key_secret)
    }

    /// A client of the control plane with the root key.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(&self.url(), &self.credentials, self.authority().as_deref())
    }

    /// A client of the data plane with the root key.
    #[must_use]
    pub fn registry(&self) -> Registry {
        let credentials = &self.credentials;
        let (key, secret) = (&credentials.access_key_id, &credentials.access_key_secret);
        let registry = Registry::with_basic(&self.url(), key, secret);
        match self.authority() {
            Some(authority) => registry.trusting(&authority),
            None => registry,
        }
    }

    /// A folder that lives as long as the server, for whatever the test keeps beside it.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of database, blobs and secrets.
    #[must_use]
    pub fn data_folder(&self) -> &Path {
        &self.command.data_folder
    }

    /// The process id of the server as it runs now.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.daemon.id()
    }

    /// The end of the server's log.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Ends the server as a power cut would end it.
    pub fn kill9(&mut self) {
        self.daemon.kill9();
    }

    /// Starts it again on the same data folder and port and waits until it is ready.
    pub fn restart(&mut self) {
        self.daemon.kill9();
        self.daemon = self.command.start();
    }

    /// Starts it again with exactly this `berth.toml`.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn restart_configured(&mut self, config: &str) {
        self.daemon.kill9();
        std::fs::write(&self.command.config, config).expect("the configuration can be written");
        self.daemon = self.command.start();
    }

    /// Asks it to end and waits for that.
    pub fn stop(&mut self) -> ExitStatus {
        self.daemon.terminate(Duration::from_secs(30))
    }
}

impl ServeCommand {
    fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    fn authority(&self) -> Option<PathBuf> {
        self.tls.then(|| self.data_folder.join("tls/ca.pem"))
    }

    fn start(&self) -> Daemon {
        let mut command = berth();
        command.arg("serve").arg("--config").arg(&self.config);
        command.arg("--data-dir").arg(&self.data_folder);
        command.args(["--listen", &self.address.to_string()]);
        command.env("RUST_BACKTRACE", "1");
        let mut daemon = Daemon::start(&command, &self.log);
        let (url, authority) = (format!("{}/readyz", self.url()), self.authority());
        daemon.wait_ready(Duration::from_secs(60), || answers(&url, authority.as_deref()));
        daemon
    }
}

/// An address of this machine beside loopback: the one from which it would speak to others.
fn machine_address() -> IpAddr {
    // A documentation address (RFC 5737). Connecting a datagram socket sends nothing.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a datagram socket");
    let route = socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9));
    let address = route.and_then(|()| socket.local_addr());
    address.map_or_else(
        |error| panic!("this machine has no address beside loopback: {error}"),
        |address| address.ip(),
    )
}

/// The `berth` command that `cargo xtask test` built, free of the caller's settings.
///
/// # Panics
/// When the run was not started by it.
#[must_use]
pub fn berth() -> Command {
    let mut command = Command::new(required_path("BERTH_BIN"));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("BERTH_")) {
            command.env_remove(name);
        }
    }
    command
}
