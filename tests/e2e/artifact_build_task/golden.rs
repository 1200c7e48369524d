//! Images that the reference tools have made, beside those that Berth makes of the same layers.

use berth_testkit::image::{Compression, Image, Layer, Layout, gunzip};
use berth_testkit::mount::Mounted;
use berth_testkit::process::run;
use berth_testkit::python;
use berth_testkit::server::berth;
use berth_tests::{judge, skopeo, tool};
use std::path::{Path, PathBuf};

/// A golden file.
fn golden(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    root.join("crates/formats/fixtures/overlaybd").join(name)
}

fn read(name: &str) -> Vec<u8> {
    let path = golden(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The two source layers as an image.
fn source(folder: &Path) -> Layout {
    let layer = |name| Layer { tar: gunzip(&read(name)), compression: Compression::Gzip };
    let mut layout = Layout::create(folder);
    layout.add_tagged("golden", &Image::new(vec![layer("layer1.tar.gz"), layer("layer2.tar.gz")]));
    layout
}

#[test]
fn our_image_mounts_to_the_tree_of_the_reference_image() {
    let scratch = tempfile::tempdir().expect("a folder");
    let scratch = scratch.path();
    let layout = source(&scratch.join("source"));
    let built = scratch.join("built");
    run(berth().args(["convert", "--format", "overlaybd"]).args([
        "--input",
        &skopeo::local(layout.folder(), "golden"),
        "--output",
        &skopeo::local(&built, "golden"),
    ]));
    let ours = judge::mount(&built, "golden", scratch);
    // Images of the reference tools are not clean to e2fsck: they are stacked and mounted only.
    let device = scratch.join("reference.device");
    run(python::script(&tool("overlaybd_read.py"))
        .arg("flatten")
        .arg(&device)
        .args([golden("native-l1.commit"), golden("native-l2.commit")]));
    let reference = Mounted::ext4(&device);
    // No layer has an entry for the root: the reference gives it the time 0.
    judge::assert_same_tree(reference.path(), ours.path(), &["."]);
}

#[test]
fn inspect_explains_every_reference_blob() {
    for name in ["native-l1.commit", "native-l2.commit"] {
        let text = run(berth().arg("inspect").arg(golden(name)));
        let described =
            run(python::script(&tool("overlaybd_read.py")).arg("describe").arg(golden(name)));
        let described: serde_json::Value = serde_json::from_str(&described).expect("JSON");
        let uuid = described["trailer"]["uuid"].as_str().expect("a uuid");
        assert!(text.to_uppercase().contains(uuid), "{name}: {text}");
    }
}

#[test]
fn verify_reads_an_image_of_reference_blobs() {
    let scratch = tempfile::tempdir().expect("a folder");
    let layout = source(&scratch.path().join("source"));
    let mut reference = Layout::create(&scratch.path().join("reference"));
    let blobs = [read("native-l1.commit"), read("native-l2.commit")];
    let layers = blobs.map(|tar| Layer { tar, compression: Compression::None });
    let mut image = Image::new(layers.to_vec());
    image.layer_annotations = overlaybd_annotations;
    reference.add_tagged("golden", &image);
    run(berth()
        .args(["verify", "--source", &skopeo::local(layout.folder(), "golden")])
        .args(["--target", &skopeo::local(reference.folder(), "golden")]));
}

/// What marks a layer as an OverlayBD blob.
fn overlaybd_annotations(digest: &str, size: usize) -> serde_json::Value {
    serde_json::json!({
        "containerd.io/snapshot/overlaybd/version": "0.1.0",
        "containerd.io/snapshot/overlaybd/blob-digest": digest,
        "containerd.io/snapshot/overlaybd/blob-size": size.to_string(),
    })
}
