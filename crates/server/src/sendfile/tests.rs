//! Answers with files over real sockets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use berth_storage::{BlobStore as _, FolderStore};
use bytes::Bytes;
use futures::StreamExt as _;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;

const SIZE: u64 = 3_000_001;
const PATIENCE: Duration = Duration::from_secs(30);

fn content() -> Vec<u8> {
    (0..SIZE).map(|at| (at % 251) as u8).collect()
}

/// A server that answers `/<first>-<end>` with that part of a file, a copy of the answer's account
/// to `sent`, and everything else with a few bytes.
async fn serve(folder: &std::path::Path, sent: mpsc::UnboundedSender<FileBody>) -> SocketAddr {
    let store = FolderStore::open(folder).await.expect("a store");
    let mut partial = store.create().await.expect("a partial object");
    store.append(&mut partial, Bytes::from(content())).await.expect("appended");
    let stored = store.finish(partial).await.expect("stored");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let wire = Wire::new(stream);
            let (slot, store, key, sent) =
                (wire.slot(), store.clone(), stored.key.clone(), sent.clone());
            let service = service_fn(move |request: http::Request<Incoming>| {
                let (slot, store, key, sent) =
                    (slot.clone(), store.clone(), key.clone(), sent.clone());
                async move {
                    let path = request.uri().path().trim_start_matches('/').to_owned();
                    let Some((first, end)) = path.split_once('-') else {
                        let response = Response::new(Body::from(path));
                        return Ok::<_, Infallible>(Outgoing::of(response, &slot));
                    };
                    let range = first.parse().expect("first")..end.parse().expect("end");
                    let stream = store.read(&key, range, None).await.expect("read");
                    let file = FileBody::new(stream.file().expect("a file").clone());
                    sent.send(file.clone()).expect("somebody listens");
                    let mut response = Response::new(Body::from_stream(stream));
                    let length = http::HeaderValue::from(file.range.len());
                    response.headers_mut().insert(http::header::CONTENT_LENGTH, length);
                    response.extensions_mut().insert(file);
                    Ok(Outgoing::of(response, &slot))
                }
            });
            tokio::spawn(async move {
                let mut builder = http1::Builder::new();
                // An error is what some tests want.
                drop(builder.writev(true).serve_connection(TokioIo::new(wire), service).await);
            });
        }
    });
    address
}

/// Asks for all paths at once on one connection.
async fn ask(address: SocketAddr, paths: &[&str]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let mut requests = String::new();
    for (number, path) in paths.iter().enumerate() {
        let close = if number + 1 == paths.len() { "connection: close\r\n" } else { "" };
        requests.push_str(&format!("GET /{path} HTTP/1.1\r\nhost: x\r\n{close}\r\n"));
    }
    stream.write_all(requests.as_bytes()).await.expect("sent");
    stream
}

async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("in time").expect("read");
    answer
}

/// Takes one answer off the front: its body, which must be as long as the head says.
fn body<'a>(answers: &mut &'a [u8]) -> &'a [u8] {
    let end = answers.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let (head, rest) = answers.split_at(end);
    let head = std::str::from_utf8(head).expect("text").to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.expect("a length").parse().expect("a number");
    let (body, rest) = rest.split_at(length);
    *answers = rest;
    body
}

#[tokio::test]
async fn files_and_bytes_take_turns_on_one_connection() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sender, mut sent) = mpsc::unbounded_channel();
    let address = serve(folder.path(), sender).await;
    let paths =
        ["0-3000001", "a", "b", "7-8", "5-5", "2000000-3000001", "1-131073", "9-65545", "c"];
    let answers = read_all(&mut ask(address, &paths).await).await;
    let (mut rest, content) = (answers.as_slice(), content());
    for path in paths {
        let expected = match path.split_once('-') {
            None => path.as_bytes(),
            Some((first, end)) => {
                &content[first.parse().expect("first")..end.parse().expect("end")]
            }
        };
        assert!(body(&mut rest) == expected, "{path}");
    }
    assert!(rest.is_empty());
    let mut accounts = 0;
    while let Ok(file) = sent.try_recv() {
        // What is small went as bytes.
        let expected = if file.range.len() > SMALL { file.range.len() } else { 0 };
        assert_eq!(file.sent(), expected);
        accounts += 1;
    }
    assert_eq!(accounts, 6);
}

#[tokio::test]
async fn a_client_that_stops_reading_holds_up_nobody_and_is_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sender, mut sent) = mpsc::unbounded_channel();
    let address = serve(folder.path(), sender).await;
    // Larger than any socket's buffer together.
    let paths = ["0-3000001"; 12];
    let stuck = ask(address, &paths).await;
    let answer = read_all(&mut ask(address, &["0-3000001"]).await).await;
    assert!(body(&mut answer.as_slice()) == content());
    drop(stuck);
    let whole = async {
        let mut last = sent.recv().await.expect("an account");
        while let Ok(Some(next)) = timeout(Duration::from_millis(200), sent.recv()).await {
            last = next;
        }
        last
    };
    // Ends at all: the connection's task was dropped, and its senders with it.
    timeout(PATIENCE, whole).await.expect("in time");
}

#[tokio::test]
async fn a_file_that_was_cut_breaks_the_answer_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sender, mut sent) = mpsc::unbounded_channel();
    let address = serve(folder.path(), sender).await;
    // Far more than the sockets hold: most of it is still to be sent when the file is cut.
    let mut stream = ask(address, &["0-3000001"; 12]).await;
    let file = sent.recv().await.expect("an account");
    let path = std::fs::read_link(format!("/proc/self/fd/{}", file.range.file().as_raw_fd()));
    let writable = std::fs::OpenOptions::new().write(true).open(path.expect("a path"));
    writable.expect("the file").set_len(100_000).expect("cut");
    let mut answers = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut answers)).await.expect("in time");
    assert!(end.is_err() || answers.len() < 12 * 3_000_001, "{} bytes", answers.len());
    // Others are served on.
    assert_eq!(body(&mut read_all(&mut ask(address, &["a"]).await).await.as_slice()), b"a");
}

#[tokio::test]
async fn no_file_is_sent_by_anything_but_a_wire() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FolderStore::open(folder.path()).await.expect("a store");
    let mut partial = store.create().await.expect("a partial object");
    store.append(&mut partial, Bytes::from(content())).await.expect("appended");
    let stored = store.finish(partial).await.expect("stored");
    let stream = store.read(&stored.key, 2..100_002, None).await.expect("read");
    let file = FileBody::new(stream.file().expect("a file").clone());
    let mut response = Response::new(Body::from_stream(stream));
    response.extensions_mut().insert(file);
    let slot = Slot::default();
    let mut body = Outgoing::of(response, &slot).into_body();
    assert_eq!(body.size_hint().exact(), Some(100_000));
    let frame = futures::stream::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
    let frame = frame.boxed_local().next().await.expect("a frame").expect("no error");
    let piece = frame.into_data().expect("data");
    assert_eq!((piece.remaining(), piece.chunk().len()), (100_000, 0));
    let mut slices = [IoSlice::new(b"x")];
    assert_eq!(piece.chunks_vectored(&mut slices), 1);
    assert!(slices[0].is_empty());
    assert_eq!(slot.take().expect("offered").start(), 2);
    assert!(slot.take().is_none());
}
