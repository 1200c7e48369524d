//! Indexes as they are found in registries: in each other, with children that are no images or are not
//! here, and images that are accelerated already.

use berth_testkit::image::{Archive, Compression, compress};
use berth_testkit::registry::{Registry, sha256};
use berth_testkit::server::TestServer;
use berth_tests::build;
use serde_json::{Value, json};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// One repository of a server and what is pushed to it.
struct Repository<'a> {
    registry: Registry,
    name: &'a str,
}

impl Repository<'_> {
    fn blob(&self, media_type: &str, content: &[u8]) -> Value {
        let digest = self.registry.push_blob(self.name, content).expect("a blob");
        json!({"mediaType": media_type, "digest": digest, "size": content.len()})
    }

    /// Pushes a document by its digest and returns what an index says of it.
    fn child(&self, document: &Value) -> Value {
        let body = serde_json::to_vec(document).expect("JSON");
        let digest = sha256(&body);
        self.push(&digest, document);
        json!({"mediaType": document["mediaType"], "digest": digest, "size": body.len()})
    }

    fn push(&self, reference: &str, document: &Value) {
        let body = serde_json::to_vec(document).expect("JSON");
        let media_type = document["mediaType"].as_str().expect("a type");
        let pushed = self.registry.push_manifest(self.name, reference, media_type, &body);
        let _ = pushed.expect("a manifest");
    }

    /// An image of one layer with one file.
    fn image(&self, content: &str) -> Value {
        let tar = Archive::new().file("content", content.as_bytes()).finish();
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [sha256(&tar)]},
        });
        json!({
            "schemaVersion": 2, "mediaType": IMAGE,
            "config": self.blob(CONFIG, config.to_string().as_bytes()),
            "layers": [self.blob(LAYER, &compress(&tar, Compression::Gzip))],
        })
    }

    /// An artifact whose config and layer have other types than an image's.
    fn artifact(&self, config: &str, layer: &str) -> Value {
        json!({
            "schemaVersion": 2, "mediaType": IMAGE,
            "config": self.blob(config, b"{}"), "layers": [self.blob(layer, b"content")],
        })
    }
}

fn index(children: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children})
}

fn on(mut child: Value, architecture: &str, variant: &str) -> Value {
    child["platform"] = json!({"os": "linux", "architecture": architecture});
    if !variant.is_empty() {
        child["platform"]["variant"] = json!(variant);
    }
    child
}

fn platforms(index: &Value) -> Vec<String> {
    let manifests = index["manifests"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let platform = |one: &Value| {
        let platform = &one["platform"];
        format!("{}{}", text(&platform["architecture"]), text(&platform["variant"]))
    };
    manifests.iter().map(platform).collect()
}

#[test]
fn a_push_of_indexes_in_indexes_builds_the_images_and_says_what_it_skips() {
    let server = TestServer::start();
    let id = build::repository(&server, "odd", "nested");
    let _ = build::rule(&server, &id);
    let repository = Repository { registry: server.registry(), name: "odd/nested" };
    let image = repository.child(&repository.image("amd64"));
    let soci = "application/vnd.amazon.soci.index.v2+json";
    let skipped = [
        repository.child(&repository.artifact(soci, "application/octet-stream")),
        repository.child(&repository.artifact(CONFIG, "application/vnd.in-toto+json")),
        json!({"mediaType": IMAGE, "digest": sha256(b"absent"), "size": 6}),
    ];
    let mut children = vec![on(image, "amd64", "")];
    children.extend(skipped.iter().map(|child| on(child.clone(), "amd64", "")));
    let inner = repository.child(&index(&children));
    let arm = repository.child(&repository.image("arm"));
    let other = repository.child(&index(&[on(arm.clone(), "arm", "v6"), on(arm, "arm", "v7")]));
    repository.push("v1", &index(&[on(inner, "amd64", ""), other]));

    let task = build::task_of_tag(&server, &id, "v1");
    let _ = build::wait_success(&server, &task);
    let log = build::log(&server, &task);
    for child in &skipped {
        let digest = child["digest"].as_str().expect("a digest");
        assert!(
            log.iter().any(|line| line.starts_with("Skip") && line.contains(digest)),
            "{log:#?}"
        );
    }
    let target = server.registry().manifest("odd/nested", "v1_accelerated").expect("the tag");
    assert_eq!(platforms(&target.json()), ["amd64", "armv6", "armv7"]);
}

#[test]
fn an_accelerated_image_is_not_accelerated_again_whatever_its_tag() {
    let server = TestServer::start();
    let id = build::repository(&server, "odd", "again");
    let repository = Repository { registry: server.registry(), name: "odd/again" };
    let child = repository.child(&repository.image("once"));
    repository.push("single", &repository.image("once"));
    repository.push("many", &index(&[on(child, "amd64", "")]));
    for tag in ["single", "many"] {
        let _ = build::wait_success(&server, &build::create_task(&server, &id, tag));
    }
    let _ = build::rule(&server, &id);
    let before = build::tasks(&server, &id).len();
    for tag in ["single", "many"] {
        let made = repository.registry.manifest(repository.name, &format!("{tag}_accelerated"));
        let made = made.expect("the tag");
        let copy = format!("copy-of-{tag}");
        let registry = &repository.registry;
        let pushed = registry.push_manifest(repository.name, &copy, &made.media_type, &made.body);
        let _ = pushed.expect("a copy");
        let asked = server.api().try_call(
            "CreateArtifactBuildTask",
            &[("InstanceId", &server.credentials().instance_id), ("RepoId", &id), ("Tag", &copy)],
        );
        let asked = asked.expect("an answer").body.to_string();
        assert!(asked.contains("accelerated image already (OverlayBD)"), "{asked}");
    }
    assert_eq!(build::tasks(&server, &id).len(), before, "the pushes made no task");
}

#[test]
fn a_wrong_diff_id_is_noticed_when_the_layer_was_converted_before() {
    let server = TestServer::start();
    let id = build::repository(&server, "odd", "cached");
    let repository = Repository { registry: server.registry(), name: "odd/cached" };
    let right = repository.image("the same layer");
    repository.push("right", &right);
    let _ = build::wait_success(&server, &build::create_task(&server, &id, "right"));
    let mut wrong = right;
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [sha256(b"another layer")]},
    });
    wrong["config"] = repository.blob(CONFIG, config.to_string().as_bytes());
    repository.push("wrong", &wrong);
    let task = build::create_task(&server, &id, "wrong");
    assert_eq!(build::wait(&server, &task)["TaskStatus"], "FAILED");
    let log = build::log(&server, &task);
    assert!(log.iter().any(|line| line.contains(&sha256(b"another layer"))), "{log:#?}");
}
