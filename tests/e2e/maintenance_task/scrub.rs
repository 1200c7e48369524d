//! Bytes that change behind the server's back are never answered, are found, and come back.

use std::fs::{self, File};
use std::time::{Duration, Instant, SystemTime};

use berth_testkit::image::{Image, Layout};
use berth_testkit::registry::{Registry, sha256};
use berth_testkit::server::{TestServer, berth};
use berth_testkit::upstream::DockerRegistry;
use berth_tests::maintenance::{self, file_of, flip, metric, rot};
use berth_tests::{build, subscription};
use serde_json::Value;

/// Status and body of a request for a blob.
fn ask(registry: &Registry, method: &str, repository: &str, digest: &str) -> (u16, Value) {
    let request = registry.request(method, &format!("/v2/{repository}/blobs/{digest}"));
    let answer = request.send().expect("an answer");
    let status = answer.status().as_u16();
    let body = answer.bytes().expect("a body");
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// It is not there, for whoever asks.
fn assert_absent(registry: &Registry, repository: &str, digest: &str) {
    let (status, body) = ask(registry, "GET", repository, digest);
    assert_eq!((status, &body["errors"][0]["code"]), (404, &Value::from("BLOB_UNKNOWN")), "{body}");
    assert_eq!(ask(registry, "HEAD", repository, digest).0, 404);
    let part = registry
        .request("GET", &format!("/v2/{repository}/blobs/{digest}"))
        .header("Range", "bytes=0-3");
    assert_eq!(part.send().expect("an answer").status().as_u16(), 404);
}

fn layer(seed: u8) -> Vec<u8> {
    (0..300_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed).collect()
}

#[test]
fn what_was_written_to_is_never_answered_and_the_next_push_repairs_it() {
    let server = TestServer::start();
    let registry = server.registry();
    let contents: Vec<Vec<u8>> = (0..4).map(layer).collect();
    let digests: Vec<String> = contents
        .iter()
        .map(|content| registry.push_blob("app/one", content).expect("a push"))
        .collect();
    for (digest, content) in digests.iter().zip(&contents) {
        assert_eq!(registry.blob("app/one", digest).as_ref(), Some(content));
    }

    // The same bytes with another time, as after a restore: read whole, then answered.
    let touched = File::options().write(true).open(file_of(&server, &digests[0])).expect("a file");
    touched.set_modified(SystemTime::UNIX_EPOCH).expect("another time");
    for _ in 0..2 {
        assert_eq!(registry.blob("app/one", &digests[0]).as_ref(), Some(&contents[0]));
    }
    assert_eq!(metric(&server, "berth_blobs_damaged"), 0.0);

    // Other bytes, fewer, none: the very next request must not get them.
    flip(&file_of(&server, &digests[1]));
    let cut = File::options().write(true).open(file_of(&server, &digests[2])).expect("a file");
    cut.set_len(1000).expect("cut");
    fs::remove_file(file_of(&server, &digests[3])).expect("lost");
    for digest in &digests[1..] {
        assert_absent(&registry, "app/one", digest);
    }
    assert_eq!(metric(&server, "berth_blobs_damaged"), 3.0);
    assert!(server.log().contains("is damaged"), "{}", server.log());

    // No manifest can name them, no mount can carry them on.
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
        "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}",
        "size":300000}},"layers":[]}}"#,
        digests[1]
    );
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let refused = registry.push_manifest("app/one", "v1", media_type, manifest.as_bytes());
    let refused = refused.expect_err("its config is damaged").to_string();
    assert!(refused.contains("MANIFEST_BLOB_UNKNOWN"), "{refused}");
    let mount = format!("/v2/app/two/blobs/uploads/?mount={}&from=app/one", digests[1]);
    let answer = registry.request("POST", &mount).body("").send().expect("an answer");
    assert_eq!(answer.status().as_u16(), 202, "send the bytes instead");

    // A push of the digest, wherever to, repairs it everywhere.
    for content in &contents[1..] {
        registry.push_blob("app/two", content).expect("a push");
    }
    for (digest, content) in digests.iter().zip(&contents).skip(1) {
        for repository in ["app/one", "app/two"] {
            assert_eq!(registry.blob(repository, digest).as_ref(), Some(content));
        }
    }
    registry.push_manifest("app/one", "v1", media_type, manifest.as_bytes()).expect("a push");
    assert_eq!(metric(&server, "berth_blobs_damaged"), 0.0);
    assert_eq!(metric(&server, r#"berth_blobs_repaired_total{by="push"}"#), 3.0);
}

#[test]
fn scrubbing_finds_what_rotted() {
    let mut server = TestServer::start();
    let registry = server.registry();
    let (good, bad) = (layer(1), layer(2));
    let whole = registry.push_blob("app/one", &good).expect("a push");
    let rotten = registry.push_blob("app/one", &bad).expect("a push");
    rot(&file_of(&server, &rotten));

    let task = maintenance::run(&server, "SCRUB");
    let log = maintenance::log(&server, &task);
    assert_eq!(task["TaskStatus"], "SUCCESS", "{task}\n{log}");
    assert_eq!(task["Progress"]["Blobs"], 2, "{task}");
    assert_eq!(task["Progress"]["Bytes"], 600_000, "{task}");
    assert_eq!(task["Progress"]["Damaged"], 1, "{task}");
    assert!(log.contains(&format!("{rotten} is damaged: its bytes have the digest")), "{log}");
    assert!(log.contains(&format!("{rotten} stays in quarantine")), "{log}");
    assert_absent(&registry, "app/one", &rotten);
    assert_eq!(registry.blob("app/one", &whole).as_ref(), Some(&good));
    assert_eq!(metric(&server, "berth_blobs_damaged"), 1.0);
    assert_eq!(metric(&server, "berth_scrub_bytes_total"), 600_000.0);

    registry.push_blob("app/one", &bad).expect("a push");
    assert_eq!(registry.blob("app/one", &rotten).as_ref(), Some(&bad));
    let task = maintenance::run(&server, "SCRUB");
    assert_eq!(task["Progress"]["Damaged"], 0, "{task}");

    // The same by hand, on a server that is stopped.
    rot(&file_of(&server, &whole));
    assert!(server.stop().success());
    let (data, scratch) = (server.data_folder().to_owned(), server.scratch().to_owned());
    let scrub = |arguments: &[&str]| {
        let mut command = berth();
        command.arg("scrub").arg("--data-dir").arg(&data).args(arguments);
        let output = command.current_dir(&scratch).output().expect("berth runs");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), printed + &String::from_utf8_lossy(&output.stderr))
    };
    let (code, printed) = scrub(&[]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains(&format!("{whole} is damaged")), "{printed}");
    let (code, printed) = scrub(&["--json"]);
    assert_eq!(code, Some(1), "{printed}");
    let report: Value = serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{printed}"));
    assert_eq!((&report["blobs"], &report["damaged"]), (&2.into(), &1.into()), "{report}");
    server.restart();
    assert_absent(&server.registry(), "app/one", &whole);
    server.registry().push_blob("app/one", &good).expect("a push");
    assert!(server.stop().success());
    let (code, printed) = scrub(&[]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("2 blobs read, 600000 bytes: all are whole"), "{printed}");
}

#[test]
fn a_pass_that_was_stopped_goes_on_after_a_crash() {
    // Three seconds' work, and what was found is written down every two.
    let mut server = TestServer::start_with("[scrub]\nrate = \"300KiB\"\n");
    let registry = server.registry();
    for seed in 0..6 {
        registry.push_blob("app/one", &layer(seed)).expect("a push");
    }
    let api = server.api();
    let instance = server.credentials().instance_id.clone();
    let create = || {
        let parameters = [("InstanceId", instance.as_str()), ("Kind", "SCRUB")];
        let made = api.call("CreateMaintenanceTask", &parameters);
        made["TaskId"].as_str().expect("an id").to_owned()
    };
    let id = create();
    assert_eq!(create(), id, "one at a time");
    let parameters = [("InstanceId", instance.as_str()), ("TaskId", id.as_str())];
    let begin = Instant::now();
    let read = loop {
        let task = api.call("GetMaintenanceTask", &parameters);
        match task["Progress"]["Blobs"].as_u64() {
            Some(read) if read > 0 => break read,
            _ => assert!(begin.elapsed() < Duration::from_secs(60), "no progress: {task}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(read < 6, "it is not over");
    let _ = api.call("CancelMaintenanceTask", &parameters);
    let stopped = maintenance::wait(&server, &id);
    assert_eq!((&stopped["TaskStatus"], &stopped["Canceled"]), (&"FAILED".into(), &true.into()));

    // The next task goes on; its server dies, and after the restart it goes on once more.
    let id = create();
    server.kill9();
    server.restart();
    let task = maintenance::wait(&server, &id);
    let log = maintenance::log(&server, &task);
    assert_eq!(task["TaskStatus"], "SUCCESS", "{task}\n{log}");
    assert!(log.contains("going on after sha256:"), "{log}");
    assert!(log.contains("6 blobs read, 1800000 bytes: all are whole"), "{log}");
}

#[test]
fn scrubbing_fetches_from_the_registry_that_it_came_from() {
    let upstream = DockerRegistry::start();
    let folder = tempfile::tempdir().expect("a folder");
    let mut layout = Layout::create(folder.path());
    let image = layout.add_tagged("v1", &Image::tiny("an image from elsewhere"));
    layout.push(&image, &upstream.registry(), "vendor/tool", "v1").expect("a push");

    let server = TestServer::start_with(&subscription::provider("QUAY", &upstream.host()));
    let registry = server.registry();
    let _ = build::repository(&server, "mirror", "tool");
    let rule = subscription::rule(
        &server,
        &subscription::Rule {
            target: ("mirror", "tool"),
            domain: None,
            source: ("vendor", "tool"),
            tag_regexp: "v1",
            tag_count: "1",
            platforms: &["linux/amd64"],
        },
    );
    let run = subscription::wait(&server, &subscription::start(&server, &rule));
    assert_eq!(run["TaskResult"], "SUCCESS", "{run}");
    let manifest = registry.manifest("mirror/tool", "v1").expect("it arrived").json();
    let layer = manifest["layers"][0]["digest"].as_str().expect("a digest").to_owned();
    let config = manifest["config"]["digest"].as_str().expect("a digest").to_owned();
    let bytes = registry.blob("mirror/tool", &layer).expect("it arrived");

    // By the rule.
    rot(&file_of(&server, &layer));
    let task = maintenance::run(&server, "SCRUB");
    let log = maintenance::log(&server, &task);
    assert_eq!(task["Progress"]["Repaired"], 1, "{task}\n{log}");
    assert!(log.contains(&format!("{layer} is repaired: its bytes came from upstream")), "{log}");
    assert_eq!(registry.blob("mirror/tool", &layer), Some(bytes));

    // Without it, by the run of the past; and what the source has lost as well stays away.
    let instance = server.credentials().instance_id.clone();
    let parameters = [("InstanceId", instance.as_str()), ("RuleId", rule.as_str())];
    let _ = server.api().call("DeleteArtifactSubscriptionRule", &parameters);
    rot(&file_of(&server, &layer));
    fs::remove_file(file_of(&server, &config)).expect("lost");
    upstream.lose_blob(&config);
    let task = maintenance::run(&server, "SCRUB");
    let log = maintenance::log(&server, &task);
    assert_eq!(
        (&task["Progress"]["Damaged"], &task["Progress"]["Repaired"]),
        (&2.into(), &1.into())
    );
    assert!(log.contains(&format!("{config} could not be had from upstream")), "{log}");
    assert!(registry.blob("mirror/tool", &layer).is_some_and(|bytes| sha256(&bytes) == layer));
    assert_absent(&registry, "mirror/tool", &config);
    assert_eq!(metric(&server, r#"berth_blobs_repaired_total{by="upstream"}"#), 2.0);
    assert_eq!(metric(&server, "berth_blobs_damaged"), 1.0);

    // A new run of the same source brings it back once the source has it again.
    registry.push_blob("mirror/tool", &layout.blob(&config)).expect("a push");
    assert_eq!(metric(&server, "berth_blobs_damaged"), 0.0);
}
