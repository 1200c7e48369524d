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

/// Kills that have to hit unfinished work. One that comes too late counts for nothing.
const KILLS: usize = 10;

/// The most rounds that a test takes for that.
const ROUNDS: usize = 4 * KILLS;

/// Pulls the plug at a random moment of something that takes `usual` when it is left alone.
fn kill_within(server: &mut TestServer, usual: Duration) {
    std::thread::sleep(usual.mul_f64(rand::rng().random_range(0.0..0.9)));
    server.kill9();
}

/// Counts the kills that met unfinished work, and learns from those that came too late.
#[derive(Debug)]
struct Aim {
    hits: usize,
    rounds: usize,
    /// How long the work takes.
    usual: Duration,
}

impl Aim {
    fn new(usual: Duration) -> Aim {
        Aim { hits: 0, rounds: 0, usual }
    }

    /// Whether another round is needed.
    fn goes_on(&self) -> bool {
        assert!(self.rounds < ROUNDS, "{} of {} kills met their work", self.hits, self.rounds);
        self.hits < KILLS
    }

    fn record(&mut self, hit: bool) {
        self.rounds += 1;
        if hit {
            self.hits += 1;
        } else {
            self.usual = self.usual.mul_f64(0.7);
        }
    }
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
) -> anyhow::Result<()> {
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
    let mut aim = Aim::new(Duration::from_millis(60));
    while aim.goes_on() {
        let round = aim.rounds;
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
        kill_within(&mut server, aim.usual);
        let (layout, outcome) = pusher.join().expect("the push ends");
        aim.record(outcome.is_err());
        server.restart();
        acknowledged.lock().expect("no panic before").assert_present(&registry);
        unfinished.push((layout, image, repository));
    }
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
    let mut push_source = |server: &TestServer, tag: &str| {
        let layer = |size| source::random_layer(size, Compression::Gzip);
        layout.add_tagged(tag, &Image::new(vec![layer(40), layer(10)]));
        skopeo::push(server, layout.folder(), tag, &format!("crash/build:{tag}"));
    };
    // The first is left alone and tells how long a build takes here.
    push_source(&server, "spared");
    let begin = Instant::now();
    build::wait_success(&server, &build::create_task(&server, &repository, "spared"));
    let mut aim = Aim::new(begin.elapsed());
    let mut tasks = Vec::new();
    while aim.goes_on() {
        let tag = format!("v{}", aim.rounds);
        push_source(&server, &tag);
        let task = build::create_task(&server, &repository, &tag);
        kill_within(&mut server, aim.usual);
        server.restart();
        let status = build::task(&server.api(), &server.credentials().instance_id, &task);
        aim.record(status["TaskStatus"] != "SUCCESS");
        tasks.push((task, tag));
    }
    for (task, tag) in &tasks {
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
    let all = build::tasks(&server, &repository).len();
    assert_eq!(all, tasks.len() + 1, "one for each, and no others");
}

#[test]
fn a_killed_subscription_is_finished_after_the_restart() {
    let upstream = DockerRegistry::start();
    let source_registry = upstream.registry();
    let mut server = TestServer::start_with(&provider("QUAY", &upstream.host()));
    let mut layout = Layout::create(&server.scratch().join("upstream"));
    let tags = ["1.0.0", "1.1.0", "1.2.0"];
    // Content of its own in every round, so that every round has all of it to copy.
    let mut rule = |server: &TestServer, from: &str| {
        for tag in tags {
            let layers = (0..3).map(|_| source::random_layer(6, Compression::None)).collect();
            let image = layout.add_tagged(tag, &Image::new(layers));
            layout.push(&image, &source_registry, &format!("vendor/{from}"), tag).expect("a push");
        }
        let _ = build::repository(server, "crash", from);
        subscription::rule(
            server,
            &subscription::Rule {
                target: ("crash", from),
                domain: None,
                source: ("vendor", from),
                tag_regexp: r"1\.\d\.0",
                tag_count: "3",
                platforms: &["linux/amd64"],
            },
        )
    };
    // The first is left alone and tells how long a task takes here.
    let spared = rule(&server, "spared");
    let begin = Instant::now();
    let told = subscription::wait(&server, &subscription::start(&server, &spared));
    assert_eq!(told["TaskResult"], "SUCCESS", "{told}");
    let mut aim = Aim::new(begin.elapsed());
    let mut tasks = Vec::new();
    while aim.goes_on() {
        let rule = rule(&server, &format!("round-{}", aim.rounds));
        let task = subscription::start(&server, &rule);
        kill_within(&mut server, aim.usual);
        server.restart();
        aim.record(subscription::task(&server, &task)["TaskStatus"] != "COMPLETED");
        tasks.push(task);
    }
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
