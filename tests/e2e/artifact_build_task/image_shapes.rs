//! The shapes that images come in: several platforms, Docker's media types, layers shared between
//! images; and the same bytes out for the same bytes in.

use berth_testkit::image::{Archive, Compression, Image, Layer, Layout, MediaTypes, hazards};
use berth_testkit::process::run;
use berth_testkit::server::{TestServer, berth};
use berth_tests::judge::{self, Unpacked};
use berth_tests::{build, skopeo};
use serde_json::Value;

fn layer(path: &str, content: &str) -> Layer {
    let tar = Archive::new().directory("etc").file(path, content.as_bytes()).finish();
    Layer { tar, compression: Compression::Gzip }
}

fn platforms(index: &Value) -> Vec<String> {
    let manifests = index["manifests"].as_array().cloned().unwrap_or_default();
    let platform =
        |manifest: &Value| manifest["platform"]["architecture"].as_str().map(str::to_owned);
    manifests.iter().filter_map(platform).collect()
}

#[test]
fn an_index_of_platforms_becomes_an_index_of_accelerated_platforms() {
    let server = TestServer::start();
    let repository = build::repository(&server, "shapes", "platforms");
    let mut layout = Layout::create(&server.scratch().join("source"));
    let children = ["amd64", "arm64"].map(|architecture| {
        let mut image =
            Image::new(vec![layer("etc/common", "common"), layer("etc/arch", architecture)]);
        image.architecture = architecture.to_owned();
        let descriptor = layout.add_tagged(architecture, &image);
        (architecture, descriptor)
    });
    let index = layout.add_index(MediaTypes::Oci, &children);
    layout.tag("v1", &index);
    skopeo::push(&server, layout.folder(), "v1", "shapes/platforms:v1");
    build::wait_success(&server, &build::create_task(&server, &repository, "v1"));

    let registry = server.registry();
    for tag in ["v1_accelerated", "v1_containerd_accelerated"] {
        let target = registry.manifest("shapes/platforms", tag).expect("the tag").json();
        assert_eq!(platforms(&target), ["amd64", "arm64"], "{tag}: {target}");
    }
    // Each platform holds its own tree.
    let target = registry.manifest("shapes/platforms", "v1_accelerated").expect("the tag").json();
    for (number, (architecture, _)) in children.iter().enumerate() {
        let digest = target["manifests"][number]["digest"].as_str().expect("a digest");
        let pulled = server.scratch().join("pulled");
        skopeo::pull(&server, &format!("shapes/platforms@{digest}"), &pulled, architecture);
        let expected = Unpacked::by_umoci(layout.folder(), architecture, server.scratch());
        let actual = judge::mount(&pulled, architecture, server.scratch());
        judge::assert_same_tree(&expected.path(), actual.path(), &["."]);
        let config =
            &registry.manifest("shapes/platforms", digest).expect("a child").json()["config"];
        let config = config["digest"].as_str().expect("a digest");
        let config = registry.blob("shapes/platforms", config).expect("a config");
        let config: Value = serde_json::from_slice(&config).expect("JSON");
        assert_eq!(config["architecture"], *architecture);
        assert_eq!(config["config"]["Cmd"], serde_json::json!(["/bin/true"]), "{config}");
    }
}

#[test]
fn an_image_of_dockers_media_types_is_built_as_well() {
    let server = TestServer::start();
    let repository = build::repository(&server, "shapes", "docker");
    let mut layout = Layout::create(&server.scratch().join("source"));
    let mut image = Image::new(vec![layer("etc/one", "1"), layer("etc/two", "2")]);
    image.media_types = MediaTypes::Docker;
    let docker = layout.add(&image);
    layout.push(&docker, &server.registry(), "shapes/docker", "v1").expect("a push");
    build::wait_success(&server, &build::create_task(&server, &repository, "v1"));

    let target = server.registry().manifest("shapes/docker", "v1_accelerated").expect("the tag");
    assert_eq!(target.json()["layers"].as_array().map(Vec::len), Some(2));
    let folder = server.scratch().join("folder");
    skopeo::pull_to(&server, "shapes/docker:v1_accelerated", &format!("dir:{}", folder.display()));
    let layers = target.json()["layers"].as_array().cloned().unwrap_or_default();
    let digest = |layer: &Value| layer["digest"].as_str().expect("a digest").replace("sha256:", "");
    let layers: Vec<_> = layers.iter().map(|layer| folder.join(digest(layer))).collect();
    let device = server.scratch().join("docker.device");
    judge::flatten(&layers, &device);
    let mounted = berth_testkit::mount::Mounted::ext4(&device);
    let read = |name: &str| std::fs::read_to_string(mounted.path().join(name)).expect("a file");
    assert_eq!((read("etc/one"), read("etc/two")), ("1".to_owned(), "2".to_owned()));
}

#[test]
fn the_same_input_makes_the_same_bytes_and_layers_are_converted_once() {
    let server = TestServer::start();
    let mut layout = Layout::create(&server.scratch().join("source"));
    layout.add_tagged("v1", &hazards::image());
    // The same image without a server, twice.
    let outputs = ["one", "two"].map(|name| {
        let folder = server.scratch().join(name);
        run(berth().args(["convert", "--format", "overlaybd"]).args([
            "--input",
            &skopeo::local(layout.folder(), "v1"),
            "--output",
            &skopeo::local(&folder, "v1"),
        ]));
        judge::layer_files(&folder, "v1")
    });
    let names = |files: &[std::path::PathBuf]| -> Vec<String> {
        let name = |file: &std::path::PathBuf| {
            file.file_name().expect("a name").to_string_lossy().into_owned()
        };
        files.iter().map(name).collect()
    };
    assert_eq!(names(&outputs[0]), names(&outputs[1]));

    // And by two builds on a server, in two repositories: the second finds the layers of the first.
    let mut logs = Vec::new();
    for name in ["first", "second"] {
        let repository = build::repository(&server, "shapes", name);
        skopeo::push(&server, layout.folder(), "v1", &format!("shapes/{name}:v1"));
        let task = build::create_task(&server, &repository, "v1");
        build::wait_success(&server, &task);
        let target = server.registry().manifest(&format!("shapes/{name}"), "v1_accelerated");
        let target = target.expect("the tag").json();
        let layers = target["layers"].as_array().cloned().unwrap_or_default();
        let digest =
            |layer: &Value| layer["digest"].as_str().expect("a digest").replace("sha256:", "");
        assert_eq!(layers.iter().map(digest).collect::<Vec<_>>(), names(&outputs[0]), "{name}");
        logs.push(build::log(&server, &task));
    }
    let again = logs[1].iter().filter(|line| line.contains("converted before")).count();
    assert_eq!(again, 3, "{logs:#?}");
}
