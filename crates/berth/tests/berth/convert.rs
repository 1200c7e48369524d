//! What `berth convert` refuses, and odd images that it takes.

use berth_testkit::image::{Image, Layout, MediaTypes};
use berth_testkit::process::{run, run_failing};
use serde_json::Value;
use std::process::Command;
use tempfile::TempDir;

use crate::support::berth;

fn convert(home: &TempDir, input: &str, output: &str) -> Command {
    let mut command = berth(home.path());
    command.args(["convert", "--format", "overlaybd", "--input", input, "--output", output]);
    command
}

#[test]
fn the_source_is_not_replaced_by_its_accelerated_image() {
    let home = tempfile::tempdir().expect("a folder");
    let mut layout = Layout::create(&home.path().join("a"));
    layout.add_tagged("v1", &Image::tiny("content"));
    std::os::unix::fs::symlink(layout.folder(), home.path().join("b")).expect("a link");
    let index = || std::fs::read(layout.folder().join("index.json")).expect("an index");
    let before = index();
    let name = |folder: &str, tag: &str| format!("oci:{}{tag}", home.path().join(folder).display());
    for (input, output) in [
        (name("a", ":v1"), name("a", ":v1")),
        (name("a", ""), name("a", ":v1")),
        (name("a", ":v1"), name("b", ":v1")),
    ] {
        let said = run_failing(&mut convert(&home, &input, &output));
        assert!(said.contains("names the source image"), "{said}");
        assert_eq!(index(), before, "{input} {output}");
    }
    // Beside it there is room.
    run(&mut convert(&home, &name("a", ":v1"), &name("a", ":v1_accelerated")));
    run(&mut convert(&home, &name("a", ":v1"), &name("a", ":v1_accelerated")));
}

#[test]
fn an_accelerated_image_is_not_accelerated_again() {
    let home = tempfile::tempdir().expect("a folder");
    let mut layout = Layout::create(&home.path().join("a"));
    let image = layout.add_tagged("single", &Image::tiny("content"));
    let index = layout.add_index(MediaTypes::Oci, &[("amd64", image)]);
    layout.tag("index", &index);
    for tag in ["single", "index"] {
        let name =
            |folder: &str, tag: &str| format!("oci:{}:{tag}", home.path().join(folder).display());
        run(&mut convert(&home, &name("a", tag), &name("fast", tag)));
        let said = run_failing(&mut convert(&home, &name("fast", tag), &name("twice", tag)));
        assert!(said.contains("accelerated image already (OverlayBD)"), "{said}");
        assert!(!home.path().join("twice/index.json").exists());
    }
}

#[test]
fn images_are_for_linux_whatever_the_case_and_for_nothing_else() {
    let home = tempfile::tempdir().expect("a folder");
    let mut layout = Layout::create(&home.path().join("a"));
    for os in ["Linux", "LINUX", "windows", "Windows"] {
        layout.add_tagged(os, &Image { os: os.to_owned(), ..Image::tiny("content") });
    }
    let name =
        |folder: &str, tag: &str| format!("oci:{}:{tag}", home.path().join(folder).display());
    for os in ["Linux", "LINUX"] {
        run(&mut convert(&home, &name("a", os), &name("fast", os)));
        run(berth(home.path()).args([
            "verify",
            "--source",
            &name("a", os),
            "--target",
            &name("fast", os),
        ]));
    }
    for os in ["windows", "Windows"] {
        let said = run_failing(&mut convert(&home, &name("a", os), &name("fast", os)));
        assert!(said.to_ascii_lowercase().contains("windows"), "{said}");
    }
}

/// Layers that registries need not have are layers like others where their bytes are.
#[test]
fn layers_that_may_be_elsewhere_are_converted_when_they_are_here() {
    let home = tempfile::tempdir().expect("a folder");
    let mut layout = Layout::create(&home.path().join("a"));
    let image = layout.add(&Image::tiny("content"));
    let mut manifest: Value = serde_json::from_slice(&layout.blob(&image.digest)).expect("JSON");
    let layer = manifest["layers"][0]["digest"].as_str().expect("a digest").replace(':', "/");
    manifest["layers"][0]["mediaType"] =
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".into();
    manifest["layers"][0]["urls"] = serde_json::json!(["https://layers.example/one"]);
    let foreign = layout.write_document(&image.media_type, &manifest);
    layout.tag("v1", &foreign);
    let name = |folder: &str| format!("oci:{}:v1", home.path().join(folder).display());
    run(&mut convert(&home, &name("a"), &name("fast")));
    run(berth(home.path()).args(["verify", "--source", &name("a"), "--target", &name("fast")]));
    // Where they are not, the image says which one is missed.
    std::fs::remove_file(layout.folder().join("blobs").join(&layer)).expect("the layer goes");
    let said = run_failing(&mut convert(&home, &name("a"), &name("slow")));
    assert!(said.contains(&layer.replace('/', ":")), "{said}");
}
