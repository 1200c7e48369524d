//! cosign: signatures and bills of materials, under tags and as referrers.

use crate::{BOTH_WAYS, start};
use berth_testkit::image::MediaTypes;
use berth_testkit::registry::sha256;
use berth_tests::guide::Reader;
use serde_json::Value;

#[test]
fn as_the_guide_says() {
    for way in BOTH_WAYS {
        let (server, image) = start(way, MediaTypes::Oci);
        let reader = Reader::new(&server);
        // Both verifications print what was signed; a failure of either ends the commands.
        let verified = reader.follow("cosign", "cosign");
        let claims: Vec<Value> =
            verified.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!(claims.len(), 2, "{verified}");
        for claim in &claims {
            let signed = &claim[0]["critical"]["image"]["docker-manifest-digest"];
            assert_eq!(*signed, image.digest, "{verified}");
        }
        let registry = server.registry();
        let under = image.digest.replace(':', "-");
        let tags = ["att", "sbom", "sig"].map(|what| format!("{under}.{what}"));
        assert_eq!(registry.tags("team/app"), [&tags[..], &["v1".to_owned()]].concat());

        // The second time nothing was tagged: signature and bill are referrers of the image.
        let path = format!("/v2/team/app/referrers/{}", image.digest);
        let answer = registry.request("GET", &path).send().expect("an answer");
        let index: Value = serde_json::from_str(&answer.text().expect("a body")).expect("JSON");
        let referrers = index["manifests"].as_array().expect("a list");
        let mut types: Vec<&str> = referrers
            .iter()
            .map(|referrer| referrer["artifactType"].as_str().unwrap_or_default())
            .collect();
        types.sort_unstable();
        let expected = ["sbom", "sig"]
            .map(|what| format!("application/vnd.dev.cosign.artifact.{what}.v1+json"));
        assert_eq!(types, expected);
        let tree = String::from_utf8_lossy(&reader.read("tree")).into_owned();
        let bill = sha256(&reader.read("sbom.json"));
        for referrer in referrers {
            let digest = referrer["digest"].as_str().expect("a digest");
            assert!(tree.contains(digest), "{digest} in {tree}");
            let artifact = registry.manifest("team/app", digest).expect("the referrer").json();
            assert_eq!(artifact["subject"]["digest"], image.digest);
            let layer = artifact["layers"][0]["digest"].as_str().expect("a digest");
            assert!(registry.blob("team/app", layer).is_some());
            if referrer["artifactType"].as_str().is_some_and(|text| text.contains("sbom")) {
                assert_eq!(layer, bill);
            }
        }
    }
}

#[test]
fn an_image_that_nobody_signed_is_not_verified() {
    let (server, _) = start(BOTH_WAYS[0], MediaTypes::Oci);
    let reader = Reader::new(&server);
    let verify = "cd \"$WORK\"; export COSIGN_PASSWORD=x; cosign generate-key-pair; \
                  cosign login --username \"$KEY\" --password \"$SECRET\" \"$HOST\"; \
                  ! cosign verify --key cosign.pub --insecure-ignore-tlog=true \"$HOST/team/app:v1\" 2>&1";
    let said = reader.run("sh", &["-euc", verify]);
    assert!(said.contains("no signatures found"), "{said}");
}
