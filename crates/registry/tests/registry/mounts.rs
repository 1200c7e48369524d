//! Mounts, named and found: what a token reaches.

use axum::body::Body;
use berth_types::Digest;
use http::Method;

use crate::harness::{Answer, TestRegistry};

const TARGET: &str = "/v2/team/target/blobs/uploads/";

async fn token(registry: &TestRegistry, scope: &str) -> String {
    let path = format!("/auth/token?scope={}", scope.replace(' ', "%20"));
    let answer = registry.get(&path).await.expect(200);
    format!("Bearer {}", answer.json()["token"].as_str().expect("token"))
}

async fn mount(registry: &TestRegistry, authorization: &str, query: &str) -> Answer {
    let path = format!("{TARGET}?mount={query}");
    registry.call_as(Some(authorization), Method::POST, &path, &[], Body::empty()).await
}

#[tokio::test]
async fn a_source_is_found_for_who_may_read_it() {
    let registry = TestRegistry::start().await;
    let digest = registry.push_blob("team/source", b"content").await;
    let basic = registry.basic();
    let found = mount(&registry, &basic, digest.as_str()).await.expect(201);
    assert_eq!(found.header("location"), format!("/v2/team/target/blobs/{digest}"));
    assert_eq!(found.header("docker-content-digest"), digest.as_str());
    let path = format!("/v2/team/target/blobs/{digest}");
    assert_eq!(&registry.get(&path).await.expect(200).body[..], b"content");
    let nowhere = Digest::sha256(b"nowhere");
    let begun = mount(&registry, &basic, nowhere.as_str()).await.expect(202);
    assert!(begun.header("location").starts_with(TARGET));
}

#[tokio::test]
async fn a_token_reaches_no_source_that_it_was_not_asked_for() {
    let registry = TestRegistry::start().await;
    let there = registry.push_blob("team/source", b"content").await;
    let target = "repository:team/target:pull,push";
    let narrow = token(&registry, target).await;
    for digest in [there.clone(), Digest::sha256(b"nowhere")] {
        let from = format!("{digest}&from=team/source");
        for (query, scope) in [
            (from.as_str(), "repository:team/source:pull"),
            (digest.as_str(), "registry:blobs:mount"),
        ] {
            let refused = mount(&registry, &narrow, query).await;
            assert_eq!(refused.error(), (401, "UNAUTHORIZED".to_owned()));
            let challenge = refused.header("www-authenticate");
            assert!(challenge.contains(&format!("scope=\"{target} {scope}\"")), "{challenge}");
            assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
        }
    }
    registry.head(&format!("/v2/team/target/blobs/{there}")).await.expect(404);
    // One token as the challenge says, and the mount is made.
    for scope in ["repository:team/source:pull", "registry:blobs:mount"] {
        let digest = registry.push_blob("team/source", scope.as_bytes()).await;
        let token = token(&registry, &format!("{target} {scope}")).await;
        let from = if scope.starts_with("registry") { "" } else { "&from=team/source" };
        mount(&registry, &token, &format!("{digest}{from}")).await.expect(201);
    }
}

#[tokio::test]
async fn a_token_that_was_refused_the_source_begins_an_upload() {
    let registry = TestRegistry::start().await;
    let digest = registry.push_blob("team/source", b"content").await;
    let scope = "repository:team/target:pull,push repository:team/source:delete";
    let token = token(&registry, scope).await;
    let begun = mount(&registry, &token, &format!("{digest}&from=team/source")).await;
    begun.expect(202);
}
