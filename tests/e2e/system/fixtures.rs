//! The fixtures themselves are right: shown against software of other makers, without Berth.

use berth_testkit::engine::{Containerd, Docker};
use berth_testkit::image::{Image, Layout, MediaTypes, hazards};
use berth_testkit::process::run;
use berth_testkit::upstream::DockerRegistry;
use berth_tests::judge::Unpacked;
use berth_tests::{skopeo, source, tool};

#[test]
fn another_registry_takes_and_returns_every_kind_of_image() {
    let upstream = DockerRegistry::start();
    let scratch = tempfile::tempdir().expect("a folder");
    let mut layout = Layout::create(&scratch.path().join("layout"));
    let oci = layout.add_tagged("oci", &Image::tiny("oci"));
    let mut docker = Image::tiny("docker");
    docker.media_types = MediaTypes::Docker;
    let docker = layout.add_tagged("docker", &docker);
    let mut arm = Image::tiny("arm");
    arm.architecture = "arm64".to_owned();
    let arm = layout.add(&arm);
    let index = layout.add_index(MediaTypes::Oci, &[("amd64", oci.clone()), ("arm64", arm)]);
    layout.tag("index", &index);
    for (tag, image) in [("oci", &oci), ("docker", &docker), ("index", &index)] {
        layout.push(image, &upstream.registry(), "some/image", tag).expect("the registry takes it");
        let stored =
            upstream.registry().manifest("some/image", tag).expect("the manifest is there");
        assert_eq!(
            (stored.digest, stored.media_type),
            (image.digest.clone(), image.media_type.clone())
        );
        let from = format!("docker://{}/some/image:{tag}", upstream.host());
        let to = skopeo::local(&scratch.path().join("pulled"), tag);
        run(skopeo::copy().args(["--src-tls-verify=false", &from, &to]));
    }
    let mut tags = upstream.registry().tags("some/image");
    tags.sort();
    assert_eq!(tags, ["docker", "index", "oci"]);
}

#[test]
fn engines_pull_and_run() {
    let upstream = DockerRegistry::start();
    let scratch = tempfile::tempdir().expect("a folder");
    let mut layout = Layout::create(scratch.path());
    let mut image = source::runnable_image();
    for (tag, types) in [("oci", MediaTypes::Oci), ("docker", MediaTypes::Docker)] {
        image.media_types = types;
        let descriptor = layout.add_tagged(tag, &image);
        layout
            .push(&descriptor, &upstream.registry(), "run/me", tag)
            .expect("the registry takes it");
    }
    let docker = Docker::start();
    let containerd = Containerd::start();
    for tag in ["oci", "docker"] {
        let name = format!("{}/run/me:{tag}", upstream.host());
        let version = docker.run(&["run", "--rm", "--network", "none", &name]);
        let _ = containerd.run(&["images", "pull", "--plain-http", &name]);
        assert_eq!(containerd.run(&["run", "--rm", &name, tag]), version);
        assert!(!version.trim().is_empty());
    }
}

#[test]
fn umoci_unpacks_the_image_of_hazards() {
    let scratch = tempfile::tempdir().expect("a folder");
    let mut layout = Layout::create(&scratch.path().join("layout"));
    layout.add_tagged("hazards", &hazards::plain_image());
    let unpacked = Unpacked::by_umoci(layout.folder(), "hazards", scratch.path());
    // The comparison finds nothing in a tree against itself, and finds a single changed byte.
    let compare = |expected: &std::path::Path| {
        let mut command = berth_testkit::python::script_as_root(&tool("compare_trees.py"));
        command.arg(expected).arg(unpacked.path());
        command
    };
    run(&mut compare(&unpacked.path()));
    let copy = scratch.path().join("copy");
    run(berth_testkit::process::as_root("cp").arg("-a").arg(unpacked.path()).arg(&copy));
    run(&mut compare(&copy));
    let script =
        "printf X | dd of=\"$0\" bs=1 seek=5 conv=notrunc status=none && touch -r \"$1\" \"$0\"";
    run(berth_testkit::process::as_root("sh")
        .args(["-c", script])
        .args([copy.join("swap/empty-file"), unpacked.path().join("swap/empty-file")]));
    let found = berth_testkit::process::run_failing(&mut compare(&copy));
    assert!(found.contains("swap/empty-file: content"), "{found}");
    assert!(found.contains(" 1 differences"), "{found}");
    run(berth_testkit::process::as_root("rm").arg("-rf").arg(&copy));
}
