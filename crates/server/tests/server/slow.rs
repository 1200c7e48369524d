//! Clients that let the server wait.

use std::time::Duration;

use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::harness::{PATIENCE, TestServer, client, client_from, refused};
use crate::sizes::Pusher;

/// Reads until the server closes, however it does.
async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    drop(timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server closes"));
    answer
}

#[tokio::test]
async fn clients_that_drip_their_heads_hold_nobody_up() {
    let server = TestServer::start(&[
        ("limits.connections", "40"),
        ("limits.address_connections", "32"),
        ("limits.header_timeout", "1s"),
    ])
    .await;
    let before = refused(&server, "address_connections").await;
    let address = server.address();
    let mut dripping = Vec::new();
    for _ in 0..40 {
        dripping.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("connection");
            let (mut reader, mut writer) = stream.split();
            let drip = async {
                let head = b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ".iter();
                for byte in head.chain(std::iter::repeat(&b'x')) {
                    if writer.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                    sleep(Duration::from_millis(20)).await;
                }
            };
            let mut rest = Vec::new();
            tokio::select! {
                () = drip => {}
                _ = reader.read_to_end(&mut rest) => {}
            }
        }));
    }
    // Whoever comes from elsewhere is answered meanwhile.
    for _ in 0..10 {
        let answer = client_from("127.0.0.2").get(server.url("/healthz")).send().await;
        assert_eq!(answer.expect("answer").status(), 200);
        sleep(Duration::from_millis(50)).await;
    }
    for task in dripping {
        timeout(PATIENCE, task).await.expect("every one is closed").expect("task");
    }
    assert!(refused(&server, "address_connections").await > before);
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_stalls_or_drips_leaves_its_upload_as_it_stands() {
    let server = TestServer::start(&[("limits.body_timeout", "1s")]).await;
    let pusher = Pusher::new(&server);
    for (drips, reason) in [(false, "body_silent"), (true, "body_slow")] {
        let before = refused(&server, reason).await;
        let upload = pusher.upload("team/app").await;
        let mut stream = TcpStream::connect(server.address()).await.expect("connection");
        let head = format!("{}Content-Length: 100000\r\n\r\n", pusher.head("PATCH", &upload));
        stream.write_all(head.as_bytes()).await.expect("written");
        stream.write_all(b"0123456789").await.expect("written");
        let (mut reader, mut writer) = stream.split();
        let drip = async {
            loop {
                sleep(Duration::from_millis(100)).await;
                if drips && writer.write_all(b"x").await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let mut answer = String::new();
        let read = async {
            drop(timeout(PATIENCE, reader.read_to_string(&mut answer)).await.expect("in time"));
        };
        tokio::select! {
            () = read => {}
            () = drip => {}
        }
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("\"code\":\"BLOB_UPLOAD_INVALID\""), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(refused(&server, reason).await > before);
        // The upload goes on from what came.
        let received = pusher.received(&upload).await;
        let last: usize = received.trim_start_matches("0-").parse().expect("a range");
        assert!((9..100).contains(&last), "{received}");
        let content: Vec<u8> = b"0123456789".iter().chain(&vec![b'x'; last - 9]).copied().collect();
        let digest = berth_types::Digest::sha256(&[&content[..], b"end"].concat());
        let range = format!("{}-{}", last + 1, last + 3);
        let put = pusher
            .request(Method::PUT, &format!("{upload}?digest={digest}"))
            .header("content-range", range)
            .body("end");
        assert_eq!(put.send().await.expect("answer").status(), 201);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_slow_manifest_and_a_slow_form_are_given_up() {
    let server = TestServer::start(&[("limits.body_timeout", "300ms")]).await;
    let pusher = Pusher::new(&server);
    for (head, word) in [
        (pusher.head("PUT", "/v2/team/app/manifests/v1"), "\"errors\""),
        ("POST /auth/token HTTP/1.1\r\nHost: x\r\n".to_owned(), "\"errors\""),
        ("POST / HTTP/1.1\r\nHost: x\r\n".to_owned(), "\"RequestId\""),
    ] {
        let mut stream = TcpStream::connect(server.address()).await.expect("connection");
        let request = format!("{head}Content-Length: 10\r\n\r\n12345");
        stream.write_all(request.as_bytes()).await.expect("written");
        let answer = String::from_utf8_lossy(&closed(&mut stream).await).into_owned();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains(word), "{answer}");
    }
    server.stop().await;
}

/// Pushes a blob that fits no socket buffer; its path.
pub(crate) async fn large_blob(pusher: &Pusher<'_>) -> (String, usize) {
    let content = vec![7u8; 48 << 20];
    let digest = berth_types::Digest::sha256(&content);
    let size = content.len();
    let path = format!("/v2/team/app/blobs/uploads/?digest={digest}");
    let answer = pusher.request(Method::POST, &path).body(content).send().await.expect("answer");
    assert_eq!(answer.status(), 201);
    (format!("/v2/team/app/blobs/{digest}"), size)
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let server = TestServer::start(&[("limits.write_timeout", "1s")]).await;
    let pusher = Pusher::new(&server);
    let (blob, size) = large_blob(&pusher).await;
    let before = refused(&server, "answer_not_read").await;
    let socket = TcpSocket::new_v4().expect("socket");
    socket.set_recv_buffer_size(64 << 10).expect("set");
    let mut stalled = socket.connect(server.address()).await.expect("connection");
    let request = format!("{}\r\n", pusher.head("GET", &blob));
    stalled.write_all(request.as_bytes()).await.expect("written");
    let cut = async {
        while refused(&server, "answer_not_read").await == before {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, cut).await.expect("cut");
    assert!(closed(&mut stalled).await.len() < size);
    // Whoever reads, slowly or not, gets all of it.
    let mut answer = pusher.request(Method::GET, &blob).send().await.expect("answer");
    let mut read = 0;
    while let Some(chunk) = answer.chunk().await.expect("read") {
        if read == 0 {
            sleep(Duration::from_millis(700)).await;
        }
        read += chunk.len();
    }
    assert_eq!(read, size);
    server.stop().await;
}

#[tokio::test]
async fn an_answer_arrives_although_its_request_is_still_being_sent() {
    let server = TestServer::start(&[("limits.max_blob", "1KiB")]).await;
    let pusher = Pusher::new(&server);
    for _ in 0..20 {
        let path = "/v2/team/app/blobs/uploads/?digest=sha256:\
            2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let post = pusher.request(Method::POST, path).body(vec![0u8; 8 << 20]);
        assert_eq!(post.send().await.expect("an answer, no reset").status(), 413);
    }
    let stranger = client().put(server.url("/v2/team/app/manifests/v1")).body(vec![0u8; 8 << 20]);
    assert_eq!(stranger.send().await.expect("an answer, no reset").status(), 401);
    server.stop().await;
}
