//! Bodies that are too large, or not as long as they say.

use reqwest::{Body, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{PATIENCE, TestServer, client, refused};
use crate::heads::exchange;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST_LIMIT: usize = 4 << 20;

/// A client that is logged in.
pub(crate) struct Pusher<'a> {
    server: &'a TestServer,
    login: (String, String),
    http: reqwest::Client,
}

impl<'a> Pusher<'a> {
    pub(crate) fn new(server: &'a TestServer) -> Self {
        Self { server, login: server.login(), http: client() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let (id, secret) = &self.login;
        self.http.request(method, self.server.url(path)).basic_auth(id, Some(secret))
    }

    /// Begins an upload; its path.
    pub(crate) async fn upload(&self, repository: &str) -> String {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let answer = self.request(Method::POST, &path).send().await.expect("answer");
        assert_eq!(answer.status(), 202);
        answer.headers()["location"].to_str().expect("text").to_owned()
    }

    /// Where an upload stands.
    pub(crate) async fn received(&self, upload: &str) -> String {
        let answer = self.request(Method::GET, upload).send().await.expect("answer");
        assert_eq!(answer.status(), 204);
        answer.headers()["range"].to_str().expect("text").to_owned()
    }

    /// The lines of a request by hand, up to its length.
    pub(crate) fn head(&self, method: &str, path: &str) -> String {
        let request = self.request(Method::GET, "/").build().expect("request");
        let basic = request.headers()["authorization"].to_str().expect("text");
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {basic}\r\n")
    }
}

/// Status, code of the error document, and its message.
pub(crate) async fn error_of(answer: Response) -> (u16, String, String) {
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("text");
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} {text}"));
    let word = |name: &str| body["errors"][0][name].as_str().expect(name).to_owned();
    (status, word("code"), word("message"))
}

/// A body whose length is not announced.
pub(crate) fn chunked(content: &[u8]) -> Body {
    let chunks: Vec<std::io::Result<Vec<u8>>> =
        content.chunks(100_000).map(|chunk| Ok(chunk.to_vec())).collect();
    Body::wrap_stream(futures::stream::iter(chunks))
}

/// An index of exactly so many bytes.
fn index(size: usize) -> Vec<u8> {
    let with = |padding: &str| {
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [],
            "annotations": { "padding": padding } })
        .to_string()
        .into_bytes()
    };
    let empty = with("").len();
    let index = with(&"x".repeat(size - empty));
    assert_eq!(index.len(), size);
    index
}

#[tokio::test]
async fn a_manifest_may_have_four_mebibytes_and_not_a_byte_more() {
    let server = TestServer::start(&[]).await;
    let pusher = Pusher::new(&server);
    let put = async |tag: &str, body: Body| {
        let path = format!("/v2/team/app/manifests/{tag}");
        let request = pusher.request(Method::PUT, &path).header("content-type", INDEX);
        request.body(body).send().await.expect("answer")
    };
    let fits = index(MANIFEST_LIMIT);
    assert_eq!(put("length", fits.clone().into()).await.status(), 201);
    assert_eq!(put("chunked", chunked(&fits)).await.status(), 201);
    for over in [MANIFEST_LIMIT + 1, 3 * MANIFEST_LIMIT] {
        for body in [Body::from(index(over)), chunked(&index(over))] {
            let (status, code, message) = error_of(put("over", body).await).await;
            assert_eq!((status, code.as_str()), (413, "MANIFEST_INVALID"), "{message}");
            assert!(message.contains("4194304"), "{message}");
        }
    }
    assert!(refused(&server, "manifest_size").await >= 4);
    server.stop().await;
}

#[tokio::test]
async fn a_blob_may_have_so_many_bytes_however_they_come() {
    let server = TestServer::start(&[("limits.max_blob", "1MiB")]).await;
    let pusher = Pusher::new(&server);
    let (fits, over) = (vec![1u8; 1 << 20], vec![1u8; (1 << 20) + 1]);
    let digest = |content: &[u8]| berth_types::Digest::sha256(content).to_string();
    let finish = async |content: Vec<u8>, announced: bool| {
        let upload = pusher.upload("team/app").await;
        let path = format!("{upload}?digest={}", digest(&content));
        let body = if announced { Body::from(content) } else { chunked(&content) };
        pusher.request(Method::PUT, &path).body(body).send().await.expect("answer")
    };
    let expect = |error: (u16, String, String)| {
        assert_eq!((error.0, error.1.as_str()), (413, "SIZE_INVALID"), "{}", error.2);
        assert!(error.2.contains("1048576"), "{}", error.2);
    };
    for announced in [true, false] {
        assert_eq!(finish(fits.clone(), announced).await.status(), 201);
        expect(error_of(finish(over.clone(), announced).await).await);
    }
    // In one request, and in pieces that are too much together.
    let path = format!("/v2/team/app/blobs/uploads/?digest={}", digest(&over));
    let post = pusher.request(Method::POST, &path).body(over.clone()).send().await;
    expect(error_of(post.expect("answer")).await);
    let upload = pusher.upload("team/app").await;
    let patch = async |content: Body| {
        pusher.request(Method::PATCH, &upload).body(content).send().await.expect("answer")
    };
    assert_eq!(patch(fits[1..].to_vec().into()).await.status(), 202);
    expect(error_of(patch(vec![1u8; 2].into()).await).await);
    expect(error_of(patch(chunked(&[1u8; 2])).await).await);
    assert_eq!(patch(vec![1u8].into()).await.status(), 202);
    let path = format!("{upload}?digest={}", digest(&fits));
    let end = pusher.request(Method::PUT, &path).send().await.expect("answer");
    assert_eq!(end.status(), 201);
    assert!(refused(&server, "blob_size").await >= 5);
    server.stop().await;
}

/// The body of a request that says one length and has another.
async fn lie(server: &TestServer, head: &str, length: &str, body: &str) -> String {
    exchange(server, format!("{head}{length}\r\nConnection: close\r\n\r\n{body}").as_bytes()).await
}

#[tokio::test]
async fn lengths_that_are_lies_hurt_the_liar_only() {
    let server = TestServer::start(&[]).await;
    let pusher = Pusher::new(&server);
    let upload = pusher.upload("team/app").await;
    let head = pusher.head("PATCH", &upload);
    // Less than announced, then the end of the connection: what came is kept.
    let mut stream = TcpStream::connect(server.address()).await.expect("connection");
    let request = format!("{head}Content-Length: 1000\r\n\r\nonly these");
    stream.write_all(request.as_bytes()).await.expect("written");
    stream.shutdown().await.expect("shut down");
    let mut answer = Vec::new();
    drop(timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server closes"));
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1 5"));
    assert_eq!(pusher.received(&upload).await, "0-9");
    // More than announced: the rest is no part of the body.
    let answer = lie(&server, &head, "Content-Length: 4", "1234and garbage\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    assert_eq!(pusher.received(&upload).await, "0-13");
    // A range that differs from the length.
    let lying = format!("{head}Content-Range: 14-99\r\n");
    let answer = lie(&server, &lying, "Content-Length: 3", "abc").await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(answer.contains("\"errors\""), "{answer}");
    let negative = lie(&server, &head, "Content-Length: -1", "abc").await;
    assert!(negative.starts_with("HTTP/1.1 400 "), "{negative}");
    assert_eq!(pusher.received(&upload).await, "0-13");
    server.stop().await;
}

#[tokio::test]
async fn broken_chunks_are_no_body() {
    let server = TestServer::start(&[]).await;
    let pusher = Pusher::new(&server);
    for broken in [
        "zz\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcdef\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nabc",
        "-1\r\nabc\r\n0\r\n\r\n",
    ] {
        let upload = pusher.upload("team/app").await;
        let head = pusher.head("PATCH", &upload);
        let answer = lie(&server, &head, "Transfer-Encoding: chunked", broken).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{broken:?}: {answer}");
        // It goes on from whatever was good.
        let rest = pusher.request(Method::PATCH, &upload).body("whole").send().await;
        assert_eq!(rest.expect("answer").status(), 202, "{broken:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_before_it_sends() {
    let server = TestServer::start(&[("limits.max_blob", "1MiB")]).await;
    let pusher = Pusher::new(&server);
    let first_line = async |request: String| {
        let mut stream = TcpStream::connect(server.address()).await.expect("connection");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = [0u8; 12];
        timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("answered").expect("read");
        (String::from_utf8_lossy(&answer).into_owned(), stream)
    };
    let expect = "Expect: 100-continue\r\n";
    let manifest = pusher.head("PUT", "/v2/team/app/manifests/v1");
    let (line, _) = first_line(format!("{manifest}{expect}Content-Length: 9000000\r\n\r\n")).await;
    assert_eq!(line, "HTTP/1.1 413");
    let upload = pusher.upload("team/app").await;
    let patch = pusher.head("PATCH", &upload);
    let (line, _) = first_line(format!("{patch}{expect}Content-Length: 9000000\r\n\r\n")).await;
    assert_eq!(line, "HTTP/1.1 413");
    let stranger = format!("PATCH {upload} HTTP/1.1\r\nHost: x\r\n");
    let (line, _) = first_line(format!("{stranger}{expect}Content-Length: 5\r\n\r\n")).await;
    assert_eq!(line, "HTTP/1.1 401");
    let (line, mut stream) =
        first_line(format!("{patch}{expect}Content-Length: 5\r\nConnection: close\r\n\r\n")).await;
    assert_eq!(line, "HTTP/1.1 100");
    stream.write_all(b"abcde").await.expect("written");
    let mut rest = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut rest)).await;
    read.expect("the server closes").expect("read");
    assert!(rest.contains("HTTP/1.1 202 "), "{rest}");
    server.stop().await;
}

#[tokio::test]
async fn a_full_server_says_so_and_stays_healthy() {
    let server = TestServer::start(&[("limits.requests", "2")]).await;
    let pusher = Pusher::new(&server);
    let mut held = Vec::new();
    for _ in 0..2 {
        let upload = pusher.upload("team/app").await;
        let mut stream = TcpStream::connect(server.address()).await.expect("connection");
        let head = format!("{}Content-Length: 5\r\n\r\n", pusher.head("PATCH", &upload));
        stream.write_all(head.as_bytes()).await.expect("written");
        held.push(stream);
    }
    // Both have to be there first.
    let full = async {
        loop {
            let answer = pusher.request(Method::GET, "/v2/").send().await.expect("answer");
            if answer.status() == 503 {
                return answer;
            }
            assert_eq!(answer.status(), 200);
        }
    };
    let answer = timeout(PATIENCE, full).await.expect("the server is full");
    assert_eq!(answer.headers()["retry-after"], "2");
    assert_eq!(error_of(answer).await.1, "UNAVAILABLE");
    let rpc = client().get(server.url("/?Action=ListInstance")).send().await.expect("answer");
    assert_eq!(rpc.status(), 503);
    let rpc: Value = serde_json::from_str(&rpc.text().await.expect("text")).expect("JSON");
    assert_eq!(rpc["Code"], "ServiceUnavailable");
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = client().get(server.url(path)).send().await.expect("answer");
        assert_eq!(answer.status(), 200, "{path}");
    }
    for mut stream in held {
        stream.write_all(b"12345").await.expect("written");
        let mut answer = [0u8; 12];
        timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("answered").expect("read");
        assert_eq!(&answer, b"HTTP/1.1 202");
    }
    let again = async {
        while pusher.request(Method::GET, "/v2/").send().await.expect("answer").status() != 200 {}
    };
    timeout(PATIENCE, again).await.expect("there is room again");
    server.stop().await;
}
