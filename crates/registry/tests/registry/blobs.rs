use axum::body::Body;
use berth_types::Digest;
use http::Method;

use crate::harness::TestRegistry;

#[tokio::test]
async fn blobs_are_read_whole_and_in_part() {
    let registry = TestRegistry::start().await;
    let content: Vec<u8> = (0..200_000u32).map(|index| (index % 251) as u8).collect();
    let digest = registry.push_blob("team/app", &content).await;
    let path = format!("/v2/team/app/blobs/{digest}");

    let head = registry.head(&path).await.expect(200);
    assert_eq!(head.header("content-length"), "200000");
    assert_eq!(head.header("docker-content-digest"), digest.as_str());
    assert_eq!(head.header("accept-ranges"), "bytes");
    assert!(head.body.is_empty());

    let whole = registry.get(&path).await.expect(200);
    assert!(whole.body == content);
    let etag = whole.header("etag").to_owned();
    assert_eq!(etag, format!("\"{digest}\""));

    let range = |range: &'static str| {
        let (registry, path) = (&registry, path.as_str());
        async move { registry.call(Method::GET, path, &[("range", range)], Body::empty()).await }
    };
    let part = range("bytes=100-299").await.expect(206);
    assert_eq!(part.header("content-range"), "bytes 100-299/200000");
    assert_eq!(part.header("content-length"), "200");
    assert!(part.body == content[100..300]);
    let tail = range("bytes=-10").await.expect(206);
    assert!(tail.body == content[199_990..]);
    let rest = range("bytes=150000-").await.expect(206);
    assert!(rest.body == content[150_000..]);
    let beyond = range("bytes=200000-").await.expect(416);
    assert_eq!(beyond.header("content-range"), "bytes */200000");
    assert_eq!(beyond.error(), (416, "SIZE_INVALID".to_owned()));
    range("bytes=500-0").await.expect(416);
    assert_eq!(range("bytes=0-1,3-4").await.expect(200).body.len(), 200_000);

    let known = [("if-none-match", etag.as_str())];
    let same = registry.call(Method::GET, &path, &known, Body::empty()).await.expect(304);
    assert!(same.body.is_empty());
    let other = [("range", "bytes=0-9"), ("if-range", "\"other\"")];
    registry.call(Method::GET, &path, &other, Body::empty()).await.expect(200);
    let same = [("range", "bytes=0-9"), ("if-range", etag.as_str())];
    registry.call(Method::GET, &path, &same, Body::empty()).await.expect(206);
}

#[tokio::test]
async fn the_empty_blob_is_a_blob() {
    let registry = TestRegistry::start().await;
    let digest = registry.push_blob("team/app", b"").await;
    let path = format!("/v2/team/app/blobs/{digest}");
    assert_eq!(registry.head(&path).await.expect(200).header("content-length"), "0");
    assert!(registry.get(&path).await.expect(200).body.is_empty());
}

#[tokio::test]
async fn a_blob_belongs_to_the_repositories_that_have_it() {
    let registry = TestRegistry::start().await;
    let digest = registry.push_blob("team/app", b"shared").await;
    registry.push_blob("team/other", b"something else").await;
    let elsewhere = format!("/v2/team/other/blobs/{digest}");
    let unknown = registry.get(&elsewhere).await;
    assert_eq!(unknown.error(), (404, "BLOB_UNKNOWN".to_owned()));
    let nowhere = registry.get(&format!("/v2/team/nothing/blobs/{digest}")).await;
    assert_eq!(nowhere.error(), (404, "NAME_UNKNOWN".to_owned()));

    let mount = format!("/v2/team/other/blobs/uploads/?mount={digest}&from=team/app");
    let mounted = registry.call(Method::POST, &mount, &[], Body::empty()).await.expect(201);
    assert_eq!(mounted.header("location"), elsewhere);
    assert_eq!(&registry.get(&elsewhere).await.expect(200).body[..], b"shared");

    // What cannot be mounted is uploaded.
    let absent = Digest::sha256(b"absent");
    for from in ["&from=team/app", "&from=team/nothing", "&from=x", ""] {
        let mount = format!("/v2/team/other/blobs/uploads/?mount={absent}{from}");
        let answer = registry.call(Method::POST, &mount, &[], Body::empty()).await.expect(202);
        assert!(answer.header("location").starts_with("/v2/team/other/blobs/uploads/"));
    }
    let bad = "/v2/team/other/blobs/uploads/?mount=sha256:1&from=team/app";
    let refused = registry.call(Method::POST, bad, &[], Body::empty()).await;
    assert_eq!(refused.error(), (400, "DIGEST_INVALID".to_owned()));
}

#[tokio::test]
async fn a_deleted_blob_is_gone() {
    let registry = TestRegistry::start().await;
    let digest = registry.push_blob("team/app", b"short-lived").await;
    let path = format!("/v2/team/app/blobs/{digest}");
    registry.call(Method::DELETE, &path, &[], Body::empty()).await.expect(202);
    assert_eq!(registry.get(&path).await.error(), (404, "BLOB_UNKNOWN".to_owned()));
    let again = registry.call(Method::DELETE, &path, &[], Body::empty()).await;
    assert_eq!(again.error(), (404, "BLOB_UNKNOWN".to_owned()));
}
