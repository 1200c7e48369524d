//! The server is killed without warning, again and again, in the middle of a push, of a build and of a
//! subscription: nothing that was acknowledged is missing, and every task reaches a true end.

use berth_testkit::image::{Compression, Image, Layout};
use berth_testkit::process::run;
use berth_testkit::registry::Registry;
use berth_testkit::server::{TestServer, berth};
use berth_testkit::upstream::DockerRegistry;
use berth_tests::subscription::{self, provider};
use berth_tests::{build, skopeo, source};
use rand::Rng;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const KILLS: usize = 10;

/// How many of the kills have to hit unfinished work for the test to say anything.
const HITS: usize = KILLS / 2;

/// Pulls the plug at a random moment of something that takes `usual` when it is left alone.
fn kill_within(server: &mut TestServer, usual: Duration) {
    std::thread::sleep(usual.mul_f64(rand::rng().random_range(0.0..0.9)));
    server.kill9();
}

/// What a server has answered 201 to.
#[derive(Debug, Default)]
struct Acknowledged {
    blobs: Vec<(String, String)>,
    manifests: Vec<(String, String, String)>,
}

impl Acknowledged {
    fn assert_present(&self, registry: &Registry) {
        for (repository, digest) in &self.blobs {
            assert!(registry.blob(repository, digest).is_some(), "{repository} lost {digest}");
        }
        for (repository, tag, digest) in &self.manifests {
            let found = registry.manifest(repository, tag);
            let found = found.unwrap_or_else(|| panic!("{repository} lost {tag}"));
            assert_eq!(&found.digest, digest, "{repository}:{tag}");
        }
    }
}

/// Pushes an image blob by blob and notes what is acknowledged, until the server is gone.
fn push_noting(
    layout: &Layout,
    digest: &str,
    registry: &Registry,
    repository: &str,
    acknowledged: &Mutex<Acknowledged>,
) -> Result<(), String> {
    let document = layout.blob(digest);
    let manifest: Value = serde_json::from_slice(&document).expect("JSON");
    let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
    for blob in layers.iter().chain([&manifest["config"]]) {
        let digest = blob["digest"].as_str().expect("a digest");
        registry.push_blob(repository, &layout.blob(digest))?;
        let mut noted = acknowledged.lock().expect("no panic before");
        noted.blobs.push((repository.to_owned(), digest.to_owned()));
    }
    let media_type = manifest["mediaType"].as_str().expect("a media type");
    registry.push_manifest(repository, "v1", media_type, &document)?;
    let mut noted = acknowledged.lock().expect("no panic before");
    noted.manifests.push((repository.to_owned(), "v1".to_owned(), digest.to_owned()));
    Ok(())
}

#[test]
fn a_killed_push_loses_nothing_that_was_acknowledged() {
    let mut server = TestServer::start();
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    let registry = server.registry();
    let mut unfinished = Vec::new();
    let mut hits = 0;
    for round in 0..KILLS {
        let mut layout = Layout::create(&server.scratch().join(format!("push-{round}")));
        let layers = (0..8).map(|_| source::random_layer(4, Compression::Gzip)).collect();
        let image = layout.add_tagged("v1", &Image::new(layers));
        let repository = format!("crash/push-{round}");
        let pusher = {
            let (registry, acknowledged) = (registry.clone(), Arc::clone(&acknowledged));
            let (digest, repository) = (image.digest.clone(), repository.clone());
            std::thread::spawn(move || {
                let outcome = push_noting(&layout, &digest, &registry, &repository, &acknowledged);
                (layout, outcome)
            })
        };
        // After a random number of blobs, in the middle of the next.
        let reached = rand::rng().random_range(0..8);
        let before = acknowledged.lock().expect("no panic before").blobs.len();
        while acknowledged.lock().expect("no panic before").blobs.len() < before + reached {
            assert!(!pusher.is_finished(), "the push ends before {reached} blobs");
            std::thread::sleep(Duration::from_millis(1));
        }
        kill_within(&mut server, Duration::from_millis(60));
        let (layout, outcome) = pusher.join().expect("the push ends");
        hits += usize::from(outcome.is_err());
        server.restart();
        acknowledged.lock().expect("no panic before").assert_present(&registry);
        unfinished.push((layout, image, repository));
    }
    assert!(hits >= HITS, "only {hits} kills met a push");
    // Every push can be finished after all, and what was there before it still is.
    for (layout, image, repository) in unfinished {
        push_noting(&layout, &image.digest, &registry, &repository, &acknowledged)
            .expect("the server takes it");
    }
    server.restart();
    let acknowledged = acknowledged.lock().expect("no panic before");
    assert!(acknowledged.manifests.len() >= KILLS);
    acknowledged.assert_present(&registry);
}

#[test]
fn a_killed_build_is_finished_after_the_restart() {
    let mut server = TestServer::start();
    let repository = build::repository(&server, "crash", "build");
    let mut layout = Layout::create(&server.scratch().join("source"));
    let mut tags = Vec::new();
    for round in 0..=KILLS {
        let layer = |size| source::random_layer(size, Compression::Gzip);
        let tag = format!("v{round}");
        layout.add_tagged(&tag, &Image::new(vec![layer(40), layer(10)]));
        skopeo::push(&server, layout.folder(), &tag, &format!("crash/build:{tag}"));
        tags.push(tag);
    }
    // One more, which is left alone, tells how long a build takes here.
    let begin = Instant::now();
    let spared = tags.pop().expect("a tag");
    build::wait_success(&server, &build::create_task(&server, &repository, &spared));
    let usual = begin.elapsed();
    let (mut tasks, mut hits) = (Vec::new(), 0);
    for tag in &tags {
        let task = build::create_task(&server, &repository, tag);
        kill_within(&mut server, usual);
        server.restart();
        let status = build::task(&server.api(), &server.credentials().instance_id, &task);
        hits += usize::from(status["TaskStatus"] != "SUCCESS");
        tasks.push(task);
    }
    assert!(hits >= HITS, "only {hits} kills met a build");
    for (task, tag) in tasks.iter().zip(&tags) {
        let ended = build::wait_success(&server, task);
        let [begin, end] =
            ["StartTime", "EndTime"].map(|name| ended[name].as_i64().expect("a time"));
        assert!(begin <= end, "{ended}");
        let pulled = server.scratch().join(format!("pulled-{tag}"));
        skopeo::pull(&server, &format!("crash/build:{tag}_accelerated"), &pulled, tag);
        run(berth()
            .args(["verify", "--source", &skopeo::local(layout.folder(), tag)])
            .args(["--target", &skopeo::local(&pulled, tag)]));
        std::fs::remove_dir_all(pulled).expect("a folder can be removed");
    }
    assert_eq!(build::tasks(&server, &repository).len(), KILLS + 1, "one for each, and no others");
}

#[test]
fn a_killed_subscription_is_finished_after_the_restart() {
    let upstream = DockerRegistry::start();
    let source_registry = upstream.registry();
    let mut server = TestServer::start_with(&provider("QUAY", &upstream.host()));
    let mut layout = Layout::create(&server.scratch().join("upstream"));
    let tags = ["1.0.0", "1.1.0", "1.2.0"];
    let mut rules = Vec::new();
    for round in 0..=KILLS {
        // Content of its own in every round, so that every round has all of it to copy.
        let from = format!("round-{round}");
        for tag in tags {
            let layers = (0..3).map(|_| source::random_layer(6, Compression::None)).collect();
            let image = layout.add_tagged(tag, &Image::new(layers));
            layout.push(&image, &source_registry, &format!("vendor/{from}"), tag).expect("a push");
        }
        let _ = build::repository(&server, "crash", &from);
        rules.push(subscription::rule(
            &server,
            &subscription::Rule {
                target: ("crash", &from),
                domain: None,
                source: ("vendor", &from),
                tag_regexp: r"1\.\d\.0",
                tag_count: "3",
                platforms: &["linux/amd64"],
            },
        ));
    }
    // The last is left alone and tells how long a task takes here.
    let begin = Instant::now();
    let spared = rules.pop().expect("a rule");
    let told = subscription::wait(&server, &subscription::start(&server, &spared));
    assert_eq!(told["TaskResult"], "SUCCESS", "{told}");
    let usual = begin.elapsed();
    let (mut tasks, mut hits) = (Vec::new(), 0);
    for rule in &rules {
        let task = subscription::start(&server, rule);
        kill_within(&mut server, usual);
        server.restart();
        hits += usize::from(subscription::task(&server, &task)["TaskStatus"] != "COMPLETED");
        tasks.push(task);
    }
    assert!(hits >= HITS, "only {hits} kills met a subscription");
    for (round, task) in tasks.iter().enumerate() {
        let told = subscription::wait(&server, task);
        assert_eq!(told["TaskResult"], "SUCCESS", "{told}");
        assert_eq!((&told["TagTotalCount"], &told["TagSubscriptionCount"]), (&3.into(), &3.into()));
        let rows = subscription::results(&server, task);
        let expected =
            tags.map(|tag| (tag.to_owned(), "COMPLETED".to_owned(), "SUCCESS".to_owned()));
        assert_eq!(rows, expected);
        for tag in tags {
            let there = source_registry.manifest(&format!("vendor/round-{round}"), tag);
            let here = server.registry().manifest(&format!("crash/round-{round}"), tag);
            let (there, here) = (there.expect("at the source"), here.expect("here"));
            assert_eq!(here.digest, there.digest);
            for layer in here.json()["layers"].as_array().expect("layers") {
                let digest = layer["digest"].as_str().expect("a digest");
                let blob = server.registry().blob(&format!("crash/round-{round}"), digest);
                assert!(blob.is_some(), "round {round}: {tag} lost {digest}");
            }
        }
    }
}
