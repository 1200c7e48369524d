//! A server in this process, and clients that are allowed to misbehave.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use berth_auth::signature::acs3::{Outgoing, sign};
use berth_server::{CREDENTIALS_FILE, Config, Layers, RunningServer, Server};
use berth_types::{Clock as _, Secret, SystemClock};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct TestServer {
    pub(crate) folder: TempDir,
    pub(crate) server: RunningServer,
}

impl TestServer {
    pub(crate) async fn start(flags: &[(&str, &str)]) -> Self {
        Self::start_as(flags, None).await
    }

    /// With a root key pair of the operator's.
    pub(crate) async fn start_as(flags: &[(&str, &str)], pair: Option<(&str, &str)>) -> Self {
        let environment = pair.map(|(id, secret)| {
            [("BERTH_ROOT_ACCESS_KEY_ID", id), ("BERTH_ROOT_ACCESS_KEY_SECRET", secret)]
        });
        let environment: Vec<_> = environment.into_iter().flatten().collect();
        Self::start_with(flags, &environment).await
    }

    pub(crate) async fn start_with(flags: &[(&str, &str)], environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let server = start_in(folder.path(), flags, environment).await;
        Self { folder, server }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.addr()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.endpoint())
    }

    pub(crate) fn credentials(&self) -> Value {
        let path = self.folder.path().join("data").join(CREDENTIALS_FILE);
        serde_json::from_slice(&std::fs::read(path).expect("credentials")).expect("JSON")
    }

    pub(crate) fn login(&self) -> (String, String) {
        let credentials = self.credentials();
        let text = |name: &str| credentials[name].as_str().expect(name).to_owned();
        (text("AccessKeyId"), text("AccessKeySecret"))
    }

    pub(crate) async fn stop(self) {
        self.server.shutdown();
        timeout(PATIENCE, self.server.wait()).await.expect("the server ends");
    }
}

pub(crate) async fn start_in(
    folder: &Path,
    flags: &[(&str, &str)],
    environment: &[(&str, &str)],
) -> RunningServer {
    let data = folder.join("data").display().to_string();
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let mut layers = Layers::new()
        .with_environment(environment.iter().map(own))
        .with_flag("server.listen", "127.0.0.1:0")
        .with_flag("server.data_dir", &data);
    for (key, value) in flags {
        layers = layers.with_flag(key, value);
    }
    let config = Config::load(&layers).expect("configuration");
    Server::start(config).await.expect("the server starts")
}

/// A call of the API that only asks, signed anew.
pub(crate) fn signed_call(server: &TestServer, id: &str, secret: &str) -> reqwest::Request {
    let host = server.address().to_string();
    let outgoing = Outgoing {
        method: "POST",
        host: &host,
        action: "ListInstance",
        version: "2018-12-01",
        query: &[],
        body: b"",
        content_type: None,
        nonce: &berth_types::id::key(),
        now: SystemClock.now(),
    };
    let mut request = http::Request::post(server.url("/"));
    for (name, value) in sign(&outgoing, id, &Secret::new(secret)) {
        request = request.header(name, value);
    }
    request.body(String::new()).expect("request").try_into().expect("request")
}

/// Whether a refusal has happened, and how often, in all servers of this process.
pub(crate) async fn refused(server: &TestServer, reason: &str) -> u64 {
    let text = client().get(server.url("/metrics")).send().await.expect("answer");
    let text = text.text().await.expect("text");
    let name = format!("berth_refused_total{{reason=\"{reason}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.parse().expect("a number"))
}

/// A client with an address of its own on this machine.
pub(crate) fn client_from(address: &str) -> reqwest::Client {
    let address: IpAddr = address.parse().expect("address");
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).local_address(address);
    client.build().expect("client")
}

pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("client")
}

/// Sends raw bytes and reads until the server closes.
pub(crate) async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connection");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
    read.expect("the server closes").expect("read");
    answer
}
