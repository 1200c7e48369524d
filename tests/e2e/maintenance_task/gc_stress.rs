//! Sixteen clients push, mount, pull and delete while everything is collected every second.

use super::gc::{MANIFEST, gc, report};
use berth_testkit::registry::{Registry, sha256};
use berth_tests::places::Place;
use berth_tests::source::random_bytes;
use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const CLIENTS: usize = 16;
const REPOSITORIES: [&str; 4] = ["gc/one", "gc/two", "gc/three", "gc/four"];
const TAGS: usize = 6;
/// Different layers that there are: few, so that clients meet at the same ones.
const LAYERS: usize = 60;

/// Collections come every second; what loses its use goes after this.
const GRACE: Duration = Duration::from_secs(8);

fn config() -> String {
    format!("[gc]\ninterval = 1\ngrace = {}\nupload_pause = 60\n", GRACE.as_secs())
}

fn seconds() -> u64 {
    let seconds = std::env::var("BERTH_STRESS_SECONDS").ok();
    seconds.map_or(20, |text| text.parse().expect("BERTH_STRESS_SECONDS is a number"))
}

/// What the clients did, and what must not happen.
#[derive(Debug, Default)]
struct Tally {
    pushes: AtomicU64,
    found: AtomicU64,
    mounted: AtomicU64,
    uploaded: AtomicU64,
    pulls: AtomicU64,
    blobs: AtomicU64,
    deletes: AtomicU64,
    /// Pushes that took so long that no promise covered them, and failed.
    late: AtomicU64,
    broken: Mutex<Vec<String>>,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Tally {
    fn broke(&self, what: String) {
        self.broken.lock().expect("no panic before").push(what);
    }
}

/// The bytes of a layer: the same for everybody.
fn layer(number: usize) -> Vec<u8> {
    let line = format!("layer {number}\n");
    line.bytes().cycle().take(20_000 + 700 * number).collect()
}

struct Client {
    registry: Registry,
    tally: Arc<Tally>,
}

impl Client {
    fn status(&self, method: &str, path: &str) -> u16 {
        match self.registry.request(method, path).send() {
            Ok(answer) => answer.status().as_u16(),
            Err(error) => {
                self.tally.broke(format!("{method} {path}: {error}"));
                0
            }
        }
    }

    fn run(&self, until: Instant) {
        let mut random = rand::rng();
        while Instant::now() < until {
            let repository = REPOSITORIES.choose(&mut random).expect("a repository");
            let tag = format!("v{}", random.random_range(0..TAGS));
            match random.random_range(0..10) {
                0..4 => self.push(repository, &tag),
                4..8 => self.pull(repository, &tag),
                _ => self.delete(repository, &tag),
            }
        }
    }

    /// As clients push: what is there is not sent, what is elsewhere is mounted.
    fn push(&self, repository: &str, tag: &str) {
        let mut random = rand::rng();
        let begin = Instant::now();
        let number = random.random_range(0..LAYERS);
        let mut contents = vec![format!("{{\"image\":{number}}}").into_bytes()];
        contents.extend((number..number + 3).map(|number| layer(number % LAYERS)));
        let mut descriptors = Vec::new();
        for content in &contents {
            let digest = sha256(content);
            if !self.bring(repository, &digest, content) {
                return;
            }
            descriptors.push(json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": digest, "size": content.len(),
            }));
        }
        let mut config = descriptors.remove(0);
        config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": descriptors,
        });
        let body = manifest.to_string();
        match self.registry.push_manifest(repository, tag, MANIFEST, body.as_bytes()) {
            Ok(_) => count(&self.tally.pushes),
            // An answer holds for half the grace.
            Err(_) if begin.elapsed() > GRACE / 2 => count(&self.tally.late),
            Err(error) => self.tally.broke(format!("push to {repository}:{tag}: {error}")),
        }
    }

    fn bring(&self, repository: &str, digest: &str, content: &[u8]) -> bool {
        if self.status("HEAD", &format!("/v2/{repository}/blobs/{digest}")) == 200 {
            count(&self.tally.found);
            return true;
        }
        let from = REPOSITORIES.choose(&mut rand::rng()).expect("a repository");
        let mount = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={from}");
        if self.status("POST", &mount) == 201 {
            count(&self.tally.mounted);
            return true;
        }
        match self.registry.push_blob(repository, content) {
            Ok(_) => {
                count(&self.tally.uploaded);
                true
            }
            Err(error) => {
                self.tally.broke(format!("upload to {repository}: {error}"));
                false
            }
        }
    }

    fn pull(&self, repository: &str, tag: &str) {
        let Some(manifest) = self.registry.manifest(repository, tag) else { return };
        for digest in blobs_of(&manifest.json()) {
            // The digest is verified there.
            if self.registry.blob(repository, &digest).is_some() {
                count(&self.tally.blobs);
                continue;
            }
            // Somebody may have deleted the image, and its blobs, since the pull began. (It may be
            // back by now, and then with everything.)
            let is_there = || {
                let path = format!("/v2/{repository}/manifests/{}", manifest.digest);
                self.status("HEAD", &path) == 200
            };
            if is_there() && self.registry.blob(repository, &digest).is_none() && is_there() {
                self.tally.broke(format!("{repository}:{tag} is there without {digest}"));
            }
            return;
        }
        count(&self.tally.pulls);
    }

    fn delete(&self, repository: &str, tag: &str) {
        let path = match rand::rng().random_range(0..3) {
            0 => format!("/v2/{repository}/manifests/{tag}"),
            1 => match self.registry.manifest(repository, tag) {
                Some(manifest) => format!("/v2/{repository}/manifests/{}", manifest.digest),
                None => return,
            },
            _ => return self.mount_and_delete(repository),
        };
        if self.status("DELETE", &path) == 202 {
            count(&self.tally.deletes);
        }
    }

    /// What was mounted stays, whatever becomes of where it came from.
    fn mount_and_delete(&self, from: &str) {
        let content = random_bytes(5_000);
        let to = REPOSITORIES.iter().find(|to| **to != from).expect("another repository");
        let Ok(digest) = self.registry.push_blob(from, &content) else {
            return self.tally.broke(format!("upload to {from}"));
        };
        let mount = format!("/v2/{to}/blobs/uploads/?mount={digest}&from={from}");
        if self.status("POST", &mount) == 201 {
            count(&self.tally.mounted);
        } else {
            self.tally.broke(format!("{from} has just got {digest}, but it cannot be mounted"));
        }
        if self.status("DELETE", &format!("/v2/{from}/blobs/{digest}")) == 202 {
            count(&self.tally.deletes);
        }
        if self.registry.blob(to, &digest).is_none() {
            self.tally.broke(format!("{digest} was mounted to {to} and is gone"));
        }
    }
}

fn blobs_of(manifest: &Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
    [&manifest["config"]]
        .into_iter()
        .chain(&layers)
        .map(|one| one["digest"].as_str().expect("a digest").to_owned())
        .collect()
}

/// Every tag pulls whole.
fn verify(registry: &Registry) -> usize {
    let mut images = 0;
    for repository in REPOSITORIES {
        for tag in registry.tags(repository) {
            let manifest = registry.manifest(repository, &tag);
            let manifest = manifest.unwrap_or_else(|| panic!("{repository} has no {tag}"));
            for digest in blobs_of(&manifest.json()) {
                let blob = registry.blob(repository, &digest);
                assert!(blob.is_some(), "{repository}:{tag} has no {digest}");
            }
            images += 1;
        }
    }
    images
}

fn forget_untagged(place: &Place) {
    let server = &place.servers[0];
    for repository in REPOSITORIES {
        let (namespace, name) = repository.split_once('/').expect("a name");
        let id = berth_tests::build::repository(server, namespace, name);
        let _ = server.api().call(
            "UpdateRepository",
            &[
                ("InstanceId", &server.credentials().instance_id),
                ("RepoId", &id),
                ("RepoType", "PRIVATE"),
                ("Summary", ""),
                ("UntaggedRetentionDays", "0"),
            ],
        );
    }
}

#[expect(clippy::print_stdout, reason = "the figures of the run")]
fn stress(mut place: Place, name: &str) {
    forget_untagged(&place);
    let tally = Arc::new(Tally::default());
    let until = Instant::now() + Duration::from_secs(seconds());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|turn| {
            let client =
                Client { registry: place.registry_of_turn(turn), tally: Arc::clone(&tally) };
            std::thread::spawn(move || client.run(until))
        })
        .collect();
    for client in clients {
        client.join().expect("the client ends");
    }
    let collections = place.servers[0].api().call(
        "ListMaintenanceTask",
        &[
            ("InstanceId", &place.servers[0].credentials().instance_id),
            ("Kind", "GC"),
            berth_tests::maintenance::SERVER,
        ],
    );
    let collected: f64 = place
        .servers
        .iter()
        .map(|server| {
            let name = "berth_gc_collected_total{what=\"blob\"}";
            berth_tests::maintenance::metric(server, name)
        })
        .sum();
    let images = verify(&place.registry());
    println!(
        "{name}: {} s, {CLIENTS} clients, {} collections, {collected} blobs collected; {tally:?}; \
         {images} tags pull whole",
        seconds(),
        collections["TotalCount"],
    );
    let broken = tally.broken.lock().expect("no panic before").clone();
    assert!(broken.is_empty(), "{} broken promises: {broken:#?}", broken.len());
    assert!(tally.pushes.load(Ordering::Relaxed) > 0 && images > 0);
    // A short run on a busy machine may not see a grace pass.
    assert!(seconds() < 120 || collected > 0.0, "nothing was collected");

    // The books are in order while the servers run; and when all is collected, nothing is left over.
    let checked = report(&place.servers[0], &["--check"]);
    assert_eq!(checked["sound"], true, "{checked}");
    for server in &mut place.servers {
        server.stop();
    }
    let server = &place.servers[0];
    let done = gc(server, &["--set", "gc.grace=0", "--set", "gc.upload_pause=0"]);
    assert!(done.status.success(), "{done:?}");
    let checked = report(server, &["--check"]);
    assert_eq!((&checked["sound"], &checked["strayObjects"]), (&json!(true), &json!([])));
    for server in &mut place.servers {
        server.restart();
    }
    assert_eq!(verify(&place.registry()), images);
    place.assert_nothing_refused();
}

#[test]
fn stress_on_a_folder() {
    stress(Place::folder(&config()), "folder and SQLite");
}

#[test]
fn stress_on_two_servers() {
    stress(Place::shared(&config()), "two servers on PostgreSQL and S3");
}
