//! The client against a registry that misbehaves in every way we defend against.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use berth_oci::client::{
    BlobSource, ClientConfig, ClientError, ClientErrorKind, Credentials, RegistryClient,
    RetryPolicy,
};
use berth_oci::{Descriptor, media_type};
use berth_types::{Digest, Reference, Secret};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

/// What the server saw: method, path with query, and the two headers that matter.
#[derive(Debug, Clone)]
struct Seen {
    request: String,
    authorization: Option<String>,
    range: Option<String>,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Seen>>>);

impl Log {
    fn all(&self) -> Vec<Seen> {
        self.0.lock().expect("log").clone()
    }

    fn count(&self, part: &str) -> usize {
        self.all().iter().filter(|seen| seen.request.contains(part)).count()
    }
}

/// Serves `answer(seen, number of earlier requests)` on 127.0.0.1; gives `127.0.0.1:port`.
async fn serve<F>(answer: F) -> (String, Log)
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

fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).expect("reply")
}

fn config(address: &str) -> ClientConfig {
    let mut config = ClientConfig::for_endpoint(&format!("http://{address}")).expect("endpoint");
    config.allow = vec!["127.0.0.1/32".parse().expect("net")];
    config.retry =
        RetryPolicy { retries: 3, base: Duration::from_millis(5), longest: Duration::from_secs(2) };
    config
}

fn client(address: &str) -> RegistryClient {
    RegistryClient::new(config(address)).expect("client")
}

fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type::OCI_LAYER, Digest::sha256(bytes), bytes.len() as u64)
}

async fn read(client: &RegistryClient, blob: &Descriptor) -> Result<Vec<u8>, ClientError> {
    let chunks: Vec<Bytes> = client.blob("a/b", blob).await?.try_collect().await?;
    Ok(chunks.concat())
}

fn manifest_of(layer: &Descriptor) -> String {
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

#[tokio::test]
async fn addresses_that_nobody_allowed_are_not_contacted() {
    let (address, log) = serve(|_, _| reply(200, &[], r#"{"tags":["v1"]}"#)).await;
    let port = address.rsplit(':').next().expect("port");
    for host in [address.clone(), format!("localhost:{port}"), format!("[::ffff:127.0.0.1]:{port}")]
    {
        let mut config = config(&address);
        config.host.clone_from(&host);
        config.allow.clear();
        let error = RegistryClient::new(config).expect("client").tags("a/b").await;
        let error = error.expect_err("refused");
        assert_eq!(error.kind(), ClientErrorKind::Refused, "{host}: {error}");
        assert!(error.to_string().contains("upstream.allow"), "{error}");
    }
    assert!(log.all().is_empty());
    assert_eq!(client(&address).tags("a/b").await.as_deref(), Ok(&["v1".to_owned()][..]));
    let mut by_name = config(&address);
    by_name.host = format!("localhost:{port}");
    by_name.allow.push("::1/128".parse().expect("net"));
    assert!(RegistryClient::new(by_name).expect("client").tags("a/b").await.is_ok());
}

#[tokio::test]
async fn redirects_are_checked_and_take_no_credentials_along() {
    let layer = b"layer bytes".to_vec();
    let blob = descriptor(&layer);
    let body = layer.clone();
    let (storage, storage_log) = serve(move |_, _| reply(200, &[], body.clone())).await;
    let target = Arc::new(Mutex::new(format!("http://{storage}/signed?x=1")));
    let current = Arc::clone(&target);
    let (address, _) = serve(move |seen, _| {
        if seen.authorization.is_none() {
            return reply(401, &[("www-authenticate", "Basic realm=\"r\"")], "");
        }
        let location = current.lock().expect("target").clone();
        reply(307, &[("location", &location)], "")
    })
    .await;
    let mut config = config(&address);
    config.credentials =
        Some(Credentials { username: "me".to_owned(), password: Secret::new("hidden") });
    let client = RegistryClient::new(config).expect("client");
    assert_eq!(read(&client, &blob).await, Ok(layer));
    assert_eq!(storage_log.all().first().map(|seen| seen.authorization.clone()), Some(None));
    for bad in [
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.2/x",
        "http://[::1]/x",
        "http://0x7f000002/x",
        "http://user:pass@127.0.0.1/x",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "",
    ] {
        bad.clone_into(&mut target.lock().expect("target"));
        let error = read(&client, &blob).await.expect_err(bad);
        assert!(!error.is_transient(), "{bad}: {error}");
    }
}

#[tokio::test]
async fn tokens_are_fetched_once_renewed_when_refused_and_kept_from_other_hosts() {
    let (address, log) = serve(|_, _| {
        reply(401, &[("www-authenticate", "Bearer realm=\"http://127.0.0.2:1/token\"")], "")
    })
    .await;
    let mut with_password = config(&address);
    with_password.credentials =
        Some(Credentials { username: "me".to_owned(), password: Secret::new("hidden") });
    let error = RegistryClient::new(with_password.clone()).expect("client").tags("a/b").await;
    assert!(matches!(error, Err(ClientError::Realm { .. })), "{error:?}");
    assert_eq!(log.count("/token"), 0);
    assert!(log.all().iter().all(|seen| seen.authorization.is_none()));

    // The token "old" is refused from the fifth request on.
    let own = Arc::new(Mutex::new(String::new()));
    let realm = Arc::clone(&own);
    let (address, log) = serve(move |seen, number| {
        let token = if number < 4 { "old" } else { "new" };
        if seen.request.starts_with("GET /token") {
            return reply(200, &[], format!(r#"{{"access_token":"{token}"}}"#));
        }
        if seen.authorization.as_deref() == Some(&format!("Bearer {token}")) {
            return reply(200, &[], r#"{"tags":null}"#);
        }
        let realm = realm.lock().expect("realm").clone();
        let challenge = format!("Bearer realm=\"http://{realm}/token\",service=\"s\"");
        reply(401, &[("www-authenticate", &challenge)], "")
    })
    .await;
    own.lock().expect("realm").clone_from(&address);
    with_password.host.clone_from(&address);
    let client = RegistryClient::new(with_password).expect("client");
    for _ in 0..3 {
        client.tags("a/b").await.expect("tags");
    }
    assert_eq!(log.count("GET /token"), 2, "{:?}", log.all());
    for seen in log.all() {
        let basic = seen.authorization.is_some_and(|one| one.starts_with("Basic "));
        assert_eq!(basic, seen.request.starts_with("GET /token"), "{}", seen.request);
    }
    let token_request = log.all().into_iter().find(|seen| seen.request.contains("/token"));
    let token_request = token_request.expect("token request").request;
    assert!(token_request.contains("scope=repository%3Aa%2Fb%3Apull"), "{token_request}");
}

#[tokio::test]
async fn rate_limits_are_waited_out_within_bounds() {
    let (address, log) = serve(|_, number| match number {
        0 => reply(429, &[("retry-after", "1")], ""),
        1 => reply(503, &[], ""),
        _ => reply(200, &[], r#"{"tags":["v1"]}"#),
    })
    .await;
    let start = Instant::now();
    assert_eq!(client(&address).tags("a/b").await.map(|tags| tags.len()), Ok(1));
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(log.all().len(), 3);

    let (address, log) = serve(|_, _| reply(429, &[("retry-after", "3600")], "")).await;
    let error = client(&address).tags("a/b").await.expect_err("too long");
    assert!(error.is_transient() && error.to_string().contains("3600 s"), "{error}");
    assert_eq!(log.all().len(), 1);

    let (address, log) = serve(|_, _| reply(500, &[], "")).await;
    assert!(client(&address).tags("a/b").await.is_err_and(|error| error.is_transient()));
    assert_eq!(log.all().len(), 4, "one try and three more");
}

/// A reply that promises `total` bytes and breaks off after those given.
fn broken(status: u16, headers: &[(&str, &str)], part: Vec<u8>, total: usize) -> Response {
    let fault = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(std::io::Error::other("cut"))
    };
    let body = stream::iter([Ok(Bytes::from(part))]).chain(stream::once(fault));
    let length = total.to_string();
    let mut all = vec![("content-length", length.as_str())];
    all.extend_from_slice(headers);
    reply(status, &all, Body::from_stream(body))
}

#[tokio::test]
async fn broken_blobs_are_taken_up_where_they_broke() {
    let layer: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let blob = descriptor(&layer);
    for ranges in [true, false] {
        let bytes = layer.clone();
        let (address, log) = serve(move |seen, number| {
            let start = seen.range.as_deref().and_then(|range| {
                range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok()
            });
            let start = start.filter(|_| ranges);
            let rest = bytes.get(start.unwrap_or(0)..).expect("range").to_vec();
            let content_range =
                format!("bytes {}-{}/{}", start.unwrap_or(0), bytes.len() - 1, bytes.len());
            let status = if start.is_some() { 206 } else { 200 };
            let headers = [("etag", "\"x\""), ("content-range", content_range.as_str())];
            if number < 3 {
                let part = rest.get(..100_000 * (number + 1)).unwrap_or(&rest).to_vec();
                return broken(status, &headers, part, rest.len());
            }
            reply(status, &headers, rest)
        })
        .await;
        assert_eq!(read(&client(&address), &blob).await.map(|got| got == layer), Ok(true));
        let asked: Vec<_> = log.all().into_iter().map(|seen| seen.range).collect();
        assert!(asked.len() >= 3, "{asked:?}");
        assert_eq!(asked.first(), Some(&None));
        assert!(asked.iter().skip(1).all(Option::is_some), "{asked:?}");
    }
}

#[tokio::test]
async fn blobs_that_do_not_fit_their_descriptor_fail() {
    let (address, _) = serve(|_, _| reply(200, &[], "0123456789")).await;
    let client = client(&address);
    let mut blob = descriptor(b"0123456789");
    blob.size = 5;
    assert!(read(&client, &blob).await.is_err_and(|error| error.to_string().contains("10 bytes")));

    let (address, log) = serve(|_, _| broken(200, &[], b"0123".to_vec(), 10)).await;
    let error = read(&self::client(&address), &descriptor(b"0123456789")).await;
    assert!(error.as_ref().is_err_and(ClientError::is_transient), "{error:?}");
    assert!(log.all().len() >= 4);

    let (address, _) = serve(|_, _| {
        let body = r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#;
        reply(404, &[], body)
    })
    .await;
    let error = read(&self::client(&address), &blob).await.expect_err("gone");
    assert_eq!(error.kind(), ClientErrorKind::NotFound);
    assert!(error.to_string().starts_with(&format!("blob {} not found at source", blob.digest)));
}

#[tokio::test]
async fn tags_are_read_over_all_pages_of_the_same_host() {
    let (address, log) = serve(|seen, _| {
        if seen.request.contains("last=b") {
            return reply(200, &[], r#"{"name":"a/b","tags":["c"]}"#);
        }
        let link = "</v2/a/b/tags/list?last=b&n=2>; rel=\"next\"";
        reply(200, &[("link", link)], r#"{"name":"a/b","tags":["a","b"]}"#)
    })
    .await;
    assert_eq!(client(&address).tags("a/b").await.map(|tags| tags.concat()), Ok("abc".to_owned()));
    assert_eq!(log.all().len(), 2);

    let (address, log) = serve(|_, _| {
        reply(200, &[("link", "<http://127.0.0.2/x>; rel=next")], r#"{"tags":["a"]}"#)
    })
    .await;
    let error = client(&address).tags("a/b").await;
    assert!(matches!(error, Err(ClientError::Redirect { .. })), "{error:?}");
    assert_eq!(log.all().len(), 1);

    let (address, _) = serve(|_, _| {
        reply(200, &[("link", "</v2/a/b/tags/list?n=1000>; rel=next")], r#"{"tags":["a"]}"#)
    })
    .await;
    assert!(client(&address).tags("a/b").await.is_err_and(|error| !error.is_transient()));
    assert!(client(&address).tags("../../etc").await.is_err());
}

#[tokio::test]
async fn manifests_are_verified_and_bounded() {
    let document = manifest_of(&descriptor(b"{}"));
    let digest = Digest::sha256(document.as_bytes());
    let sent = document.clone();
    let (address, _) = serve(move |seen, _| {
        if seen.request.contains("large") {
            return reply(200, &[], vec![b' '; 5 * 1024 * 1024]);
        }
        let lie = Digest::sha256(b"something else").to_string();
        let name = if seen.request.contains("lie") {
            lie
        } else {
            Digest::sha256(sent.as_bytes()).to_string()
        };
        let headers =
            [("content-type", media_type::OCI_MANIFEST), ("docker-content-digest", &name)];
        reply(200, &headers, sent.clone())
    })
    .await;
    let client = client(&address);
    let reference = |text: &str| text.parse::<Reference>().expect(text);
    let fetched = client.manifest("a/b", &reference("v1")).await.expect("manifest");
    assert_eq!((&fetched.digest, &fetched.body[..]), (&digest, document.as_bytes()));
    let head = client.head_manifest("a/b", &reference("v1")).await.expect("head");
    assert_eq!(head.digest, Some(digest.clone()));
    assert!(client.manifest("a/b", &Reference::Digest(digest)).await.is_ok());
    let other = Reference::Digest(Digest::sha256(b"other"));
    for (reference, what) in [(other, "other"), (reference("lie"), "lie")] {
        let error = client.manifest("a/b", &reference).await;
        assert!(matches!(error, Err(ClientError::Digest { .. })), "{what}");
    }
    let error = client.manifest("a/b", &reference("large")).await;
    assert!(matches!(error, Err(ClientError::TooLarge { .. })), "{error:?}");
}

#[tokio::test]
async fn pushes_follow_the_location_on_the_same_host() {
    let (address, log) = serve(|seen, _| match seen.request.split(' ').next() {
        Some("HEAD") => reply(404, &[], ""),
        Some("POST") => reply(202, &[("location", "/v2/a/b/blobs/uploads/1?state=x")], ""),
        _ => reply(201, &[], ""),
    })
    .await;
    let client = client(&address);
    let digest = Digest::sha256(b"bytes");
    let source = BlobSource::Bytes(Bytes::from_static(b"bytes"));
    assert_eq!(client.push_blob("a/b", &digest, source).await, Ok(true));
    let put = log.all().pop().expect("put").request;
    let hex = digest.hex();
    assert_eq!(put, format!("PUT /v2/a/b/blobs/uploads/1?state=x&digest=sha256%3A{hex}"));
    let document = Bytes::from(manifest_of(&descriptor(b"{}")));
    let reference = "v1".parse().expect("tag");
    let pushed =
        client.push_manifest("a/b", &reference, media_type::OCI_MANIFEST, document.clone());
    assert_eq!(pushed.await, Ok(Digest::sha256(&document)));

    let (address, _) = serve(|seen, _| match seen.request.split(' ').next() {
        Some("HEAD") => reply(404, &[], ""),
        _ => reply(202, &[("location", "http://127.0.0.2/steal")], ""),
    })
    .await;
    let source = BlobSource::Bytes(Bytes::from_static(b"bytes"));
    let error = self::client(&address).push_blob("a/b", &digest, source).await;
    assert!(matches!(error, Err(ClientError::Redirect { .. })), "{error:?}");
}
