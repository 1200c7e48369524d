//! regctl: artifacts that belong to images, and copies that take them along.

use crate::{BOTH_WAYS, start};
use berth_testkit::image::MediaTypes;
use berth_testkit::registry::{Registry, sha256};
use berth_tests::guide::{Content, Reader};
use serde_json::Value;

const ARTIFACT: &str = "application/vnd.example.report";

#[test]
fn as_the_guide_says() {
    for way in BOTH_WAYS {
        let (server, image) = start(way, MediaTypes::Oci);
        let reader = Reader::new(&server);
        let said = reader.follow("regctl", "regctl");
        assert!(said.lines().any(|line| line == "all tests passed"), "{said}");
        let registry = server.registry();
        let source = referrers(&registry, "team/regctl", &image.digest);
        assert_eq!(source, referrers(&registry, "other/regctl", &image.digest), "copied along");
        let [referrer] = source.as_slice() else { panic!("one referrer: {source:?}") };
        assert_eq!(referrer["artifactType"], ARTIFACT);
        let listed: Value = serde_json::from_slice(&reader.read("referrers.json")).expect("JSON");
        assert_eq!(listed["descriptors"][0]["digest"], referrer["digest"], "{listed}");
        // The artifact itself, in the repository that it was copied to.
        let digest = referrer["digest"].as_str().expect("a digest");
        let artifact = registry.manifest("other/regctl", digest).expect("the artifact").json();
        assert_eq!(artifact["subject"]["digest"], image.digest);
        let report = artifact["layers"][0]["digest"].as_str().expect("a digest");
        assert_eq!(
            registry.blob("other/regctl", report).expect("the report"),
            reader.read("report")
        );

        assert_eq!(registry.tags("other/regctl"), ["v2"], "only one tag was deleted");
        assert_eq!(
            Content::of(&registry, "other/regctl", "v2"),
            Content::of(&registry, "team/app", "v1")
        );
        let program = std::fs::read(berth_testkit::required_path("BERTH_TEST_CRANE"));
        assert_eq!(sha256(&reader.read("crane")), sha256(&program.expect("crane")));
    }
}

fn referrers(registry: &Registry, repository: &str, digest: &str) -> Vec<Value> {
    let path = format!("/v2/{repository}/referrers/{digest}");
    let answer = registry.request("GET", &path).send().expect("an answer");
    let index: Value = serde_json::from_str(&answer.text().expect("a body")).expect("JSON");
    index["manifests"].as_array().cloned().unwrap_or_default()
}
