//! Garbage collection as an operator sees it, and under everything that clients do at the same time.

use berth_testkit::process::run;
use berth_testkit::registry::{Registry, sha256};
use berth_testkit::server::{TestServer, berth};
use berth_tests::maintenance::{self, files};
use berth_tests::source::random_bytes;
use serde_json::{Value, json};
use std::process::Output;
use std::time::{Duration, Instant};

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Nothing by the clock, and no grace.
const ON_REQUEST: &str = "[gc]\ninterval = 0\ngrace = 0\nupload_pause = 0\n";

/// Pushes an image of one random layer; returns the digests of manifest and layer.
fn push(registry: &Registry, repository: &str, tag: &str, bytes: usize) -> (String, String) {
    let (config, layer) = (random_bytes(100), random_bytes(bytes));
    for content in [&config, &layer] {
        registry.push_blob(repository, content).expect("a push");
    }
    let descriptor = |kind: &str, content: &[u8]| json!({"mediaType": kind, "digest": sha256(content), "size": content.len()});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    let body = manifest.to_string();
    let digest = registry.push_manifest(repository, tag, MANIFEST, body.as_bytes());
    (digest.expect("a push"), sha256(&layer))
}

fn delete(registry: &Registry, path: &str) {
    let answer = registry.request("DELETE", path).send().expect("an answer");
    assert_eq!(answer.status(), 202, "{path}");
}

/// `berth gc` on the server's own configuration.
pub(super) fn gc(server: &TestServer, arguments: &[&str]) -> Output {
    let mut command = berth();
    command.arg("gc").arg("--config").arg(server.scratch().join("berth.toml"));
    command.arg("--data-dir").arg(server.data_folder()).args(arguments);
    command.output().expect("berth gc runs")
}

/// The JSON report of a `berth gc` that succeeds.
pub(super) fn report(server: &TestServer, arguments: &[&str]) -> Value {
    let mut all = vec!["--json"];
    all.extend(arguments);
    let output = gc(server, &all);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn disk(server: &TestServer) -> u64 {
    let files = files(&server.data_folder().join("blobs/objects"));
    files.iter().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[test]
fn what_is_deleted_leaves_the_disk() {
    let mut server = TestServer::start_with(ON_REQUEST);
    let registry = server.registry();
    let (gone, layer) = push(&registry, "app/one", "v1", 3 << 20);
    let (_, kept) = push(&registry, "app/one", "v2", 1 << 20);
    let full = disk(&server);
    assert!(full > 4 << 20, "{full}");

    // Nothing to do; then one image less.
    let before = report(&server, &["--dry-run"]);
    assert_eq!((&before["blobs"], &before["items"]), (&json!(0), &json!([])), "{before}");
    delete(&registry, &format!("/v2/app/one/manifests/{gone}"));
    let foretold = report(&server, &["--dry-run"]);
    assert_eq!((&foretold["links"], &foretold["blobs"]), (&json!(2), &json!(2)), "{foretold}");
    assert_eq!(foretold["blobBytes"], (3 << 20) + 100);
    assert_eq!(disk(&server), full, "a dry run changes nothing");
    assert!(registry.blob("app/one", &layer).is_some(), "and leaves what it speaks of");

    // Beside a server, a real run on SQLite is refused in words.
    let refused = gc(&server, &[]);
    assert!(!refused.status.success());
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(words.contains("another process"), "{words}");

    let task = maintenance::run(&server, "GC");
    assert_eq!((&task["TaskStatus"], &task["Kind"]), (&json!("SUCCESS"), &json!("GC")), "{task}");
    let progress = &task["Progress"];
    for (name, foretold) in [("Links", "links"), ("Blobs", "blobs"), ("BlobBytes", "blobBytes")]
        .map(|(name, key)| (name, &foretold[key]))
    {
        assert_eq!(&progress[name], foretold, "{task}");
    }
    let log = maintenance::log(&server, &task);
    assert!(log.contains(&format!("bytes of blob {layer}")), "{log}");
    assert_eq!(full - disk(&server), (3 << 20) + 100);
    assert!(registry.blob("app/one", &layer).is_none());
    assert!(registry.blob("app/one", &kept).is_some());
    assert!(maintenance::metric(&server, "berth_gc_bytes_total") > 3e6);
    let collected = maintenance::metric(&server, "berth_gc_collected_total{what=\"blob\"}");
    assert!((collected - 2.0).abs() < 0.1, "{collected}");

    // A whole repository, and the command alone.
    let (instance, api) = (server.credentials().instance_id.clone(), server.api());
    let repository =
        [("InstanceId", instance.as_str()), ("RepoNamespaceName", "app"), ("RepoName", "one")];
    let _ = api.call("DeleteRepository", &repository);
    let foretold = report(&server, &["--dry-run"]);
    server.stop();
    let done = report(&server, &[]);
    assert_eq!((&done["blobs"], &done["items"]), (&foretold["blobs"], &foretold["items"]));
    assert_eq!(disk(&server), 0);
    let checked = report(&server, &["--check"]);
    assert_eq!((&checked["sound"], &checked["strayObjects"]), (&json!(true), &json!([])));
}

#[test]
fn untagged_images_go_by_the_policy_and_the_clock() {
    let server = TestServer::start_with("[gc]\ninterval = 1\ngrace = 1\n");
    let registry = server.registry();
    let instance = server.credentials().instance_id.clone();
    let (first, layer) = push(&registry, "app/one", "latest", 1 << 16);
    let (second, _) = push(&registry, "app/one", "latest", 1 << 16);
    let id = berth_tests::build::repository_id(&server, "app", "one");
    let named = [("InstanceId", instance.as_str()), ("RepoId", id.as_str())];
    assert_eq!(server.api().call("GetRepository", &named).get("UntaggedRetentionDays"), None);
    std::thread::sleep(Duration::from_secs(4));
    assert!(registry.manifest("app/one", &first).is_some(), "without a policy it stays");
    let mut changes = named.to_vec();
    changes.extend([("RepoType", "PRIVATE"), ("Summary", ""), ("UntaggedRetentionDays", "0")]);
    let _ = server.api().call("UpdateRepository", &changes);
    let shown = server.api().call("GetRepository", &named);
    assert_eq!(shown["UntaggedRetentionDays"], 0);
    let begin = Instant::now();
    while registry.manifest("app/one", &first).is_some()
        || registry.blob("app/one", &layer).is_some()
    {
        assert!(begin.elapsed() < Duration::from_secs(60), "{}", server.log());
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(registry.manifest("app/one", "latest").expect("the tag").digest, second);
    // The clock's own tasks are shown like any other, newest first.
    let list =
        [("InstanceId", instance.as_str()), ("Kind", "GC"), ("PageSize", "5"), maintenance::SERVER];
    let listed = server.api().call("ListMaintenanceTask", &list);
    assert!(listed["TotalCount"].as_i64().is_some_and(|count| count > 3), "{listed}");
    let tasks = listed["Tasks"].as_array().expect("tasks").clone();
    assert!(tasks.iter().all(|task| task["Kind"] == "GC"), "{listed}");
    let times: Vec<i64> = tasks.iter().filter_map(|task| task["CreateTime"].as_i64()).collect();
    assert!(times.is_sorted_by(|one, next| one >= next), "{listed}");
    let ended = tasks.iter().find(|task| task["TaskStatus"] == "SUCCESS").expect("one has ended");
    let id = ended["TaskId"].as_str().expect("an id");
    let cancel = [("InstanceId", instance.as_str()), ("TaskId", id), maintenance::SERVER];
    let refused = server.api().try_call("CancelMaintenanceTask", &cancel).expect("an answer");
    assert_eq!(refused.body["Code"], "MAINTENANCE_TASK_FINISHED");
}

#[test]
fn the_command_explains_itself() {
    let help = run(berth().args(["gc", "--help"]));
    for word in ["--dry-run", "--check", "--json", "CreateMaintenanceTask"] {
        assert!(help.contains(word), "{help}");
    }
}
