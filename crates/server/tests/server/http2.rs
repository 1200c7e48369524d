//! HTTP/2 spoken badly.

use std::time::Duration;

use bytes::Bytes;
use h2::client::{SendRequest, handshake};
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::harness::{PATIENCE, TestServer, client, refused};
use crate::sizes::Pusher;
use crate::slow::large_blob;

/// A connection, and the task that ends when the server ends it.
async fn connect(server: &TestServer) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(server.address()).await.expect("connection");
    let (sender, connection) = handshake(stream).await.expect("handshake");
    (sender, tokio::spawn(connection))
}

fn get(server: &TestServer, path: &str) -> Request<()> {
    Request::get(server.url(path)).body(()).expect("request")
}

async fn alive(server: &TestServer) {
    let answer = client().get(server.url("/healthz")).send().await.expect("answer");
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_large_header_list_is_refused() {
    let server = TestServer::start(&[("limits.header_size", "4KiB")]).await;
    for (fields, size) in [(1, 5 << 10), (1, 200 << 10), (150, 1), (3000, 100)] {
        let (mut sender, connection) = connect(&server).await;
        let mut request = get(&server, "/v2/");
        for number in 0..fields {
            let name: http::HeaderName = format!("x-{number}").parse().expect("name");
            let value = "x".repeat(size).parse().expect("value");
            request.headers_mut().insert(name, value);
        }
        // Refused by a status, or with the whole connection.
        let answer = match sender.send_request(request, true) {
            Ok((answer, _)) => timeout(PATIENCE, answer).await.expect("answered"),
            Err(error) => Err(error),
        };
        if let Ok(answer) = answer {
            assert_eq!(answer.status(), 431, "{fields} fields of {size}");
        }
        connection.abort();
        alive(&server).await;
    }
    let (mut sender, connection) = connect(&server).await;
    let (answer, _) = sender.send_request(get(&server, "/v2/"), true).expect("sent");
    assert_eq!(timeout(PATIENCE, answer).await.expect("answered").expect("answer").status(), 401);
    connection.abort();
    server.stop().await;
}

#[tokio::test]
async fn requests_that_are_taken_back_at_once_end_the_connection() {
    let server = TestServer::start(&[]).await;
    let (mut sender, connection) = connect(&server).await;
    let flood = async {
        loop {
            match sender.clone().ready().await {
                Ok(ready) => sender = ready,
                Err(_) => return,
            }
            for _ in 0..50 {
                let Ok((answer, mut stream)) = sender.send_request(get(&server, "/v2/"), false)
                else {
                    break;
                };
                stream.send_reset(h2::Reason::CANCEL);
                drop(answer);
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, flood).await.expect("the server ends the connection");
    drop(connection.await);
    alive(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_ended_and_a_busy_one_is_not() {
    let server =
        TestServer::start(&[("limits.header_timeout", "500ms"), ("limits.write_timeout", "500ms")])
            .await;
    let (idle, idle_connection) = connect(&server).await;
    let (busy, busy_connection) = connect(&server).await;
    let working = async {
        let mut busy = busy;
        while !idle_connection.is_finished() {
            busy = busy.ready().await.expect("still open");
            let (answer, _) = busy.send_request(get(&server, "/healthz"), true).expect("sent");
            assert_eq!(answer.await.expect("answer").status(), 200);
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, working).await.expect("the idle connection is ended");
    drop(idle);
    drop(timeout(PATIENCE, busy_connection).await.expect("ended by the client"));
    // A head that never ends is no request.
    let mut stream = TcpStream::connect(server.address()).await.expect("connection");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("written");
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.expect("settings");
    stream.write_all(&[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82]).await.expect("part of a header");
    let mut rest = Vec::new();
    drop(timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the server closes"));
    server.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_not_taken_ends_the_connection() {
    let server =
        TestServer::start(&[("limits.header_timeout", "500ms"), ("limits.write_timeout", "500ms")])
            .await;
    let pusher = Pusher::new(&server);
    let (blob, _) = large_blob(&pusher).await;
    let before = refused(&server, "answer_not_read").await;
    let (mut sender, connection) = connect(&server).await;
    let mut request = get(&server, &blob);
    let login = pusher.request(reqwest::Method::GET, "/").build().expect("request");
    let basic = login.headers()["authorization"].clone();
    request.headers_mut().insert(http::header::AUTHORIZATION, basic);
    let (answer, _) = sender.send_request(request, true).expect("sent");
    // The connection is read from, but its window is never opened again.
    let answer = timeout(PATIENCE, answer).await.expect("answered").expect("answer");
    assert_eq!(answer.status(), 200);
    drop(timeout(PATIENCE, connection).await.expect("the server ends the connection"));
    assert!(refused(&server, "answer_not_read").await > before);
    drop(answer);
    server.stop().await;
}
