//! A rule brings tags in from another registry, tells the truth about each, and what arrives is built.

use berth_testkit::image::{Image, Layout, MediaTypes};
use berth_testkit::server::TestServer;
use berth_testkit::upstream::DockerRegistry;
use berth_tests::subscription::{self, provider};
use berth_tests::{build, sdk};

/// Twelve tags: nine releases, the newest of them for two platforms, and three that no rule wants.
struct Upstream {
    registry: DockerRegistry,
    layout: Layout,
    _folder: tempfile::TempDir,
}

impl Upstream {
    fn start() -> Upstream {
        let folder = tempfile::tempdir().expect("a folder");
        let mut layout = Layout::create(folder.path());
        let registry = DockerRegistry::start();
        for number in 1..=8 {
            let image = Image::tiny(&format!("release 1.{number}"));
            layout.add_tagged(&format!("v1.{number}.0"), &image);
        }
        for tag in ["latest", "edge", "nightly"] {
            layout.add_tagged(tag, &Image::tiny(tag));
        }
        let platforms = ["amd64", "arm64", "s390x"].map(|architecture| {
            let mut image = Image::tiny(architecture);
            image.architecture = architecture.to_owned();
            (architecture, layout.add(&image))
        });
        // Two of three platforms are subscribed to elsewhere; here the index has just those.
        let index = layout.add_index(MediaTypes::Oci, &platforms[..2]);
        layout.tag("v1.10.0", &index);
        let upstream = Upstream { registry, layout, _folder: folder };
        for tag in upstream.tags() {
            upstream.push(&tag);
        }
        upstream
    }

    fn tags(&self) -> Vec<String> {
        let releases = (1..=8).map(|number| format!("v1.{number}.0"));
        releases.chain(["v1.10.0", "latest", "edge", "nightly"].map(str::to_owned)).collect()
    }

    fn push(&self, tag: &str) {
        let index = std::fs::read(self.layout.folder().join("index.json")).expect("an index");
        let index: serde_json::Value = serde_json::from_slice(&index).expect("JSON");
        let manifests = index["manifests"].as_array().cloned().unwrap_or_default();
        let named = |manifest: &&serde_json::Value| {
            manifest["annotations"]["org.opencontainers.image.ref.name"] == tag
        };
        let manifest = manifests.iter().find(named).expect("the tag is in the layout");
        let descriptor = berth_testkit::image::Descriptor {
            media_type: manifest["mediaType"].as_str().expect("a media type").to_owned(),
            digest: manifest["digest"].as_str().expect("a digest").to_owned(),
            size: 0,
        };
        let registry = self.registry.registry();
        self.layout
            .push(&descriptor, &registry, "vendor/tool", tag)
            .expect("the registry takes it");
    }
}

#[test]
fn the_sdk_follows_a_subscription_and_every_arrived_tag_is_built() {
    let upstream = Upstream::start();
    let server = TestServer::start_with(&provider("QUAY", &upstream.registry.host()));
    let repository = build::repository(&server, "mirror", "tool");
    let _ = build::rule(&server, &repository);
    let arguments = ["mirror", "tool", "vendor", "tool", r"v1\.\d+\.0", "3"];
    let seen = sdk::json(&server, "follow_subscription.py", &arguments);

    let task = &seen["task"];
    assert_eq!(task["TaskStatus"], "COMPLETED", "{seen}");
    assert_eq!(task["TaskResult"], "SUCCESS", "{seen}");
    assert_eq!(task["TaskType"], "MANUAL", "{seen}");
    assert_eq!(task["TagTotalCount"], 12, "{seen}");
    assert_eq!(task["TagSubscriptionCount"], 3, "{seen}");
    assert_eq!(task["NamespaceName"], "mirror", "{seen}");
    assert_eq!(task["RepoName"], "tool", "{seen}");
    assert_eq!(task["SourceProvider"], "QUAY", "{seen}");
    assert_eq!(task["SourceNamespaceName"], "vendor", "{seen}");
    assert_eq!(task["SourceRepoName"], "tool", "{seen}");

    // By version, not by name: 1.10 is newer than 1.8. One true row per tag.
    let newest = ["v1.10.0", "v1.7.0", "v1.8.0"];
    let rows = seen["rows"].as_array().expect("rows");
    assert_eq!(seen["total"].as_u64(), Some(3));
    let mut tags: Vec<&str> = rows.iter().filter_map(|row| row["Tag"].as_str()).collect();
    tags.sort_unstable();
    assert_eq!(tags, newest);
    for row in rows {
        assert_eq!(
            (&row["Status"], &row["Result"]),
            (&"COMPLETED".into(), &"SUCCESS".into()),
            "{row}"
        );
        assert_eq!(row["TaskId"], task["TaskId"], "{row}");
        let [begin, end] = ["StartTime", "EndTime"].map(|name| row[name].as_i64().expect("a time"));
        let [first, last] =
            ["StartTime", "EndTime"].map(|name| task[name].as_i64().expect("a time"));
        assert!(first <= begin && begin <= end && end <= last, "{row} {task}");
    }

    // What arrived is what the upstream has, to the byte; and nothing else arrived.
    for tag in newest {
        let [here, there] = [
            server.registry().manifest("mirror/tool", tag),
            upstream.registry.registry().manifest("vendor/tool", tag),
        ]
        .map(|manifest| manifest.expect("the tag is there"));
        assert_eq!((here.digest, here.media_type), (there.digest, there.media_type), "{tag}");
        build::wait_success(&server, &build::task_of_tag(&server, &repository, tag));
    }
    let mut present = server.registry().tags("mirror/tool");
    present.sort();
    let mut expected: Vec<String> = newest
        .iter()
        .flat_map(|tag| {
            ["", "_accelerated", "_containerd_accelerated"].map(|end| format!("{tag}{end}"))
        })
        .collect();
    expected.sort();
    assert_eq!(present, expected);

    // A second run finds everything here already and builds nothing again.
    let again = subscription::start(&server, seen["rule"]["RuleId"].as_str().expect("a rule"));
    let again = subscription::wait(&server, &again);
    assert_eq!((&again["TaskResult"], &again["TagTotalCount"]), (&"SUCCESS".into(), &12.into()));
    assert_eq!(build::tasks(&server, &repository).len(), 3);
}

#[test]
fn a_tag_that_is_broken_at_the_source_fails_alone() {
    let upstream = Upstream::start();
    let server = TestServer::start_with(&provider("QUAY", &upstream.registry.host()));
    let _ = build::repository(&server, "mirror", "tool");
    let broken = upstream.registry.registry().manifest("vendor/tool", "v1.7.0").expect("the tag");
    let layer = broken.json()["layers"][0]["digest"].as_str().expect("a layer").to_owned();
    upstream.registry.lose_blob(&layer);

    let rule = subscription::rule(
        &server,
        &subscription::Rule {
            target: ("mirror", "tool"),
            domain: None,
            source: ("vendor", "tool"),
            tag_regexp: r"v1\.\d+\.0",
            tag_count: "3",
            platforms: &["linux/amd64", "linux/arm64"],
        },
    );
    let task = subscription::start(&server, &rule);
    let told = subscription::wait(&server, &task);
    assert_eq!(told["TaskResult"], "FAILED", "{told}");
    let message = told["Message"].as_str().expect("a message");
    assert!(message.contains("v1.7.0"), "the message names the tag: {message}");
    let row = |tag: &str, result: &str| (tag.to_owned(), "COMPLETED".to_owned(), result.to_owned());
    assert_eq!(
        subscription::results(&server, &task),
        [row("v1.10.0", "SUCCESS"), row("v1.7.0", "FAILED"), row("v1.8.0", "SUCCESS")]
    );
    let mut tags = server.registry().tags("mirror/tool");
    tags.sort();
    assert_eq!(tags, ["v1.10.0", "v1.8.0"], "nothing is left of the broken tag");

    // Once the source is whole again, the same rule brings the tag in.
    upstream.push("v1.7.0");
    let healed = subscription::wait(&server, &subscription::start(&server, &rule));
    assert_eq!(healed["TaskResult"], "SUCCESS", "{healed}");
    assert_eq!(server.registry().tags("mirror/tool").len(), 3);
}

#[test]
fn an_address_that_the_operator_has_not_listed_is_not_contacted() {
    let upstream = DockerRegistry::start();
    let server = TestServer::start_configured("");
    let _ = build::repository(&server, "mirror", "tool");
    let rule = subscription::rule(
        &server,
        &subscription::Rule {
            target: ("mirror", "tool"),
            domain: Some(&upstream.host()),
            source: ("vendor", "tool"),
            tag_regexp: ".*",
            tag_count: "3",
            platforms: &["linux/amd64"],
        },
    );
    let told = subscription::wait(&server, &subscription::start(&server, &rule));
    assert_eq!(told["TaskResult"], "FAILED", "{told}");
    let message = told["Message"].as_str().unwrap_or_default();
    assert!(message.contains("127.0.0.1") && message.contains("allow"), "{message}");
}
