//! The load of the story of full disks, and what is true after it.

use berth_testkit::image::{Archive, Compression, Image, Layer, Layout};
use berth_testkit::registry::{Registry, sha256};
use berth_testkit::server::TestServer;
use berth_testkit::upstream::DockerRegistry;
use berth_tests::subscription::{self, Rule};
use berth_tests::{build, source};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The longest time in which an answer may come.
const SOON: Duration = Duration::from_secs(10);
const NAMESPACE: &str = "stress";
const BUILT: &str = "built";
const COPIED: &str = "copied";
/// Every so many pushes one that is built.
const BUILD_EVERY: u32 = 8;

/// What was answered while the load ran.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    statuses: Mutex<BTreeMap<u16, u32>>,
    /// Repository, tag and digest of manifests that were answered with 201.
    manifests: Mutex<Vec<(String, String, String)>>,
    /// Repository and digest of blobs that were answered with 201.
    blobs: Mutex<Vec<(String, String)>>,
    subscriptions: Mutex<Vec<String>>,
}

impl Notes {
    fn note(&self, status: u16, begin: Instant, what: &str) {
        *self.statuses.lock().expect("no panic before").entry(status).or_default() += 1;
        assert!(begin.elapsed() < SOON, "{what}: {status} after {:?}", begin.elapsed());
        assert!(status < 500 || status == 503 || status == 507, "{what}: {status}");
    }
}

pub(crate) struct Load {
    registry: Registry,
    rule: String,
    instance: String,
    api: berth_testkit::api::Api,
    built_id: String,
}

impl Load {
    pub(crate) fn prepare(server: &TestServer, upstream: &DockerRegistry) -> Load {
        let built_id = build::repository(server, NAMESPACE, BUILT);
        let _ = build::rule(server, &built_id);
        let _ = build::repository(server, NAMESPACE, COPIED);
        let mut layout = Layout::create(&server.scratch().join("upstream"));
        for number in 0..6 {
            let tag = format!("v{number}");
            let image = layout.add_tagged(&tag, &Image::new(vec![layer(64 << 10)]));
            layout.push(&image, &upstream.registry(), "library/app", &tag).expect("pushed");
        }
        let rule = subscription::rule(
            server,
            &Rule {
                target: (NAMESPACE, COPIED),
                domain: None,
                source: ("library", "app"),
                tag_regexp: "v[0-9]+",
                tag_count: "10",
                platforms: &["*/*"],
            },
        );
        let instance = server.credentials().instance_id.clone();
        Load { registry: server.registry(), rule, instance, api: server.api(), built_id }
    }

    /// Pushes images until then, each to be found again.
    pub(crate) fn push_until(&self, until: Instant, worker: u32, notes: &Notes) {
        for number in 0.. {
            if Instant::now() >= until {
                return;
            }
            let tag = format!("w{worker}-{number}");
            let repository = match number % BUILD_EVERY {
                0 => format!("{NAMESPACE}/{BUILT}"),
                _ => format!("{NAMESPACE}/pushed-{worker}"),
            };
            let _ = self.push(&repository, &tag, notes);
            std::thread::sleep(Duration::from_millis(60));
        }
    }

    fn push(&self, repository: &str, tag: &str, notes: &Notes) -> Option<()> {
        let layer = layer(100 << 10);
        let blobs = [
            ("application/vnd.oci.image.config.v1+json", config(&layer.tar)),
            ("application/vnd.oci.image.layer.v1.tar", layer.tar),
        ];
        let mut described = Vec::new();
        for (media_type, content) in blobs {
            let digest = self.push_blob(repository, &content, notes)?;
            described.push(serde_json::json!({
                "mediaType": media_type, "digest": digest, "size": content.len(),
            }));
        }
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": described[0],
            "layers": [described[1]],
        });
        let manifest = manifest.to_string().into_bytes();
        let put = self
            .registry
            .request("PUT", &format!("/v2/{repository}/manifests/{tag}"))
            .header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
            .body(manifest.clone());
        self.send(put, "a manifest", notes).filter(|status| *status == 201)?;
        let kept = (repository.to_owned(), tag.to_owned(), sha256(&manifest));
        notes.manifests.lock().expect("no panic before").push(kept);
        Some(())
    }

    fn push_blob(&self, repository: &str, content: &[u8], notes: &Notes) -> Option<String> {
        let begin = Instant::now();
        let digest = sha256(content);
        let start = self.registry.request("POST", &format!("/v2/{repository}/blobs/uploads/"));
        let answer = start.body("").send().ok()?;
        notes.note(answer.status().as_u16(), begin, "an upload");
        let location = answer.headers().get("location")?.to_str().ok()?.to_owned();
        let separator = if location.contains('?') { '&' } else { '?' };
        let put = self
            .registry
            .request("PUT", &format!("{location}{separator}digest={digest}"))
            .header("Content-Type", "application/octet-stream")
            .body(content.to_vec());
        self.send(put, "a blob", notes).filter(|status| *status == 201)?;
        let kept = (repository.to_owned(), digest.clone());
        notes.blobs.lock().expect("no panic before").push(kept);
        Some(digest)
    }

    /// The status; `None` when the connection was closed under the body.
    fn send(
        &self,
        request: reqwest::blocking::RequestBuilder,
        what: &str,
        notes: &Notes,
    ) -> Option<u16> {
        let begin = Instant::now();
        let status = request.send().ok()?.status().as_u16();
        notes.note(status, begin, what);
        Some(status)
    }

    /// Runs the rule again and again until then.
    pub(crate) fn subscribe_until(&self, until: Instant, notes: &Notes) {
        while Instant::now() < until {
            let begin = Instant::now();
            let parameters = [("InstanceId", &*self.instance), ("RuleId", &*self.rule)];
            match self.api.try_call("CreateArtifactSubscriptionTask", &parameters) {
                Ok(answer) => {
                    notes.note(answer.status, begin, "CreateArtifactSubscriptionTask");
                    if let Some(id) = answer.body["TaskId"].as_str() {
                        notes.subscriptions.lock().expect("no panic").push(id.to_owned());
                    }
                }
                Err(error) => panic!("the API did not answer: {error}"),
            }
            std::thread::sleep(Duration::from_millis(700));
        }
    }

    /// Waits for the end of every task, starts the server again and looks for everything.
    #[expect(clippy::print_stdout, reason = "the figures of the run")]
    pub(crate) fn judge(&self, server: &mut TestServer, notes: Notes) {
        let statuses = notes.statuses.into_inner().expect("no panic before");
        let manifests = notes.manifests.into_inner().expect("no panic before");
        let blobs = notes.blobs.into_inner().expect("no panic before");
        let subscriptions = notes.subscriptions.into_inner().expect("no panic before");
        println!(
            "{} blobs, {} manifests and {} subscriptions were acknowledged; statuses {statuses:?}",
            blobs.len(),
            manifests.len(),
            subscriptions.len()
        );
        assert!(blobs.len() > 10 && !subscriptions.is_empty(), "{statuses:?}");
        let built = format!("{NAMESPACE}/{BUILT}");
        for (_, tag, _) in manifests.iter().filter(|(repository, ..)| *repository == built) {
            let id = self.build_task_of(server, tag);
            let _ = build::wait_success(server, &id);
            let accelerated = server.registry().manifest(&built, &format!("{tag}_accelerated"));
            assert!(accelerated.is_some(), "{tag} was built, and its image is not here");
        }
        for id in &subscriptions {
            let task = subscription::wait(server, id);
            assert_eq!(task["TaskResult"], "SUCCESS", "{task}");
            let rows = subscription::results(server, id);
            assert!(
                rows.iter()
                    .all(|(_, status, result)| { status == "COMPLETED" && result == "SUCCESS" })
            );
        }
        server.restart();
        let registry = server.registry();
        for (repository, digest) in &blobs {
            assert!(registry.blob(repository, digest).is_some(), "{repository} lost {digest}");
        }
        for (repository, tag, digest) in &manifests {
            let found = registry.manifest(repository, tag);
            let found = found.unwrap_or_else(|| panic!("{repository} lost {tag}"));
            assert_eq!(&found.digest, digest, "{repository}:{tag}");
        }
    }

    /// The build task of a tag, on whatever page it is.
    fn build_task_of(&self, server: &TestServer, tag: &str) -> String {
        for page in 1.. {
            let listed = server.api().call(
                "ListArtifactBuildTask",
                &[
                    ("InstanceId", &self.instance),
                    ("RepoId", &self.built_id),
                    ("PageNo", &page.to_string()),
                    ("PageSize", "100"),
                ],
            );
            let lists = listed.as_object().into_iter().flatten();
            let tasks: Vec<Value> =
                lists.filter_map(|(_, value)| value.as_array()).flatten().cloned().collect();
            let found = tasks.iter().find(|task| task["SourceArtifact"]["Version"] == tag);
            if let Some(id) = found.and_then(|task| task["BuildTaskId"].as_str()) {
                return id.to_owned();
            }
            assert!(!tasks.is_empty(), "no build task for {tag}");
        }
        unreachable!("pages end")
    }
}

/// A layer with one file of so many random bytes.
fn layer(bytes: usize) -> Layer {
    let tar = Archive::new().file("random", &source::random_bytes(bytes)).finish();
    Layer { tar, compression: Compression::None }
}

/// The config of an image of one uncompressed layer.
fn config(tar: &[u8]) -> Vec<u8> {
    serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": [sha256(tar)] },
    })
    .to_string()
    .into_bytes()
}
