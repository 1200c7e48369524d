//! The converted form of a private layer is for those who have the layer (ADR 16).

use berth_testkit::image::{Image, Layout};
use berth_testkit::server::TestServer;
use berth_tests::build;

/// A manifest may name layers without having them, where their type lets the bytes be elsewhere.
const ELSEWHERE: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";

#[test]
fn a_converted_layer_is_not_given_to_who_only_names_its_source() {
    let server = TestServer::start();
    let private = build::repository(&server, "secret", "app");
    let open = build::repository(&server, "open", "app");
    let mut layout = Layout::create(&server.scratch().join("image"));
    let image = layout.add_tagged("v1", &Image::tiny("the keys to everything"));
    let registry = server.registry();
    layout.push(&image, &registry, "secret/app", "v1").expect("a push");
    build::wait_success(&server, &build::create_task(&server, &private, "v1"));

    let mut manifest: serde_json::Value =
        serde_json::from_slice(&layout.blob(&image.digest)).expect("JSON");
    let config = manifest["config"]["digest"].as_str().expect("a config").to_owned();
    registry.push_blob("open/app", &layout.blob(&config)).expect("the config");
    manifest["layers"][0]["mediaType"] = ELSEWHERE.into();
    let layer = manifest["layers"][0]["digest"].as_str().expect("a layer").to_owned();
    let manifest = manifest.to_string();
    registry
        .push_manifest("open/app", "v1", &image.media_type, manifest.as_bytes())
        .expect("its layer may be elsewhere");
    assert!(registry.blob("open/app", &layer).is_none());

    let asked = server.api().try_call(
        "CreateArtifactBuildTask",
        &[("InstanceId", &server.credentials().instance_id), ("RepoId", &open), ("Tag", "v1")],
    );
    // Refused at once or in the end, but not built.
    let asked = asked.expect("an answer").body;
    if let Some(task) = asked["BuildTaskId"].as_str().filter(|task| !task.is_empty()) {
        let ended = build::wait(&server, task);
        assert_eq!(ended["TaskStatus"], "FAILED", "{ended}");
    }
    assert_eq!(registry.tags("open/app"), ["v1"]);
}
