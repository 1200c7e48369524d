//! Blobs, and how they break.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use berth_oci::client::{ClientError, ClientErrorKind};
use bytes::Bytes;
use futures::{StreamExt as _, stream};

use crate::upstream::{client, descriptor, read, reply, serve};

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
