//! Manifests by tag and by digest.

use axum::response::Response;
use berth_oci::client::{ClientError, ClientErrorKind};
use berth_oci::media_type;
use berth_types::{Algorithm, Digest, Reference};

use crate::upstream::{Log, client, descriptor, manifest_of, reply, serve};

fn document() -> String {
    manifest_of(&descriptor(b"{}"))
}

fn digest() -> Digest {
    Digest::sha256(document().as_bytes())
}

fn reference(text: &str) -> Reference {
    text.parse().expect(text)
}

/// The document, with that `Docker-Content-Digest`.
fn manifest(named: &str) -> Response {
    let headers = [("content-type", media_type::OCI_MANIFEST), ("docker-content-digest", named)];
    reply(200, &headers, document())
}

#[tokio::test]
async fn a_manifest_comes_with_the_digest_of_its_bytes() {
    let (address, log) = serve(|_, _| manifest(digest().as_str())).await;
    let client = client(&address);
    let fetched = client.manifest("a/b", &reference("v1")).await.expect("manifest");
    assert_eq!((&fetched.digest, &fetched.body[..]), (&digest(), document().as_bytes()));
    assert!(client.manifest("a/b", &Reference::Digest(digest())).await.is_ok());
    let head = client.head_manifest("a/b", &reference("v1")).await.expect("head");
    assert_eq!(head.digest, Some(digest()));
    assert_eq!(log.all().len(), 3);
}

#[tokio::test]
async fn a_tag_is_what_its_bytes_are_whatever_the_header_names() {
    let upper = digest().as_str().to_uppercase();
    let foreign = Digest::sha256(b"something else").to_string();
    for named in ["", "sha256:", "md5:d41d8cd98f00b204e9800998ecf8427e", &upper, &foreign] {
        let sent = named.to_owned();
        let (address, log) = serve(move |_, _| manifest(&sent)).await;
        let fetched = client(&address).manifest("a/b", &reference("v1")).await;
        assert_eq!(fetched.map(|fetched| fetched.digest), Ok(digest()), "{named}");
        assert_eq!(log.all().len(), 1, "{named}");
    }
}

#[tokio::test]
async fn a_digest_of_another_algorithm_stays_the_name_of_the_manifest() {
    let sha512 = Digest::of(Algorithm::Sha512, document().as_bytes());
    let sent = sha512.to_string();
    let (address, _) = serve(move |_, _| manifest(&sent)).await;
    let fetched = client(&address).manifest("a/b", &reference("v1")).await;
    assert_eq!(fetched.map(|fetched| fetched.digest), Ok(sha512));
}

#[tokio::test]
async fn bytes_of_another_digest_are_asked_for_once_more() {
    let (address, log) =
        serve(
            |_, number| {
                if number == 0 { reply(200, &[], "{ }") } else { manifest(digest().as_str()) }
            },
        )
        .await;
    assert!(client(&address).manifest("a/b", &Reference::Digest(digest())).await.is_ok());
    assert_eq!(log.all().len(), 2);
}

#[tokio::test]
async fn bytes_of_another_digest_fail() {
    let (address, log) = serve(|_, _| manifest(digest().as_str())).await;
    let other = Reference::Digest(Digest::sha256(b"other"));
    let error = client(&address).manifest("a/b", &other).await;
    assert!(matches!(error, Err(ClientError::Digest { .. })), "{error:?}");
    assert_eq!(log.all().len(), 2);
}

#[tokio::test]
async fn a_manifest_is_bounded() {
    let (address, _) = serve(|_, _| reply(200, &[], vec![b' '; 5 * 1024 * 1024])).await;
    let error = client(&address).manifest("a/b", &reference("large")).await;
    assert!(matches!(error, Err(ClientError::TooLarge { .. })), "{error:?}");
}

/// An upstream whose HEAD answers with a status and, where one is given, a digest.
async fn with_head(status: u16, named: Option<String>) -> (String, Log) {
    serve(move |seen, _| {
        if !seen.request.starts_with("HEAD") {
            return manifest(digest().as_str());
        }
        let named = named.as_deref().map(|named| ("docker-content-digest", named));
        reply(status, &named.into_iter().collect::<Vec<_>>(), "")
    })
    .await
}

#[tokio::test]
async fn a_head_that_is_refused_leaves_the_question_to_a_get() {
    for status in [400, 401, 403, 404, 405, 500, 501] {
        let (address, log) = with_head(status, None).await;
        let client = client(&address);
        let head = client.head_manifest("a/b", &reference("v1")).await;
        assert_eq!(head.map(|head| head.digest), Ok(None), "{status}");
        assert_eq!(log.all().len(), 1, "{status}");
        assert!(client.manifest("a/b", &reference("v1")).await.is_ok(), "{status}");
    }
}

#[tokio::test]
async fn a_head_without_a_usable_digest_leaves_the_question_to_a_get() {
    let upper = digest().as_str().to_uppercase();
    for named in [None, Some(""), Some(upper.as_str()), Some("sha256:1"), Some("\"x\"")] {
        let (address, _) = with_head(200, named.map(str::to_owned)).await;
        let head = client(&address).head_manifest("a/b", &reference("v1")).await;
        assert_eq!(head.map(|head| head.digest), Ok(None), "{named:?}");
    }
}

#[tokio::test]
async fn a_limit_on_heads_is_a_limit() {
    let (address, _) = serve(|_, _| reply(429, &[("retry-after", "3600")], "")).await;
    let error = client(&address).head_manifest("a/b", &reference("v1")).await;
    assert!(error.is_err_and(|error| error.kind() == ClientErrorKind::RateLimited));
}
