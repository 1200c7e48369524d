use axum::body::Body;
use berth_types::Digest;
use http::Method;
use serde_json::json;

use crate::harness::{MANIFEST, TestRegistry, image};

#[tokio::test]
async fn a_manifest_comes_back_byte_for_byte() {
    let registry = TestRegistry::start().await;
    let config = registry.push_blob("team/app", b"{}").await;
    let layer = registry.push_blob("team/app", b"layer").await;
    // Spaces that no serialiser would write.
    let text = String::from_utf8(image(&config, 2, &layer, 5, None)).expect("text");
    let body = text.replacen(':', " :  ", 3);
    let digest = Digest::sha256(body.as_bytes());
    let put = registry
        .call(Method::PUT, "/v2/team/app/manifests/v1", &[("content-type", MANIFEST)], body.clone())
        .await
        .expect(201);
    assert_eq!(put.header("docker-content-digest"), digest.as_str());
    for reference in ["v1", digest.as_str()] {
        let path = format!("/v2/team/app/manifests/{reference}");
        let got = registry.get(&path).await.expect(200);
        assert_eq!(got.body, body);
        assert_eq!(got.header("content-type"), MANIFEST);
        assert_eq!(got.header("docker-content-digest"), digest.as_str());
        let head = registry.head(&path).await.expect(200);
        assert_eq!(head.header("content-length"), body.len().to_string());
        assert!(head.body.is_empty());
        let known = [("if-none-match", got.header("etag"))];
        registry.call(Method::GET, &path, &known, Body::empty()).await.expect(304);
    }
}

#[tokio::test]
async fn manifests_that_cannot_be_right_are_refused() {
    let registry = TestRegistry::start().await;
    let config = registry.push_blob("team/app", b"{}").await;
    let layer = registry.push_blob("team/app", b"layer").await;
    let body = image(&config, 2, &layer, 5, None);
    let put = |path: &'static str, kind: &'static str, body: Vec<u8>| {
        let registry = &registry;
        async move { registry.call(Method::PUT, path, &[("content-type", kind)], body).await.error() }
    };
    let tag = "/v2/team/app/manifests/v1";
    let invalid = |status| (status, "MANIFEST_INVALID".to_owned());
    assert_eq!(put(tag, MANIFEST, b"{".to_vec()).await, invalid(400));
    let index = "application/vnd.oci.image.index.v1+json";
    assert_eq!(put(tag, index, body.clone()).await, invalid(400));
    assert_eq!(put(tag, MANIFEST, vec![b' '; (4 << 20) + 1]).await, invalid(413));
    let both = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "manifests": [], "layers": [],
        "config": { "mediaType": "x", "digest": config, "size": 2 },
    });
    assert_eq!(put(tag, MANIFEST, both.to_string().into_bytes()).await, invalid(400));
    let absent = Digest::sha256(b"absent");
    let dangling = image(&config, 2, &absent, 6, None);
    assert_eq!(put(tag, MANIFEST, dangling).await, (400, "MANIFEST_BLOB_UNKNOWN".to_owned()));
    let other = "/v2/team/app/manifests/sha256:\
        2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(put(other, MANIFEST, body).await, (400, "DIGEST_INVALID".to_owned()));
    let unknown = registry.get(tag).await;
    assert_eq!(unknown.error(), (404, "MANIFEST_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn tags_are_listed_in_pages() {
    let registry = TestRegistry::start().await;
    for tag in ["b", "a", "C", "d10", "d9"] {
        registry.push_image("team/app", tag).await;
    }
    let all = registry.get("/v2/team/app/tags/list").await.expect(200);
    assert_eq!(all.json(), json!({ "name": "team/app", "tags": ["C", "a", "b", "d10", "d9"] }));
    assert!(!all.headers.contains_key("link"));
    let mut next = "/v2/team/app/tags/list?n=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = registry.get(&next).await.expect(200);
        let tags = page.json()["tags"].as_array().expect("tags").clone();
        assert!(tags.len() <= 2);
        seen.extend(tags);
        let Some(link) = page.headers.get("link") else { break };
        let link = link.to_str().expect("text");
        let (address, relation) = link.split_once(';').expect("relation");
        assert_eq!(relation.trim(), "rel=\"next\"");
        next = address.trim_matches(['<', '>']).to_owned();
    }
    assert_eq!(json!(seen), json!(["C", "a", "b", "d10", "d9"]));
    let end = registry.get("/v2/team/app/tags/list?last=z&n=5").await.expect(200);
    assert_eq!(end.json()["tags"], json!([]));
    assert_eq!(
        registry.get("/v2/team/app/tags/list?n=0").await.expect(200).json()["tags"],
        json!([])
    );
    registry.get("/v2/team/app/tags/list?n=x").await.expect(400);
    let unknown = registry.get("/v2/team/none/tags/list").await;
    assert_eq!(unknown.error(), (404, "NAME_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn tags_and_manifests_are_deleted() {
    let registry = TestRegistry::start().await;
    let digest = registry.push_image("team/app", "v1").await;
    registry.push_image("team/app", "v2").await;
    let delete = |reference: String| {
        let registry = &registry;
        async move {
            let path = format!("/v2/team/app/manifests/{reference}");
            registry.call(Method::DELETE, &path, &[], Body::empty()).await
        }
    };
    delete("v1".to_owned()).await.expect(202);
    registry.get("/v2/team/app/manifests/v1").await.expect(404);
    registry.get(&format!("/v2/team/app/manifests/{digest}")).await.expect(200);
    delete(digest.to_string()).await.expect(202);
    registry.get("/v2/team/app/manifests/v2").await.expect(404);
    assert_eq!(delete(digest.to_string()).await.error(), (404, "MANIFEST_UNKNOWN".to_owned()));
    assert_eq!(delete("v1".to_owned()).await.error(), (404, "MANIFEST_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn referrers_name_their_subject() {
    let registry = TestRegistry::start().await;
    let config = registry.push_blob("team/app", b"{}").await;
    let layer = registry.push_blob("team/app", b"layer").await;
    // The subject need not exist.
    let subject = Digest::sha256(b"some manifest");
    let path = format!("/v2/team/app/referrers/{subject}");
    let none = registry.get(&path).await.expect(200);
    assert_eq!(none.header("content-type"), "application/vnd.oci.image.index.v1+json");
    assert_eq!(none.json()["manifests"], json!([]));
    let descriptor = json!({ "mediaType": MANIFEST, "digest": subject, "size": 13 });
    let body = image(&config, 2, &layer, 5, Some(descriptor));
    let digest = Digest::sha256(&body);
    let put = registry
        .call(
            Method::PUT,
            &format!("/v2/team/app/manifests/{digest}"),
            &[("content-type", MANIFEST)],
            body.clone(),
        )
        .await
        .expect(201);
    assert_eq!(put.header("oci-subject"), subject.as_str());
    let index = registry.get(&path).await.expect(200).json();
    let found = &index["manifests"][0];
    assert_eq!(found["digest"], json!(digest));
    assert_eq!(found["size"], json!(body.len()));
    let kind = "application/vnd.oci.image.config.v1+json";
    assert_eq!(found["artifactType"], json!(kind));
    let filtered = registry.get(&format!("{path}?artifactType=other/type")).await.expect(200);
    assert_eq!(filtered.json()["manifests"], json!([]));
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
}

#[tokio::test]
async fn a_push_by_digest_may_carry_tags() {
    let registry = TestRegistry::start().await;
    let config = registry.push_blob("team/app", b"{}").await;
    let layer = registry.push_blob("team/app", b"layer").await;
    let body = image(&config, 2, &layer, 5, None);
    let path = format!("/v2/team/app/manifests/{}?tag=one&tag=two", Digest::sha256(&body));
    let put =
        registry.call(Method::PUT, &path, &[("content-type", MANIFEST)], body).await.expect(201);
    let tags: Vec<_> = put.headers.get_all("oci-tag").iter().collect();
    assert_eq!(tags, ["one", "two"]);
    registry.get("/v2/team/app/manifests/one").await.expect(200);
    registry.get("/v2/team/app/manifests/two").await.expect(200);
}
