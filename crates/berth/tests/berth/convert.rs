//! What `berth convert` refuses.

use berth_testkit::image::{Image, Layout, MediaTypes};
use berth_testkit::process::{run, run_failing};
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
