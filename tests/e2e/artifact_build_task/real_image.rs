//! A real image is pushed with skopeo, an accelerated one is built from it, and both SDKs are told
//! the truth about that.

use berth_testkit::image::{Compression, Image, Layout};
use berth_testkit::server::TestServer;
use berth_tests::{build, sdk, skopeo, source};

#[test]
fn the_sdks_follow_a_build_from_pending_to_success() {
    // One worker, so that a build ahead keeps the one that is watched waiting.
    let server = TestServer::start_with("[build]\nworkers = 1\n");
    let (layout, image) = source::real_image(&server.scratch().join("real"));
    let mut ahead = Layout::create(&server.scratch().join("ahead"));
    let random = || source::random_layer(128, Compression::None);
    let _ = ahead.add_tagged("ahead", &Image::new(vec![random(), random(), random()]));

    // The image is here before there is a rule, and its second push moves nothing but its manifest.
    skopeo::push(&server, layout.folder(), "real", "team/real:early");
    skopeo::push(&server, ahead.folder(), "ahead", "team/ahead:early");
    let [repository, repository_ahead] =
        ["real", "ahead"].map(|name| build::repository_id(&server, "team", name));
    assert!(build::tasks(&server, &repository).is_empty(), "nothing is built without a rule");
    for id in [&repository, &repository_ahead] {
        let _ = build::rule(&server, id);
    }
    let watcher = sdk::Waiting::start(&server, "follow_build.py");
    skopeo::push(&server, ahead.folder(), "ahead", "team/ahead:v1");
    skopeo::push(&server, layout.folder(), "real", "team/real:v1");
    let task = build::task_of_tag(&server, &repository, "v1");
    let seen = watcher.finish(&format!("{task} {repository}"));

    assert_eq!(seen["seen"], serde_json::json!(["PENDING", "BUILDING", "SUCCESS"]), "{seen}");
    let told = &seen["task"];
    assert_eq!(told["ArtifactBuildType"], "IMAGE_TO_ACCELERATED_IMAGE");
    assert_eq!(told["BuildTaskId"], task.as_str());
    assert!(task.starts_with("i2a-"), "{task}");
    for (side, version) in [("SourceArtifact", "v1"), ("TargetArtifact", "v1_accelerated")] {
        assert_eq!(told[side]["RepoId"], repository.as_str(), "{told}");
        assert_eq!(told[side]["Version"], version, "{told}");
        assert_eq!(told[side]["ArtifactType"], "IMAGE", "{told}");
        assert_eq!(told[side]["LayerCount"], 2, "{told}");
    }
    // Sizes are those of the manifests: layers and configuration.
    let registry = server.registry();
    for (side, tag) in [("SourceArtifact", "v1"), ("TargetArtifact", "v1_accelerated")] {
        let manifest = registry.manifest("team/real", tag).expect("the tag is there").json();
        let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
        let sizes = layers.iter().chain([&manifest["config"]]).map(|blob| blob["size"].as_u64());
        let size: u64 = sizes.map(|size| size.expect("a size")).sum();
        assert_eq!(told[side]["Size"].as_u64(), Some(size), "{side} of {told}");
    }
    assert_eq!(registry.manifest("team/real", "v1").expect("there").digest, image.digest);

    // Times of build tasks are seconds, and these were just now.
    let [begin, end] = ["StartTime", "EndTime"].map(|name| told[name].as_i64().expect("a time"));
    let now = seen["now"].as_f64().expect("a time") as i64;
    assert!(begin <= end && end <= now + 1 && begin > now - 600, "{begin} {end} {now}");

    // The log is numbered from 1 without gaps, and its total counts all of its pages.
    let lines = seen["log"].as_array().expect("a log");
    assert_eq!(seen["log_total"].as_u64(), Some(lines.len() as u64));
    assert!(lines.len() > 3, "more than one page: {lines:?}");
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line["LineNumber"].as_u64(), Some(index as u64 + 1), "{lines:?}");
    }

    let tags = |rows: &serde_json::Value| -> Vec<String> {
        let rows = rows.as_array().cloned().unwrap_or_default();
        let mut tags: Vec<String> =
            rows.iter().filter_map(|row| row["Tag"].as_str().map(str::to_owned)).collect();
        tags.sort();
        tags
    };
    let expected = ["early", "v1", "v1_accelerated", "v1_containerd_accelerated"];
    assert_eq!(tags(&seen["tags"]), expected);

    // The previous SDK, with the other signature, reads the same.
    let old = sdk::json(&server, "read_build_v1.py", &[&task, &repository]);
    for name in
        ["BuildTaskId", "TaskStatus", "StartTime", "EndTime", "SourceArtifact", "TargetArtifact"]
    {
        assert_eq!(
            old["task"][name],
            build::task(&server.api(), &server.credentials().instance_id, &task)[name]
        );
    }
    assert_eq!(tags(&old["tags"]["Images"]).len().max(tags(&old["tags"]).len()), expected.len());

    // The derived tags are images of their own, and nothing builds them again.
    let built = build::tasks(&server, &repository);
    assert_eq!(built.len(), 1, "{built:?}");
}
