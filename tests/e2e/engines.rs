//! Container engines as users have them: a real Docker engine and a real containerd.

use berth_testkit::engine::{Containerd, Docker};
use berth_testkit::image::{Layout, MediaTypes};
use berth_testkit::server::TestServer;
use berth_tests::{skopeo, source};

#[test]
fn docker_logs_in_pushes_pulls_and_runs() {
    let server = TestServer::start();
    let docker = Docker::start();
    let mut layout = Layout::create(&server.scratch().join("source"));
    let mut image = source::runnable_image();
    image.media_types = MediaTypes::Docker;
    let image = layout.add(&image);
    let folder = server.scratch().join("folder");
    layout.export(&image, &folder);
    skopeo::push_from(&server, &format!("dir:{}", folder.display()), "team/runs:v1");

    let credentials = server.credentials();
    let (user, secret) = (&credentials.access_key_id, &credentials.access_key_secret);
    let said = docker.run(&["login", "-u", user, "-p", secret, &server.host()]);
    assert!(said.contains("Login Succeeded"), "{said}");
    let name = format!("{}/team/runs:v1", server.host());
    let _ = docker.run(&["pull", &name]);
    let version = docker.run(&["run", "--rm", "--network", "none", &name]);
    assert!(!version.trim().is_empty());

    // Pushed by the engine itself, forgotten by it, and pulled again.
    let again = format!("{}/team/pushed:v2", server.host());
    let _ = docker.run(&["tag", &name, &again]);
    let _ = docker.run(&["push", &again]);
    let _ = docker.run(&["image", "rm", "--force", &name, &again]);
    assert_eq!(docker.run(&["run", "--rm", "--network", "none", &again]), version);
    let digest = server.registry().manifest("team/pushed", "v2").expect("the tag").digest;
    let known = docker.run(&["image", "inspect", "--format", "{{json .RepoDigests}}", &again]);
    assert!(known.contains(&digest), "{known} names {digest}");
}

#[test]
fn containerd_pulls_pushes_and_runs() {
    let server = TestServer::start();
    let containerd = Containerd::start();
    let mut layout = Layout::create(&server.scratch().join("source"));
    layout.add_tagged("v1", &source::runnable_image());
    skopeo::push(&server, layout.folder(), "v1", "team/runs:v1");
    let user = server.user_and_password();
    let name = format!("{}/team/runs:v1", server.host());
    let _ = containerd.run(&["images", "pull", "--plain-http", "--user", &user, &name]);
    let version = containerd.run(&["run", "--rm", &name, "first"]);
    assert!(!version.trim().is_empty());

    let again = format!("{}/team/pushed:v2", server.host());
    let _ = containerd.run(&["images", "push", "--plain-http", "--user", &user, &again, &name]);
    let _ = containerd.run(&["images", "rm", &name]);
    let _ = containerd.run(&["images", "pull", "--plain-http", "--user", &user, &again]);
    assert_eq!(containerd.run(&["run", "--rm", &again, "second"]), version);
    let registry = server.registry();
    let [first, second] = [("team/runs", "v1"), ("team/pushed", "v2")]
        .map(|(repository, tag)| registry.manifest(repository, tag).expect("the tag").digest);
    assert_eq!(first, second);
}
