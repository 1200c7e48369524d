//! A rule that takes one platform of three: what arrives is a sparse index, and everything that is
//! done with images is done with it.

use berth_testkit::image::{Image, Layout, MediaTypes};
use berth_testkit::process::run;
use berth_testkit::server::{TestServer, berth};
use berth_testkit::upstream::DockerRegistry;
use berth_tests::subscription::{self, Rule, provider};
use berth_tests::{build, maintenance};

#[test]
fn a_sparse_index_is_built_verified_collected_around_and_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut layout = Layout::create(folder.path());
    let platforms = ["amd64", "arm64", "s390x"].map(|architecture| {
        let mut image = Image::tiny(architecture);
        image.architecture = architecture.to_owned();
        (architecture, layout.add(&image))
    });
    let index = layout.add_index(MediaTypes::Oci, &platforms);
    let upstream = DockerRegistry::start();
    layout.push(&index, &upstream.registry(), "vendor/tool", "v1").expect("a push");

    let server = TestServer::start_with(&provider("QUAY", &upstream.host()));
    let repository = build::repository(&server, "mirror", "tool");
    let _ = build::rule(&server, &repository);
    let rule = |platforms: &'static [&'static str]| Rule {
        target: ("mirror", "tool"),
        domain: None,
        source: ("vendor", "tool"),
        tag_regexp: "v1",
        tag_count: "1",
        platforms,
    };
    let narrow = subscription::rule(&server, &rule(&["linux/amd64"]));
    let told = subscription::wait(&server, &subscription::start(&server, &narrow));
    assert_eq!(told["TaskResult"], "SUCCESS", "{told}");
    let registry = server.registry();
    let here = registry.manifest("mirror/tool", "v1").expect("the tag is there");
    assert_eq!(here.digest, index.digest, "pins and signatures of the index hold");
    let is_here = |position: usize| {
        let (_, child): &(&str, berth_testkit::image::Descriptor) = &platforms[position];
        registry.manifest("mirror/tool", &child.digest).is_some()
    };
    assert_eq!([is_here(0), is_here(1), is_here(2)], [true, false, false]);

    // The build takes the child that is here, and says which it does not.
    let task = build::task_of_tag(&server, &repository, "v1");
    build::wait_success(&server, &task);
    let log = build::log(&server, &task).join("\n");
    for (_, absent) in &platforms[1..] {
        assert!(log.contains(&absent.digest), "{log}");
    }
    let built = registry.manifest("mirror/tool", "v1_accelerated").expect("built").json();
    assert_eq!(built["manifests"].as_array().map(Vec::len), Some(1), "{built}");
    let verify = || {
        let image = |tag: &str| format!("{}/mirror/tool:{tag}", server.url());
        let credentials = server.credentials();
        run(berth()
            .args(["verify", "--source", &image("v1"), "--target", &image("v1_accelerated")])
            .env("BERTH_ENDPOINT", server.url())
            .env("BERTH_ACCESS_KEY_ID", &credentials.access_key_id)
            .env("BERTH_ACCESS_KEY_SECRET", &credentials.access_key_secret))
    };
    assert!(verify().contains("equal to the source"));

    // A wider rule brings what is missing, although the tag has not moved.
    let wide = subscription::rule(&server, &rule(&["linux/amd64", "linux/arm64"]));
    let told = subscription::wait(&server, &subscription::start(&server, &wide));
    assert_eq!(told["TaskResult"], "SUCCESS", "{told}");
    assert_eq!([is_here(0), is_here(1), is_here(2)], [true, true, false]);
    let tasks = build::tasks(&server, &repository);
    let again = tasks.iter().filter_map(|one| one["BuildTaskId"].as_str()).find(|id| *id != task);
    build::wait_success(&server, again.expect("a build of what came"));
    let built = registry.manifest("mirror/tool", "v1_accelerated").expect("built").json();
    assert_eq!(built["manifests"].as_array().map(Vec::len), Some(2), "{built}");
    assert!(verify().contains("equal to the source"));

    let collected = maintenance::run(&server, "GC");
    assert_eq!(collected["TaskStatus"], "SUCCESS", "{collected}");
    assert_eq!([is_here(0), is_here(1), is_here(2)], [true, true, false]);
    let path = format!("/v2/mirror/tool/manifests/{}", index.digest);
    let deleted = registry.request("DELETE", &path).send().expect("an answer");
    assert_eq!(deleted.status().as_u16(), 202);
    assert!(registry.manifest("mirror/tool", "v1").is_none());
}
