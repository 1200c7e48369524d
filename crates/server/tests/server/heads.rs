//! Request heads that are too large, too many, or no request at all.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{PATIENCE, TestServer, client, raw, refused};

/// Sends bytes, reads until the server closes; a reset counts as closed.
pub(crate) async fn exchange(server: &TestServer, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).await.expect("connection");
    let (mut reader, mut writer) = stream.split();
    let mut answer = Vec::new();
    let write = async {
        // The server may close before everything is written.
        drop(writer.write_all(bytes).await);
    };
    let read = async {
        drop(timeout(PATIENCE, reader.read_to_end(&mut answer)).await.expect("the server closes"));
    };
    tokio::join!(write, read);
    String::from_utf8_lossy(&answer).into_owned()
}

async fn alive(server: &TestServer) {
    let answer = client().get(server.url("/healthz")).send().await.expect("answer");
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_large_header_is_refused_in_the_words_of_its_protocol() {
    let server = TestServer::start(&[("limits.header_size", "4KiB")]).await;
    let padding = "x".repeat(5 << 10);
    let head = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-Large: {padding}\r\n\r\n");
    let before = refused(&server, "header_size").await;
    let answer = exchange(&server, head("/v2/team/app/tags/list").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(answer.contains("{\"errors\":[{\"code\":\"UNSUPPORTED\",\"message\":\""), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    let answer = exchange(&server, head("/?Action=ListInstance").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(answer.contains("\"Code\":\"RequestHeaderTooLarge\""), "{answer}");
    assert!(refused(&server, "header_size").await >= before + 2);
    // What fits is answered.
    let fitting = padding.split_at(3 << 10).0;
    let head = format!(
        "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Large: {fitting}\r\n\r\n"
    );
    assert!(exchange(&server, head.as_bytes()).await.starts_with("HTTP/1.1 200 "));
    server.stop().await;
}

#[tokio::test]
async fn a_huge_header_is_not_even_read() {
    let server = TestServer::start(&[]).await;
    for size in [100 << 10, 300 << 10, 2 << 20] {
        let padding = "x".repeat(size);
        let head = format!("GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Huge: {padding}\r\n\r\n");
        let answer = exchange(&server, head.as_bytes()).await;
        // Without an answer when the reset overtook it.
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{size}: {answer}");
    }
    alive(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn many_headers_are_refused() {
    let server = TestServer::start(&[]).await;
    let fields =
        |count: usize| (0..count).map(|number| format!("X-{number}: y\r\n")).collect::<String>();
    let head = |count| {
        format!("GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n", fields(count))
    };
    let answer = exchange(&server, head(98).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    for count in [99, 1000] {
        let answer = exchange(&server, head(count).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{count}: {answer}");
    }
    alive(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_long_address_is_refused() {
    let server = TestServer::start(&[("limits.uri_length", "1KiB")]).await;
    let long = "a".repeat(2 << 10);
    for (path, word) in [
        (format!("/v2/team/{long}/tags/list"), "\"code\":\"UNSUPPORTED\""),
        (format!("/v2/team/app/tags/list?last={long}"), "\"code\":\"UNSUPPORTED\""),
        (format!("/auth/token?scope={long}"), "\"code\":\"UNSUPPORTED\""),
        (format!("/?Action={long}"), "\"Code\":\"RequestUriTooLong\""),
    ] {
        let answer =
            exchange(&server, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 414 "), "{answer}");
        assert!(answer.contains(word), "{answer}");
    }
    // Longer than any parser takes.
    let huge = "a".repeat(100 << 10);
    let request = format!("GET /v2/{huge} HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = exchange(&server, request.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    alive(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn garbage_ends_its_own_connection_alone() {
    let server = TestServer::start(&[]).await;
    let before = refused(&server, "bad_request").await;
    let get = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = exchange(&server, format!("{get}\0\u{1}garbage\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("HTTP/1.1 400 "), "{answer}");
    for garbage in [
        "\r\n\r\n\r\n\u{16}\u{3}\u{1}",
        "GET /v2/ HTTP/9.9\r\nHost: x\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "PUT /v2/a/b/manifests/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        "GET  /v2/\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ] {
        let answer = exchange(&server, garbage.as_bytes()).await;
        let turned_away = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(turned_away, "{garbage:?}: {answer}");
    }
    assert!(refused(&server, "bad_request").await > before);
    alive(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = TestServer::start(&[]).await;
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let last = "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let requests = format!("{}{}{}{last}", one("/healthz"), one("/v2/"), one("/nowhere"));
    let answer = raw(server.address(), &requests).await;
    let status: Vec<&str> =
        answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]).collect();
    assert_eq!(status, ["200", "401", "404", "200"], "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn limits_without_sense_are_no_configuration() {
    for (key, value) in [
        ("limits.header_timeout", "0s"),
        ("limits.header_size", "1"),
        ("limits.header_size", "1GiB"),
        ("limits.uri_length", "10"),
        ("limits.proxies", "everywhere"),
    ] {
        let layers = berth_server::Layers::new().with_flag(key, value);
        let error = berth_server::Config::load(&layers).expect_err("refused").to_string();
        assert!(error.contains(key), "{key}: {error}");
    }
    // A server with every limit switched off starts.
    let off = [
        ("limits.address_connections", "0"),
        ("limits.body_timeout", "0"),
        ("limits.write_timeout", "0"),
        ("limits.minimum_rate", "0"),
        ("limits.requests", "0"),
        ("limits.max_blob", "0"),
        ("limits.failed_logins", "0"),
    ];
    let server = TestServer::start(&off).await;
    alive(&server).await;
    server.stop().await;
}
