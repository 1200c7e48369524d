//! Cancelling a running build ends it within two seconds and leaves nothing behind.

use berth_testkit::image::{Compression, Image, Layout};
use berth_testkit::server::TestServer;
use berth_tests::{build, skopeo, source};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// Every file below a folder that is no part of the database, with its size.
fn files(folder: &Path) -> BTreeSet<(String, u64)> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, metadata) = (entry.path(), entry.metadata());
            let name = path.to_string_lossy().into_owned();
            match metadata {
                Ok(metadata) if metadata.is_dir() => folders.push(path),
                // What grows with requests, whatever they are about.
                Ok(_) if name.contains(".db") || name.contains("/nonces/") => {}
                Ok(metadata) => drop(found.insert((name, metadata.len()))),
                Err(_) => {}
            }
        }
    }
    found
}

#[test]
fn a_cancelled_build_stops_at_once_and_leaves_nothing() {
    let server = TestServer::start();
    let repository = build::repository(&server, "team", "slow");
    let mut layout = Layout::create(&server.scratch().join("slow"));
    let layer = || source::random_layer(300, Compression::None);
    layout.add_tagged("slow", &Image::new(vec![layer(), layer()]));
    skopeo::push(&server, layout.folder(), "slow", "team/slow:v1");
    let before = files(server.data_folder());

    let task = build::create_task(&server, &repository, "v1");
    let (api, instance) = (server.api(), server.credentials().instance_id.clone());
    let begin = Instant::now();
    while build::task(&api, &instance, &task)["TaskStatus"] != "BUILDING" {
        assert!(begin.elapsed() < Duration::from_secs(20), "it does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    // In the middle of a layer.
    std::thread::sleep(Duration::from_millis(700));
    let cancelled = Instant::now();
    let _ =
        api.call("CancelArtifactBuildTask", &[("InstanceId", &instance), ("BuildTaskId", &task)]);
    let ended = build::wait(&server, &task);
    let took = cancelled.elapsed();
    assert_eq!(ended["TaskStatus"], "FAILED", "{ended}");
    assert_eq!(ended["Canceled"], true, "{ended}");
    assert!(took < Duration::from_secs(2), "it took {took:?}");
    let log = build::log(&server, &task);
    let last = log.last().expect("a log").to_lowercase();
    assert!(last.contains("cancel"), "the last line says so: {log:?}");

    assert_eq!(server.registry().tags("team/slow"), ["v1"]);
    std::thread::sleep(Duration::from_secs(2) - took.min(Duration::from_secs(2)));
    assert_eq!(files(server.data_folder()), before, "the data folder is as it was");

    // Cancelling what is over is refused, and a new build of the same tag succeeds.
    let again = api
        .try_call("CancelArtifactBuildTask", &[("InstanceId", &instance), ("BuildTaskId", &task)])
        .expect("the server answers");
    assert_eq!(again.body["IsSuccess"], false, "{}", again.body);
    build::wait_success(&server, &build::create_task(&server, &repository, "v1"));
}

#[test]
fn a_build_that_has_not_begun_is_cancelled_too() {
    let server = TestServer::start_with("[build]\nworkers = 1\n");
    let repository = build::repository(&server, "team", "queue");
    let mut layout = Layout::create(&server.scratch().join("queue"));
    layout.add_tagged("ahead", &Image::new(vec![source::random_layer(200, Compression::None)]));
    layout.add_tagged("behind", &Image::tiny("behind"));
    for tag in ["ahead", "behind"] {
        skopeo::push(&server, layout.folder(), tag, &format!("team/queue:{tag}"));
    }
    let ahead = build::create_task(&server, &repository, "ahead");
    let behind = build::create_task(&server, &repository, "behind");
    let (api, instance) = (server.api(), server.credentials().instance_id.clone());
    let _ =
        api.call("CancelArtifactBuildTask", &[("InstanceId", &instance), ("BuildTaskId", &behind)]);
    let ended = build::task(&api, &instance, &behind);
    assert_eq!((&ended["TaskStatus"], &ended["Canceled"]), (&"FAILED".into(), &true.into()));
    build::wait_success(&server, &ahead);
    let tags = server.registry().tags("team/queue");
    assert!(!tags.contains(&"behind_accelerated".to_owned()), "{tags:?}");
}
