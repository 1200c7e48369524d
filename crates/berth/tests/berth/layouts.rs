//! Images in layout folders under whole names, as skopeo writes them.

use berth_testkit::image::{Image, Layout};
use berth_testkit::process::{run, run_failing};
use serde_json::Value;

use crate::support::berth;

const NAME: &str = "registry.example:5000/library/a:1.0";

#[test]
fn a_layout_with_a_whole_image_name_is_taken_on_every_command_line() {
    let home = tempfile::tempdir().expect("a folder");
    let mut layout = Layout::create(&home.path().join("source"));
    layout.add_tagged("other", &Image::tiny("other"));
    layout.add_tagged(NAME, &Image::tiny("content"));
    let source = format!("oci:{}:{NAME}", layout.folder().display());
    let target = home.path().join("target");
    let target_name = format!("oci:{}:registry.example:5000/library/a:1.0-fast", target.display());
    let convert =
        ["convert", "--format", "overlaybd", "--input", &source, "--output", &target_name];
    run(berth(home.path()).args(convert));

    let index = std::fs::read(target.join("index.json")).expect("an index");
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    assert_eq!(
        index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"],
        "registry.example:5000/library/a:1.0-fast",
        "{index}"
    );
    run(berth(home.path()).args(["verify", "--source", &source, "--target", &target_name]));
    run(berth(home.path()).args(["inspect", &target_name]));
    let wrong = format!("oci:{}:registry.example/library/a:1.0", layout.folder().display());
    let said = run_failing(berth(home.path()).args(["inspect", &wrong]));
    assert!(said.contains(NAME), "says what is there: {said}");
}

#[test]
fn the_demo_takes_a_layout_with_a_whole_image_name() {
    let home = tempfile::tempdir().expect("a folder");
    let mut layout = Layout::create(&home.path().join("source"));
    let tar = berth_testkit::image::Archive::new().file("bin/true", b"#!/bin/true\n").finish();
    let compression = berth_testkit::image::Compression::Gzip;
    layout.add_tagged(NAME, &Image::new(vec![berth_testkit::image::Layer { tar, compression }]));
    let source = format!("oci:{}:{NAME}", layout.folder().display());
    let said = run(berth(home.path()).args(["demo", "--image", &source]));
    assert!(said.contains(":1.0"), "the tag of the name: {said}");
}
