//! Mounts, named and found: what a token reaches.

use axum::body::Body;
use berth_metadata::tables::instance::{self, Instance};
use berth_types::{Ctx, Digest, Identity, RepoName};
use bytes::Bytes;
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

/// Every way into a repository with nothing but the digest of a blob that another one has.
#[tokio::test]
async fn a_digest_alone_opens_no_private_blob() {
    let registry = TestRegistry::start().await;
    let digest = registry.push_blob("team/private", b"the keys to everything").await;
    let token = token(&registry, "repository:team/target:pull,push").await;
    let path = format!("/v2/team/target/blobs/{digest}");
    let call = |method: Method, path: String, body: Body| {
        let (registry, token) = (&registry, &token);
        async move {
            let headers = [("content-type", crate::harness::MANIFEST)];
            registry.call_as(Some(token), method, &path, &headers, body).await
        }
    };
    // Not by a mount of whatever source.
    for from in ["", "&from=team/private", "&from=team/target", "&from=team/nowhere"] {
        let answer = mount(&registry, &token, &format!("{digest}{from}")).await;
        assert!([202, 401].contains(&answer.status.as_u16()), "{from}: {answer}");
    }
    // Not by an upload that ends with its digest and other bytes, or none.
    for content in [&b""[..], b"other bytes"] {
        let begun = call(Method::POST, TARGET.to_owned(), Body::empty()).await.expect(202);
        let location = begun.header("location");
        let separator = if location.contains('?') { '&' } else { '?' };
        let end = format!("{location}{separator}digest={digest}");
        let ended = call(Method::PUT, end, Body::from(content)).await;
        assert_eq!(ended.error(), (400, "DIGEST_INVALID".to_owned()));
    }
    // Not by a manifest that names it as config or layer.
    let empty = registry.push_blob("team/target", b"{}").await;
    for (config, layer) in [(&digest, &empty), (&empty, &digest)] {
        let size = |one: &Digest| if *one == empty { 2 } else { 22 };
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": crate::harness::MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config.as_str(), "size": size(config),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": layer.as_str(), "size": size(layer),
            }],
        });
        let body = Body::from(manifest.to_string());
        let pushed = call(Method::PUT, "/v2/team/target/manifests/v1".to_owned(), body).await;
        assert_eq!(pushed.error().1, "MANIFEST_BLOB_UNKNOWN", "{pushed}");
    }
    for method in [Method::GET, Method::HEAD] {
        call(method, path.clone(), Body::empty()).await.expect(404);
    }
}

/// Whoever may do everything in two instances still links nothing from one into the other.
#[tokio::test]
async fn no_blob_is_mounted_from_another_instance() {
    let registry = TestRegistry::start().await;
    let content = b"of the other instance";
    let digest = Digest::sha256(content);
    let mut session = registry.db.begin().await.expect("begin");
    let own = instance::find(&mut session, &registry.credentials.instance_id).await;
    let other = Instance {
        instance_id: "cri-1111111111111111".to_owned(),
        name: "other".to_owned(),
        ..own.expect("a read").expect("the instance")
    };
    instance::insert(&mut session, &other).await.expect("insert");
    session.commit().await.expect("commit");
    let ctx = Ctx::new(Identity::root(&other.account_id, "key"), "REQUEST".to_owned());
    let name: RepoName = "team/source".parse().expect("a name");
    let repositories = registry.artifacts.repositories();
    let source = repositories.resolve_for_push(&ctx, &other.instance_id, &name).await;
    let source = source.expect("source");
    let body = futures::stream::iter([Ok::<_, String>(Bytes::from_static(content))]);
    let blobs = registry.artifacts.blobs();
    blobs.put(&ctx, &source, &digest, None, body).await.expect("put");

    let basic = registry.basic();
    for query in [digest.to_string(), format!("{digest}&from=team/source")] {
        let begun = mount(&registry, &basic, &query).await.expect(202);
        assert!(begun.header("location").starts_with(TARGET), "{query}");
    }
    registry.head(&format!("/v2/team/target/blobs/{digest}")).await.expect(404);
}
