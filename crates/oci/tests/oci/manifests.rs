//! Manifests by tag and by digest.

use berth_oci::client::ClientError;
use berth_oci::media_type;
use berth_types::{Digest, Reference};

use crate::upstream::{client, descriptor, manifest_of, reply, serve};

#[tokio::test]
async fn manifests_are_verified_and_bounded() {
    let document = manifest_of(&descriptor(b"{}"));
    let digest = Digest::sha256(document.as_bytes());
    let sent = document.clone();
    let (address, _) = serve(move |seen, _| {
        if seen.request.contains("large") {
            return reply(200, &[], vec![b' '; 5 * 1024 * 1024]);
        }
        let lie = Digest::sha256(b"something else").to_string();
        let name = if seen.request.contains("lie") {
            lie
        } else {
            Digest::sha256(sent.as_bytes()).to_string()
        };
        let headers =
            [("content-type", media_type::OCI_MANIFEST), ("docker-content-digest", &name)];
        reply(200, &headers, sent.clone())
    })
    .await;
    let client = client(&address);
    let reference = |text: &str| text.parse::<Reference>().expect(text);
    let fetched = client.manifest("a/b", &reference("v1")).await.expect("manifest");
    assert_eq!((&fetched.digest, &fetched.body[..]), (&digest, document.as_bytes()));
    let head = client.head_manifest("a/b", &reference("v1")).await.expect("head");
    assert_eq!(head.digest, Some(digest.clone()));
    assert!(client.manifest("a/b", &Reference::Digest(digest)).await.is_ok());
    let other = Reference::Digest(Digest::sha256(b"other"));
    for (reference, what) in [(other, "other"), (reference("lie"), "lie")] {
        let error = client.manifest("a/b", &reference).await;
        assert!(matches!(error, Err(ClientError::Digest { .. })), "{what}");
    }
    let error = client.manifest("a/b", &reference("large")).await;
    assert!(matches!(error, Err(ClientError::TooLarge { .. })), "{error:?}");
}
