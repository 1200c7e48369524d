//! Writing to a registry.

use berth_oci::client::{BlobSource, ClientError};
use berth_oci::media_type;
use berth_types::Digest;
use bytes::Bytes;

use crate::upstream::{client, descriptor, manifest_of, reply, serve};

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
}

#[tokio::test]
async fn a_location_on_another_host_fails() {
    let digest = Digest::sha256(b"bytes");
    let (address, _) = serve(|seen, _| match seen.request.split(' ').next() {
        Some("HEAD") => reply(404, &[], ""),
        _ => reply(202, &[("location", "http://127.0.0.2/steal")], ""),
    })
    .await;
    let source = BlobSource::Bytes(Bytes::from_static(b"bytes"));
    let error = client(&address).push_blob("a/b", &digest, source).await;
    assert!(matches!(error, Err(ClientError::Redirect { .. })), "{error:?}");
}
