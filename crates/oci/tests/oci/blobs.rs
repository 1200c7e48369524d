//! Blobs, and how they break.

use std::io::Write as _;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use berth_oci::client::{ClientError, ClientErrorKind, RegistryClient};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{StreamExt as _, stream};

use crate::upstream::{client, config, descriptor, read, reply, serve};

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
async fn blobs_of_another_size_than_their_descriptors_fail() {
    let (address, _) = serve(|_, _| reply(200, &[], "0123456789")).await;
    let client = client(&address);
    let mut blob = descriptor(b"0123456789");
    blob.size = 5;
    assert!(read(&client, &blob).await.is_err_and(|error| error.to_string().contains("10 bytes")));
}

#[tokio::test]
async fn blobs_that_break_off_again_and_again_fail() {
    let (address, log) = serve(|_, _| broken(200, &[], b"0123".to_vec(), 10)).await;
    let error = read(&client(&address), &descriptor(b"0123456789")).await;
    assert!(error.as_ref().is_err_and(ClientError::is_transient), "{error:?}");
    assert!(log.all().len() >= 4);
}

#[tokio::test]
async fn blobs_that_are_gone_are_not_found() {
    let blob = descriptor(b"0123456789");
    let (address, _) = serve(|_, _| {
        let body = r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#;
        reply(404, &[], body)
    })
    .await;
    let error = read(&client(&address), &blob).await.expect_err("gone");
    assert_eq!(error.kind(), ClientErrorKind::NotFound);
    assert!(error.to_string().starts_with(&format!("blob {} not found at source", blob.digest)));
}

#[tokio::test]
async fn a_blob_that_is_refused_once_is_asked_for_once_more() {
    for status in [403, 404] {
        let (address, log) = serve(move |_, number| match number {
            0 => reply(status, &[], ""),
            _ => reply(200, &[], "0123456789"),
        })
        .await;
        let got = read(&client(&address), &descriptor(b"0123456789")).await;
        assert_eq!(got.as_deref(), Ok(&b"0123456789"[..]), "{status}");
        assert_eq!(log.all().len(), 2);
        let (address, log) = serve(move |_, _| reply(status, &[], "")).await;
        assert!(read(&client(&address), &descriptor(b"0123456789")).await.is_err());
        assert_eq!(log.all().len(), 2, "{status}");
    }
}

#[tokio::test]
async fn a_range_that_is_answered_wrongly_begins_again() {
    let part = || broken(200, &[], b"0123".to_vec(), 10);
    for wrong in [(416, "bytes */10"), (206, "bytes 0-9/10"), (206, "")] {
        let (address, log) = serve(move |seen, number| match (number, &seen.range) {
            (0, _) => part(),
            (_, Some(_)) => reply(wrong.0, &[("content-range", wrong.1)], "0123456789"),
            (_, None) => reply(200, &[], "0123456789"),
        })
        .await;
        let got = read(&client(&address), &descriptor(b"0123456789")).await;
        assert_eq!(got.as_deref(), Ok(&b"0123456789"[..]), "{wrong:?}");
        let asked: Vec<_> = log.all().into_iter().map(|seen| seen.range.is_some()).collect();
        assert_eq!(asked, [false, true, false], "{wrong:?}");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

#[tokio::test]
async fn answers_that_come_compressed_are_inflated() {
    let (address, _) = serve(|seen, _| {
        let body =
            if seen.request.contains("tags/list") { "{\"tags\":[\"v1\"]}" } else { "0123456789" };
        reply(200, &[("content-encoding", "gzip")], gzip(body.as_bytes()))
    })
    .await;
    let client = client(&address);
    assert_eq!(client.tags("a/b").await.map(|tags| tags.concat()), Ok("v1".to_owned()));
    let got = read(&client, &descriptor(b"0123456789")).await;
    assert_eq!(got.as_deref(), Ok(&b"0123456789"[..]));
    let short = descriptor(b"0123");
    assert!(read(&client, &short).await.is_err_and(|error| error.to_string().contains("4 bytes")));
}

#[tokio::test]
async fn a_compressed_blob_that_breaks_is_taken_up_from_its_beginning() {
    let layer: Vec<u8> =
        (0..50_000_u32).flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let blob = descriptor(&layer);
    let sent = gzip(&layer);
    let (address, _) = serve(move |_, number| {
        let headers = [("content-encoding", "gzip")];
        if number == 0 {
            let half = sent.get(..sent.len() / 2).expect("half").to_vec();
            return broken(200, &headers, half, sent.len());
        }
        reply(200, &headers, sent.clone())
    })
    .await;
    assert_eq!(read(&client(&address), &blob).await.map(|got| got == layer), Ok(true));
}

#[tokio::test]
async fn a_layer_that_is_itself_labelled_as_compressed_stays_as_it_is() {
    let layer = gzip(b"a layer is a gzip file");
    let sent = layer.clone();
    let (address, _) =
        serve(move |_, _| reply(200, &[("content-encoding", "gzip")], sent.clone())).await;
    assert_eq!(read(&client(&address), &descriptor(&layer)).await, Ok(layer));
}

#[tokio::test]
async fn an_encoding_that_nobody_asked_for_fails() {
    let (address, _) = serve(|_, _| reply(200, &[("content-encoding", "br")], "0123456789")).await;
    let error = read(&client(&address), &descriptor(b"0123456789")).await.expect_err("brotli");
    assert!(error.to_string().contains("encoding `br`"), "{error}");
}

#[tokio::test]
async fn a_blob_that_trickles_ends_after_one_window() {
    let (address, log) = serve(|_, _| {
        let bytes = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        });
        reply(200, &[("content-length", "400000")], Body::from_stream(bytes))
    })
    .await;
    let mut config = config(&address);
    config.bounds.rate_window = Duration::from_millis(400);
    let client = RegistryClient::new(config).expect("client");
    let mut blob = descriptor(b"x");
    blob.size = 400_000;
    let start = Instant::now();
    let error = read(&client, &blob).await.expect_err("a trickle");
    assert!(error.is_transient() && error.to_string().contains("upstream.minimum_rate"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(log.all().len(), 1, "it is not taken up again");
}

#[tokio::test]
async fn a_source_that_gives_a_byte_a_connection_is_given_up() {
    let layer = vec![7; 1000];
    let (address, log) = serve(|seen, _| {
        let start = seen.range.as_deref().and_then(|range| {
            range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok()
        });
        let start = start.unwrap_or(0);
        let range = format!("bytes {start}-999/1000");
        let status = if start == 0 { 200 } else { 206 };
        broken(status, &[("content-range", &range)], vec![7], 1000 - start)
    })
    .await;
    let error = read(&client(&address), &descriptor(&layer)).await.expect_err("given up");
    assert!(error.is_transient(), "{error}");
    assert_eq!(log.all().len(), 4, "one try and three more");
}
