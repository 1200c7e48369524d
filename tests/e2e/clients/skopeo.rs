//! skopeo: copies both ways, mirrors, lists and deletes, always byte for byte.

use crate::{BOTH_WAYS, start};
use berth_testkit::image::{Descriptor, Image, Layout, MediaTypes, hazards};
use berth_testkit::process::{run, run_failing};
use berth_testkit::server::TestServer;
use berth_tests::guide::Reader;
use berth_tests::skopeo;
use std::path::Path;
use std::process::Command;

#[test]
fn as_the_guide_says() {
    for way in BOTH_WAYS {
        let (server, image) = start(way, MediaTypes::Oci);
        let mut reader = Reader::new(&server);
        reader.with("REGISTRY_AUTH_FILE", &reader.work().join("auth.json").display().to_string());
        let _ = reader.follow("Podman", "skopeo");
        let json = |name: &str| -> serde_json::Value {
            serde_json::from_slice(&reader.read(name)).expect("JSON")
        };
        assert_eq!(json("inspect.json")["Digest"], image.digest);
        assert_eq!(json("tags.json")["Tags"], serde_json::json!(["v1"]));
        let in_layout =
            |digest: &str| reader.read(&format!("layout/blobs/{}", digest.replace(':', "/")));
        let registry = server.registry();
        for repository in ["team/skopeo", "mirror/skopeo"] {
            let stored = registry.manifest(repository, "v1").expect("the tag is there");
            assert_eq!(stored.digest, image.digest, "{repository}");
            assert_eq!(stored.body, in_layout(&image.digest), "{repository}");
            let document = stored.json();
            let layers = document["layers"].as_array().expect("layers");
            for blob in layers.iter().chain([&document["config"]]) {
                let digest = blob["digest"].as_str().expect("a digest");
                let bytes = registry.blob(repository, digest).expect("the blob is there");
                assert_eq!(bytes, in_layout(digest), "{repository} {digest}");
            }
        }
        assert!(registry.manifest("other/skopeo", "v2").is_none(), "deleted");
    }
}

#[test]
fn skopeo_keeps_every_kind_of_image_byte_for_byte() {
    let server = TestServer::start();
    let mut layout = Layout::create(&server.scratch().join("source"));
    let oci = layout.add_tagged("oci", &hazards::image());
    let mut docker = Image::tiny("docker");
    docker.media_types = MediaTypes::Docker;
    let docker = layout.add_tagged("docker", &docker);
    let mut arm = Image::tiny("arm");
    arm.architecture = "arm64".to_owned();
    let arm = layout.add(&arm);
    let index = layout.add_index(MediaTypes::Oci, &[("amd64", oci.clone()), ("arm64", arm)]);
    layout.tag("index", &index);
    for (tag, image) in [("oci", &oci), ("index", &index)] {
        skopeo::push(&server, layout.folder(), tag, &format!("team/skopeo:{tag}"));
        assert_stored(&server, tag, image);
        let pulled = server.scratch().join("pulled");
        skopeo::pull(&server, &format!("team/skopeo:{tag}"), &pulled, tag);
        let stored = |folder: &Path| folder.join("blobs").join(image.digest.replace(':', "/"));
        run(Command::new("cmp").args([stored(layout.folder()), stored(&pulled)]));
    }
    // skopeo keeps Docker's manifests in its own kind of folder only.
    let [folder, pulled] = ["docker", "docker-pulled"].map(|name| server.scratch().join(name));
    layout.export(&docker, &folder);
    skopeo::push_from(&server, &format!("dir:{}", folder.display()), "team/skopeo:docker");
    assert_stored(&server, "docker", &docker);
    skopeo::pull_to(&server, "team/skopeo:docker", &format!("dir:{}", pulled.display()));
    run(Command::new("diff").arg("--recursive").args([folder, pulled]));

    let image = format!("docker://{}/team/skopeo", server.host());
    let mut list = Command::new("skopeo");
    list.args(["list-tags", "--tls-verify=false", "--creds", &server.user_and_password(), &image]);
    let listed: serde_json::Value = serde_json::from_str(&run(&mut list)).expect("JSON");
    assert_eq!(listed["Tags"], serde_json::json!(["docker", "index", "oci"]));
    let mut delete = Command::new("skopeo");
    let oci = format!("{image}:oci");
    delete.args(["delete", "--tls-verify=false", "--creds", &server.user_and_password(), &oci]);
    run(&mut delete);
    assert!(server.registry().manifest("team/skopeo", "oci").is_none());
}

fn assert_stored(server: &TestServer, tag: &str, image: &Descriptor) {
    let stored = server.registry().manifest("team/skopeo", tag).expect("the tag is there");
    assert_eq!(stored.digest, image.digest, "{tag}");
    assert_eq!(stored.media_type, image.media_type, "{tag}");
}

#[test]
fn a_wrong_password_and_no_password_are_refused() {
    let server = TestServer::start();
    let mut layout = Layout::create(&server.scratch().join("source"));
    layout.add_tagged("v1", &Image::tiny("secret"));
    skopeo::push(&server, layout.folder(), "v1", "team/private:v1");
    let image = format!("docker://{}/team/private:v1", server.host());
    for credentials in [&["--no-creds"][..], &["--creds", "someone:wrong"]] {
        let mut inspect = Command::new("skopeo");
        inspect.args(["inspect", "--tls-verify=false"]).args(credentials).arg(&image);
        run_failing(&mut inspect);
    }
}
