//! An accelerated image holds exactly the tree of its source: judged by an independent reader,
//! e2fsck, the kernel, umoci and a containerd as nodes have it.

use berth_testkit::image::{Layout, hazards};
use berth_testkit::process::run;
use berth_testkit::server::{TestServer, berth};
use berth_tests::judge::{self, OnNode, Unpacked};
use berth_tests::{build, skopeo, source};
use std::path::Path;

/// Pushes an image to a repository with a rule and pulls what was built.
fn build_and_pull(server: &TestServer, layout: &Path, tag: &str) -> std::path::PathBuf {
    let repository = build::repository(server, "trees", tag);
    let _ = build::rule(server, &repository);
    skopeo::push(server, layout, tag, &format!("trees/{tag}:{tag}"));
    build::wait_success(server, &build::task_of_tag(server, &repository, tag));
    let pulled = server.scratch().join("pulled");
    skopeo::pull(server, &format!("trees/{tag}:{tag}_accelerated"), &pulled, tag);
    pulled
}

#[test]
fn a_real_image_keeps_its_tree() {
    let server = TestServer::start();
    let scratch = server.scratch();
    let (layout, _) = source::real_image(&scratch.join("source"));
    let pulled = build_and_pull(&server, layout.folder(), "real");
    let expected = Unpacked::by_umoci(layout.folder(), "real", scratch);
    let actual = judge::mount(&pulled, "real", scratch);
    // `opt` has an entry in the second layer; every directory has one.
    judge::assert_same_tree(&expected.path(), actual.path(), &[]);
    drop(actual);
    // The product's own judge agrees, on layouts and on references.
    run(berth()
        .args(["verify", "--source", &skopeo::local(layout.folder(), "real")])
        .args(["--target", &skopeo::local(&pulled, "real")]));
}

#[test]
fn an_image_of_hazards_keeps_its_tree() {
    let server = TestServer::start();
    let scratch = server.scratch();
    let mut layout = Layout::create(&scratch.join("source"));
    layout.add_tagged("hazards", &hazards::image());
    let pulled = build_and_pull(&server, layout.folder(), "hazards");

    // Hard links to files of lower layers are what only this snapshotter of containerd's unpacks.
    let expected = OnNode::unpack(layout.folder(), "native");
    let actual = judge::mount(&pulled, "hazards", scratch);
    judge::assert_same_tree_as_on_copying_node(&expected, actual.path());
    drop(actual);
    run(berth()
        .args(["verify", "--source", &skopeo::local(layout.folder(), "hazards")])
        .args(["--target", &skopeo::local(&pulled, "hazards")]));
}

#[test]
fn verify_tells_two_different_images_apart() {
    use berth_testkit::image::{Archive, Compression, Image, Layer};
    let scratch = tempfile::tempdir().expect("a folder");
    let mut layout = Layout::create(&scratch.path().join("source"));
    for (tag, content) in [("one", "content"), ("two", "contents")] {
        let tar = Archive::new().directory("etc").file("etc/file", content.as_bytes()).finish();
        layout.add_tagged(tag, &Image::new(vec![Layer { tar, compression: Compression::Zstd }]));
    }
    let built = scratch.path().join("built");
    for tag in ["one", "two"] {
        run(berth().args(["convert", "--format", "overlaybd"]).args([
            "--input",
            &skopeo::local(layout.folder(), tag),
            "--output",
            &skopeo::local(&built, tag),
        ]));
    }
    let verify = |source: &str, target: &str| {
        let mut command = berth();
        command.args(["verify", "--source", &skopeo::local(layout.folder(), source)]);
        command.args(["--target", &skopeo::local(&built, target)]);
        command
    };
    run(&mut verify("one", "one"));
    run(&mut verify("two", "two"));
    let found = berth_testkit::process::run_failing(&mut verify("one", "two"));
    assert!(found.contains("etc/file"), "the difference is named: {found}");
}
