//! A registry that answers whatever a test says, and clients of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use berth_oci::client::{ClientConfig, ClientError, RegistryClient, RetryPolicy};
use berth_oci::{Descriptor, media_type};
use berth_types::Digest;
use bytes::Bytes;
use futures::TryStreamExt as _;

/// What the server saw: method, path with query, and the two headers that matter.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) request: String,
    pub(crate) authorization: Option<String>,
    pub(crate) range: Option<String>,
}

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Seen>>>);

impl Log {
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.0.lock().expect("log").clone()
    }

    pub(crate) fn count(&self, part: &str) -> usize {
        self.all().iter().filter(|seen| seen.request.contains(part)).count()
    }
}

/// Serves `answer(seen, number of earlier requests)` on 127.0.0.1; gives `127.0.0.1:port`.
pub(crate) async fn serve<F>(answer: F) -> (String, Log)
where
    F: Fn(&Seen, usize) -> Response + Clone + Send + Sync + 'static,
{
    let log = Log::default();
    let kept = log.clone();
    let router = Router::new().fallback(move |request: Request| {
        let header = |name: &str| {
            request.headers().get(name).and_then(|one| one.to_str().ok()).map(str::to_owned)
        };
        let seen = Seen {
            request: format!("{} {}", request.method(), request.uri()),
            authorization: header("authorization"),
            range: header("range"),
        };
        let mut all = kept.0.lock().expect("log");
        let response = answer(&seen, all.len());
        all.push(seen);
        drop(all);
        async move { response }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, log)
}

pub(crate) fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).expect("reply")
}

pub(crate) fn config(address: &str) -> ClientConfig {
    let mut config = ClientConfig::for_endpoint(&format!("http://{address}")).expect("endpoint");
    config.allow = vec!["127.0.0.1/32".parse().expect("net")];
    config.retry =
        RetryPolicy { retries: 3, base: Duration::from_millis(5), longest: Duration::from_secs(2) };
    config
}

pub(crate) fn client(address: &str) -> RegistryClient {
    RegistryClient::new(config(address)).expect("client")
}

pub(crate) fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type::OCI_LAYER, Digest::sha256(bytes), bytes.len() as u64)
}

pub(crate) async fn read(
    client: &RegistryClient,
    blob: &Descriptor,
) -> Result<Vec<u8>, ClientError> {
    let chunks: Vec<Bytes> = client.blob("a/b", blob).await?.try_collect().await?;
    Ok(chunks.concat())
}

pub(crate) fn manifest_of(layer: &Descriptor) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{manifest}",
        "config":{{"mediaType":"{config}","digest":"{digest}","size":2}},
        "layers":[{{"mediaType":"{layer}","digest":"{digest}","size":2}}]}}"#,
        manifest = media_type::OCI_MANIFEST,
        config = media_type::OCI_CONFIG,
        layer = media_type::OCI_LAYER,
        digest = layer.digest,
    )
}
