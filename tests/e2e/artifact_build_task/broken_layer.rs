//! A layer that is broken ends its build FAILED, with a log that names layer, entry and reason.

use berth_testkit::image::{Archive, Compression, Image, Layer, Layout, compress};
use berth_testkit::registry::sha256;
use berth_testkit::server::TestServer;
use berth_tests::build;

/// Pushes an image of two layers, the second with these stored bytes and this diff-id, and builds it.
/// Returns the digest of the broken layer and the log of the failed task.
fn build_broken(name: &str, tar: Vec<u8>, compression: Compression) -> (String, Vec<String>) {
    let server = TestServer::start();
    let repository = build::repository(&server, "broken", name);
    let mut layout = Layout::create(&server.scratch().join(name));
    let good = Layer {
        tar: Archive::new().file("good", b"good").finish(),
        compression: Compression::Gzip,
    };
    let digest = sha256(&compress(&tar, compression));
    let image = layout.add_tagged("v1", &Image::new(vec![good, Layer { tar, compression }]));
    layout.push(&image, &server.registry(), &format!("broken/{name}"), "v1").expect("a push");
    let task = build::create_task(&server, &repository, "v1");
    let ended = build::wait(&server, &task);
    assert_eq!(ended["TaskStatus"], "FAILED", "{ended}");
    assert_eq!(ended["Canceled"], false, "{ended}");
    assert_eq!(server.registry().tags(&format!("broken/{name}")), ["v1"]);
    (digest, build::log(&server, &task))
}

fn assert_log_names(log: &[String], words: &[&str]) {
    let named = log.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(named, "a line with all of {words:?}: {log:#?}");
}

#[test]
fn an_entry_that_is_cut_short_is_named() {
    let mut tar =
        Archive::new().file("etc/first", b"whole").file("etc/cut-short", &[7; 100_000]).finish();
    tar.truncate(60_000);
    let (digest, log) = build_broken("cut", tar, Compression::Gzip);
    assert_log_names(&log, &[&digest, "etc/cut-short"]);
}

#[test]
fn a_hard_link_to_nothing_is_named_with_its_target() {
    use berth_testkit::image::{Entry, Kind};
    let link = Entry::new("usr/bin/link", Kind::HardLink("usr/bin/missing".to_owned()));
    let tar = Archive::new().directory("usr").directory("usr/bin").entry(&link).finish();
    let (digest, log) = build_broken("link", tar, Compression::Zstd);
    assert_log_names(&log, &[&digest, "usr/bin/link", "usr/bin/missing"]);
}

#[test]
fn a_damaged_header_is_named_by_its_place() {
    let mut tar = Archive::new().file("first", b"whole").file("second", b"damaged").finish();
    // The second header begins at 1024; its checksum no longer holds.
    tar[1024 + 20] ^= 0xff;
    let (digest, log) = build_broken("header", tar, Compression::None);
    assert_log_names(&log, &[&digest, "1024"]);
}

#[test]
fn bytes_that_are_not_those_of_the_diff_id_are_refused() {
    let server = TestServer::start();
    let repository = build::repository(&server, "broken", "identity");
    let registry = server.registry();
    let [tar, other] = ["one", "other"].map(|name| Archive::new().file(name, b"x").finish());
    let layer = compress(&tar, Compression::Gzip);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        sha256(&other)
    );
    let [layer_digest, config_digest] = [&layer[..], config.as_bytes()]
        .map(|bytes| registry.push_blob("broken/identity", bytes).expect("a blob"));
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer_digest, "size": layer.len()}],
    });
    let body = serde_json::to_vec(&manifest).expect("JSON");
    let media_type = manifest["mediaType"].as_str().expect("a media type");
    registry.push_manifest("broken/identity", "v1", media_type, &body).expect("a manifest");
    let task = build::create_task(&server, &repository, "v1");
    assert_eq!(build::wait(&server, &task)["TaskStatus"], "FAILED");
    assert_log_names(&build::log(&server, &task), &[&layer_digest, &sha256(&other)]);
}
