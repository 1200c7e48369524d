use axum::body::Body;
use berth_types::Digest;
use bytes::Bytes;
use http::Method;

use crate::harness::{Answer, TestRegistry};

async fn start(registry: &TestRegistry) -> String {
    let path = "/v2/team/app/blobs/uploads/";
    let answer = registry.call(Method::POST, path, &[], Body::empty()).await.expect(202);
    assert_eq!(answer.header("range"), "0-0");
    let location = answer.header("location").to_owned();
    assert!(location.ends_with(answer.header("docker-upload-uuid")));
    location
}

async fn patch(registry: &TestRegistry, at: &str, range: Option<&str>, body: &[u8]) -> Answer {
    let headers: Vec<_> = range.map(|range| ("content-range", range)).into_iter().collect();
    registry.call(Method::PATCH, at, &headers, body.to_vec()).await
}

#[tokio::test]
async fn a_blob_arrives_in_chunks() {
    let registry = TestRegistry::start().await;
    let upload = start(&registry).await;
    let first = patch(&registry, &upload, Some("0-4"), b"hello").await.expect(202);
    assert_eq!(first.header("range"), "0-4");
    assert_eq!(first.header("location"), upload);
    // Without Content-Range, as docker streams it.
    let second = patch(&registry, &upload, None, b" wide ").await.expect(202);
    assert_eq!(second.header("range"), "0-10");
    let status = registry.get(&upload).await.expect(204);
    assert_eq!(status.header("range"), "0-10");

    let digest = Digest::sha256(b"hello wide world");
    let end = format!("{upload}?digest={digest}");
    let headers = [("content-range", "11-15")];
    let done = registry.call(Method::PUT, &end, &headers, "world").await.expect(201);
    assert_eq!(done.header("location"), format!("/v2/team/app/blobs/{digest}"));
    let blob = registry.get(done.header("location")).await.expect(200);
    assert_eq!(&blob.body[..], b"hello wide world");
    let over = registry.get(&upload).await;
    assert_eq!(over.error(), (404, "BLOB_UPLOAD_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn a_chunk_out_of_order_is_refused_with_the_offset() {
    let registry = TestRegistry::start().await;
    let upload = start(&registry).await;
    patch(&registry, &upload, Some("0-4"), b"hello").await.expect(202);
    let refused = patch(&registry, &upload, Some("7-9"), b"gap").await.expect(416);
    assert_eq!(refused.header("range"), "0-4");
    patch(&registry, &upload, Some("0-4"), b"hello").await.expect(416);
    // Also when the last chunk comes with the PUT.
    let end = format!("{upload}?digest={}", Digest::sha256(b"hello!"));
    let late = [("content-range", "6-6")];
    let refused = registry.call(Method::PUT, &end, &late, "!").await.expect(416);
    assert_eq!(refused.header("range"), "0-4");
    let right = [("content-range", "5-5")];
    registry.call(Method::PUT, &end, &right, "!").await.expect(201);

    let upload = start(&registry).await;
    let wrong = patch(&registry, &upload, Some("zero"), b"x").await;
    assert_eq!(wrong.error(), (400, "BLOB_UPLOAD_INVALID".to_owned()));
    let headers = [("content-range", "0-9"), ("content-length", "1")];
    let wrong = registry.call(Method::PATCH, &upload, &headers, "x").await;
    assert_eq!(wrong.error(), (400, "SIZE_INVALID".to_owned()));
}

#[tokio::test]
async fn bytes_that_do_not_match_their_digest_are_refused() {
    let registry = TestRegistry::start().await;
    let digest = Digest::sha256(b"right");
    let upload = start(&registry).await;
    patch(&registry, &upload, None, b"wrong").await.expect(202);
    let end = format!("{upload}?digest={digest}");
    let refused = registry.call(Method::PUT, &end, &[], Body::empty()).await;
    assert_eq!(refused.error(), (400, "DIGEST_INVALID".to_owned()));
    let single = format!("/v2/team/app/blobs/uploads/?digest={digest}");
    let refused = registry.call(Method::POST, &single, &[], "wrong").await;
    assert_eq!(refused.error(), (400, "DIGEST_INVALID".to_owned()));
    let unknown = registry.get(&format!("/v2/team/app/blobs/{digest}")).await;
    assert_eq!(unknown.error(), (404, "BLOB_UNKNOWN".to_owned()));
    for query in ["", "?digest=sha256:12", "?digest=md5:0"] {
        let upload = start(&registry).await;
        let end = format!("{upload}{query}");
        let refused = registry.call(Method::PUT, &end, &[], "wrong").await;
        assert_eq!(refused.error(), (400, "DIGEST_INVALID".to_owned()));
    }
}

#[tokio::test]
async fn sha512_is_verified_too() {
    let registry = TestRegistry::start().await;
    let digest = Digest::of(berth_types::Algorithm::Sha512, b"long");
    let upload = start(&registry).await;
    patch(&registry, &upload, None, b"lo").await.expect(202);
    let end = format!("{upload}?digest={digest}");
    let done = registry.call(Method::PUT, &end, &[], "ng").await.expect(201);
    assert_eq!(done.header("docker-content-digest"), digest.as_str());
    let blob = registry.get(&format!("/v2/team/app/blobs/{digest}")).await.expect(200);
    assert_eq!(&blob.body[..], b"long");
    let upload = start(&registry).await;
    patch(&registry, &upload, None, b"other").await.expect(202);
    let end = format!("{upload}?digest={digest}");
    let refused = registry.call(Method::PUT, &end, &[], Body::empty()).await;
    assert_eq!(refused.error(), (400, "DIGEST_INVALID".to_owned()));
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_an_upload_to_resume() {
    let registry = TestRegistry::start().await;
    let upload = start(&registry).await;
    let pieces: Vec<std::io::Result<Bytes>> = vec![
        Ok(Bytes::from_static(b"received ")),
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
    ];
    let body = Body::from_stream(futures::stream::iter(pieces));
    let broken = registry.call(Method::PATCH, &upload, &[], body).await;
    assert!(broken.status.is_client_error(), "{broken}");
    let status = registry.get(&upload).await.expect(204);
    assert_eq!(status.header("range"), "0-8");
    patch(&registry, &upload, Some("9-12"), b"rest").await.expect(202);
    let end = format!("{upload}?digest={}", Digest::sha256(b"received rest"));
    registry.call(Method::PUT, &end, &[], Body::empty()).await.expect(201);
}

#[tokio::test]
async fn an_upload_belongs_to_its_repository() {
    let registry = TestRegistry::start().await;
    let upload = start(&registry).await;
    registry.push_blob("team/other", b"x").await;
    let foreign = upload.replace("team/app", "team/other");
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let refused = registry.call(method, &foreign, &[], Body::empty()).await;
        assert_eq!(refused.error(), (404, "BLOB_UPLOAD_UNKNOWN".to_owned()));
    }
    registry.call(Method::DELETE, &upload, &[], Body::empty()).await.expect(204);
    let gone = registry.call(Method::PATCH, &upload, &[], "x").await;
    assert_eq!(gone.error(), (404, "BLOB_UPLOAD_UNKNOWN".to_owned()));
    let strange = registry.get("/v2/team/app/blobs/uploads/%27%20or%201").await;
    assert_eq!(strange.error(), (404, "BLOB_UPLOAD_UNKNOWN".to_owned()));
}
