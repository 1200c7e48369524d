//! A whole server on a free port: what strangers, clients and operators see of it.

mod harness;
mod heads;
mod http2;
mod metrics;
mod rates;
mod second;
mod sizes;
mod slow;
mod tls;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use berth_server::CREDENTIALS_FILE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{PATIENCE, TestServer, client, raw, start_in};

#[tokio::test]
async fn the_first_start_makes_a_root_key_that_later_starts_keep() {
    let first = TestServer::start(&[]).await;
    let credentials = first.credentials();
    assert_eq!(credentials["Endpoint"], first.server.endpoint());
    assert!(credentials["InstanceId"].as_str().is_some_and(|id| id.starts_with("cri-")));
    let data = first.folder.path().join("data");
    let mode = |path: &Path| std::fs::metadata(path).expect("exists").permissions().mode() & 0o777;
    assert_eq!(mode(&data.join(CREDENTIALS_FILE)), 0o600);
    assert_eq!(mode(&data), 0o700);

    let (id, secret) = first.login();
    let ping = client().get(first.url("/v2/")).basic_auth(&id, Some(&secret)).send().await;
    assert_eq!(ping.expect("answer").status(), 200);
    let folder = {
        let TestServer { folder, server } = first;
        server.shutdown();
        server.wait().await;
        folder
    };
    let server = start_in(folder.path(), &[], &[]).await;
    let again = TestServer { folder, server };
    assert_eq!(again.login(), (id, secret));
    again.stop().await;
}

#[tokio::test]
async fn a_root_key_of_the_operator_is_written_nowhere() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let environment = [
        ("BERTH_ROOT_ACCESS_KEY_ID", "operator"),
        ("BERTH_ROOT_ACCESS_KEY_SECRET", "operators-own-secret"),
    ];
    let server = start_in(folder.path(), &[], &environment).await;
    assert!(server.credentials_file().is_none());
    assert!(!folder.path().join("data").join(CREDENTIALS_FILE).exists());
    let ping = client()
        .get(format!("{}/v2/", server.endpoint()))
        .basic_auth("operator", Some("operators-own-secret"))
        .send()
        .await
        .expect("answer");
    assert_eq!(ping.status(), 200);
    server.shutdown();
    server.wait().await;
}

#[tokio::test]
async fn probes_and_metrics_need_no_credentials() {
    let server = TestServer::start(&[]).await;
    let get = async |path: &str| {
        let answer = client().get(server.url(path)).send().await.expect("answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    assert_eq!(get("/healthz").await, (200, "ok\n".to_owned()));
    let (status, ready) = get("/readyz").await;
    assert_eq!(status, 200, "{ready}");
    assert!(ready.contains("\"database\":\"ok\",\"storage\":\"ok\""), "{ready}");
    get("/v2/").await;
    get("/v2/some/where/blobs/x").await;
    let (status, text) = get("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "berth_http_requests_total{route=\"ping\",method=\"GET\",status=\"401\"}",
        "berth_http_requests_total{route=\"invalid\",method=\"GET\",status=\"400\"}",
        "berth_http_request_duration_seconds_bucket{route=\"ping\"",
        "berth_tasks{queue=\"build\",state=\"ready\"} 0",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("some/where"), "paths are no labels");
    server.stop().await;
}

#[tokio::test]
async fn a_host_header_with_a_scheme_is_taken() {
    let server = TestServer::start(&[]).await;
    let address = server.address();
    let host = format!("http://{address}");
    let answer =
        raw(address, &format!("GET /v2/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
            .await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(answer.contains(&format!("realm=\"http://{address}/auth/token\"")), "{answer}");
    let rpc = raw(
        address,
        &format!("GET /?Action=GetInstance HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
    )
    .await;
    assert!(rpc.contains("\"RequestId\""), "{rpc}");
    server.stop().await;
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_the_servers_own() {
    let server = TestServer::start(&[]).await;
    let answer = client()
        .get(server.url("/healthz"))
        .header("x-request-id", "forged")
        .send()
        .await
        .expect("answer");
    let id = answer.headers()["x-request-id"].to_str().expect("text");
    assert_eq!(id.len(), 36);
    assert_ne!(id, "forged");
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_sends_no_head_is_let_go() {
    let server = TestServer::start(&[("limits.header_timeout", "300ms")]).await;
    for start in ["", "G", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", "PRI * HT"] {
        let mut stream = TcpStream::connect(server.address()).await.expect("connection");
        stream.write_all(start.as_bytes()).await.expect("written");
        let begun = Instant::now();
        let mut rest = Vec::new();
        let closed = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        // What was sent and never read makes the end a reset.
        drop(closed.expect("the server closes"));
        assert!(begun.elapsed() < Duration::from_secs(5), "`{start}`");
    }
    server.stop().await;
}

#[tokio::test]
async fn more_connections_than_allowed_wait() {
    let server = TestServer::start(&[("limits.connections", "1")]).await;
    let held = TcpStream::connect(server.address()).await.expect("connection");
    // The held connection has to be accepted first.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let request = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut second = TcpStream::connect(server.address()).await.expect("connection");
    second.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    let early = timeout(Duration::from_millis(300), second.read_to_string(&mut answer)).await;
    assert!(early.is_err(), "answered although the only slot is taken: {answer}");
    drop(held);
    let read = timeout(PATIENCE, second.read_to_string(&mut answer)).await;
    read.expect("answered").expect("read");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn http2_is_spoken_with_and_without_tls() {
    let plain = TestServer::start(&[]).await;
    let prior = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build();
    let answer = prior.expect("client").get(plain.url("/healthz")).send().await.expect("answer");
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    plain.stop().await;

    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let certificate = fixtures.join("localhost.pem");
    let key = fixtures.join("localhost.key");
    let server = TestServer::start(&[
        ("server.tls_cert", &certificate.display().to_string()),
        ("server.tls_key", &key.display().to_string()),
    ])
    .await;
    assert!(server.server.endpoint().starts_with("https://127.0.0.1:"));
    let pem = std::fs::read(certificate).expect("certificate");
    let trusted = reqwest::Certificate::from_pem(&pem).expect("certificate");
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([trusted]);
    let client = client.build().expect("client");
    let answer = client.get(server.url("/v2/")).send().await.expect("answer");
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    let challenge = answer.headers()["www-authenticate"].to_str().expect("text");
    assert!(challenge.contains("realm=\"https://127.0.0.1:"), "{challenge}");
    server.stop().await;
}

#[tokio::test]
async fn forwarding_headers_are_believed_only_when_the_operator_says_so() {
    for (trust, realm) in [
        ("false", "realm=\"http://127.0.0.1:"),
        ("true", "realm=\"https://hub.example.com/auth/token\""),
    ] {
        let server = TestServer::start(&[("server.trust_proxy", trust)]).await;
        let answer = client()
            .get(server.url("/v2/"))
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-host", "hub.example.com")
            .send()
            .await
            .expect("answer");
        let challenge = answer.headers()["www-authenticate"].to_str().expect("text");
        assert!(challenge.contains(realm), "{trust}: {challenge}");
        server.stop().await;
    }
}

#[tokio::test]
async fn a_running_upload_ends_before_the_server_does() {
    let server = TestServer::start(&[]).await;
    let (id, secret) = server.login();
    let http = client();
    let start = http
        .post(server.url("/v2/team/app/blobs/uploads/"))
        .basic_auth(&id, Some(&secret))
        .send()
        .await
        .expect("answer");
    assert_eq!(start.status(), 202);
    let upload = start.headers()["location"].to_str().expect("text").to_owned();
    let (sender, receiver) = tokio::sync::mpsc::channel::<std::io::Result<Vec<u8>>>(1);
    let body = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    let patch = http
        .patch(server.url(&upload))
        .basic_auth(&id, Some(&secret))
        .body(reqwest::Body::wrap_stream(body))
        .send();
    let patch = tokio::spawn(patch);
    sender.send(Ok(b"first ".to_vec())).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.server.shutdown();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let address = server.address();
    assert!(TcpStream::connect(address).await.is_err(), "still accepting");
    sender.send(Ok(b"second".to_vec())).await.expect("sent");
    drop(sender);
    let answer = timeout(PATIENCE, patch).await.expect("in time").expect("task").expect("answer");
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.headers()["range"], "0-11");
    timeout(PATIENCE, server.server.wait()).await.expect("the server ends");
}

#[tokio::test]
async fn a_request_without_end_does_not_hold_the_server() {
    let server = TestServer::start(&[("server.shutdown_timeout", "300ms")]).await;
    let (id, secret) = server.login();
    let request = client().post(server.url("/v2/team/app/blobs/uploads/"));
    let start = request.basic_auth(&id, Some(&secret)).send().await.expect("answer");
    let upload = start.headers()["location"].to_str().expect("text").to_owned();
    let stream = futures::stream::pending::<std::io::Result<Vec<u8>>>();
    let patch = client()
        .patch(server.url(&upload))
        .basic_auth(&id, Some(&secret))
        .body(reqwest::Body::wrap_stream(stream))
        .send();
    let patch = tokio::spawn(patch);
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.stop().await;
    assert!(timeout(PATIENCE, patch).await.expect("in time").expect("task").is_err());
}
