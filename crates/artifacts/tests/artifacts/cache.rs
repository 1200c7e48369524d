//! What is remembered is never older than what was acknowledged, whoever reads and writes at the
//! same time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use berth_artifacts::{GcConfig, Promise, Repository, StoredManifest};
use berth_metadata::Engine;
use berth_metadata::tables::tag;
use berth_types::{Digest, Reference, RepoName};
use futures::future::join_all;

use berth_testbed::{House, INSTANCE, Place, on_both_engines};

on_both_engines!(
    readers_see_every_acknowledged_tag,
    readers_see_every_acknowledged_deletion_of_a_blob,
    a_repository_of_an_old_name_is_empty,
    what_is_remembered_needs_no_query,
);

/// The state that was acknowledged last, and the one that somebody has begun to make. States are
/// numbered; a reader must see one between the two as they were around its request.
#[derive(Default)]
struct Timeline {
    begun: AtomicU64,
    acknowledged: AtomicU64,
    over: AtomicBool,
}

impl Timeline {
    fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn acknowledge(&self) {
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
    }

    /// Reads until the writer has ended; `look` gets the result and the states that it may show.
    async fn watch<T, F: Future<Output = T>>(
        &self,
        read: impl Fn() -> F,
        check: impl Fn(T, std::ops::RangeInclusive<u64>),
    ) -> u64 {
        let mut reads = 0;
        while !self.over.load(Ordering::SeqCst) {
            let from = self.acknowledged.load(Ordering::SeqCst);
            let seen = read().await;
            check(seen, from..=self.begun.load(Ordering::SeqCst));
            reads += 1;
            // On SQLite a read that finds everything remembered never waits.
            tokio::task::yield_now().await;
        }
        reads
    }
}

fn name(text: &str) -> RepoName {
    text.parse().expect("name")
}

fn document(number: u64) -> String {
    format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\
         \"manifests\":[],\"annotations\":{{\"number\":\"{number}\"}}}}"
    )
}

fn number_of(manifest: &StoredManifest) -> u64 {
    let json: serde_json::Value = serde_json::from_slice(&manifest.content).expect("JSON");
    json["annotations"]["number"].as_str().expect("number").parse().expect("number")
}

/// What a reader sees of a repository: nothing, or whether there is a manifest.
async fn pull(artifacts: &House, repository: &RepoName, reference: &str) -> Option<Option<u64>> {
    let reference: Reference = reference.parse().expect("reference");
    let found = artifacts.manifests().pull(INSTANCE, repository, &reference, Promise::None).await;
    found.expect("lookup").map(|found| found.content.map(|manifest| number_of(&manifest)))
}

/// The services that read: those that write, and on PostgreSQL those of another server as well.
async fn readers(place: &Place) -> Vec<House> {
    let mut readers = vec![place.artifacts.clone(), place.artifacts.clone()];
    if place.artifacts.db.engine() == Engine::Postgres {
        let other = place.restarted().await;
        readers.extend([other.clone(), other]);
    }
    readers
}

/// Tag `v` goes 1, gone, 2, gone, …: in state `2 n` it points to manifest `n`, in state `2 n + 1`
/// it is not there.
async fn readers_see_every_acknowledged_tag(place: Place) {
    let place = place.alone().await;
    let repository = place.repository("a/tags").await;
    let time = Timeline::default();
    time.begin();
    time.acknowledge();
    let write = async {
        let tags = place.artifacts.tags();
        let listed = async || tags.list(&repository.repo_id, None, 10).await.expect("list").len();
        for number in 1..=60 {
            time.begin();
            place.push(&repository, "v", &document(number)).await.expect("push");
            time.acknowledge();
            assert_eq!(listed().await, 1);
            time.begin();
            let tag = "v".parse().expect("tag");
            tags.delete(&place.ctx, &repository, &tag).await.expect("delete");
            time.acknowledge();
            assert_eq!(listed().await, 0);
        }
        time.over.store(true, Ordering::SeqCst);
    };
    let check = |seen: Option<Option<u64>>, states: std::ops::RangeInclusive<u64>| {
        let fits = |state| if state % 2 == 0 { Some(state / 2) } else { None } == seen.flatten();
        assert!(states.clone().any(fits), "{seen:?} in states {states:?}");
    };
    let target = name("a/tags");
    let all = readers(&place).await;
    let read = all.iter().map(|reader| time.watch(|| pull(reader, &target, "v"), check));
    let ((), reads) = tokio::join!(write, join_all(read));
    assert!(reads.iter().all(|reads| *reads > 20), "{reads:?}");
    // By digest, everything that was pushed is still there.
    for number in [1, 60] {
        let digest = Digest::sha256(document(number).as_bytes());
        assert_eq!(pull(&all[0], &target, digest.as_str()).await, Some(Some(number)));
    }
}

/// A blob is linked in odd states and not in even ones.
async fn readers_see_every_acknowledged_deletion_of_a_blob(place: Place) {
    let place = place.alone().await;
    let repository = place.repository("a/blobs").await;
    let digest = Digest::sha256(b"layer");
    let time = Timeline::default();
    let write = async {
        for _ in 0..40 {
            time.begin();
            place.put(&repository, b"layer").await;
            time.acknowledge();
            time.begin();
            let blobs = place.artifacts.blobs();
            blobs.delete(&place.ctx, &repository, &digest).await.expect("delete");
            time.acknowledge();
        }
        time.over.store(true, Ordering::SeqCst);
    };
    let target = name("a/blobs");
    let stat = async |reader: &House| {
        let found = reader.blobs().pull(INSTANCE, &target, &digest, Promise::None).await;
        found.expect("lookup").expect("the repository").content.is_some()
    };
    let check = |seen: bool, states: std::ops::RangeInclusive<u64>| {
        assert!(states.clone().any(|state| (state % 2 == 1) == seen), "{seen} in {states:?}");
    };
    let all = readers(&place).await;
    let read = all.iter().map(|reader| time.watch(|| stat(reader), check));
    let ((), reads) = tokio::join!(write, join_all(read));
    assert!(reads.iter().all(|reads| *reads > 20), "{reads:?}");
}

/// Deleted and made again under its name, a repository has nothing of the old one: no tag, no
/// manifest by digest, no blob (CVE-2026-35172). State `3 n` is repository `n` with its tag, then it
/// is gone, then it is there again and empty.
async fn a_repository_of_an_old_name_is_empty(place: Place) {
    let place = place.alone().await;
    let target = name("a/again");
    let time = Timeline::default();
    time.begin();
    time.acknowledge();
    let fresh = async || -> Repository { place.repository("a/again").await };
    let write = async {
        let mut repository: Option<Repository> = None;
        for number in 1..=25 {
            time.begin();
            let new = fresh().await;
            time.acknowledge();
            time.begin();
            place.put(&new, b"layer").await;
            place.push(&new, "v", &document(number)).await.expect("push");
            time.acknowledge();
            assert_eq!(pull(&place.artifacts, &target, "v").await, Some(Some(number)));
            if let Some(old) = repository.replace(new) {
                let old_document = Digest::sha256(document(number - 1).as_bytes());
                let seen = pull(&place.artifacts, &target, old_document.as_str()).await;
                assert_eq!(seen, Some(None), "a manifest of {}", old.repo_id);
            }
            time.begin();
            let id = repository.as_ref().expect("it").repo_id.clone();
            let repositories = place.artifacts.repositories();
            repositories.delete(&place.ctx, INSTANCE, &id).await.expect("delete");
            time.acknowledge();
        }
        time.over.store(true, Ordering::SeqCst);
    };
    let check = |seen: Option<Option<u64>>, states: std::ops::RangeInclusive<u64>| {
        let fits = |state: u64| match state % 3 {
            0 => seen == Some(Some(state / 3)),
            1 => seen.is_none(),
            _ => seen == Some(None),
        };
        // Between two looks the repository may have gone: then it is as if it were empty.
        let between = seen == Some(None) && states.start() != states.end();
        assert!(between || states.clone().any(fits), "{seen:?} in states {states:?}");
    };
    let digest = Digest::sha256(b"layer");
    let blob = async |reader: &House| {
        let found = reader.blobs().pull(INSTANCE, &target, &digest, Promise::None).await;
        found.expect("lookup").is_some_and(|found| found.content.is_some())
    };
    let blob_check = |seen: bool, states: std::ops::RangeInclusive<u64>| {
        // While state 2 becomes state 0 the blob is pushed.
        let may = states.clone().any(|state| state % 3 == 0);
        let must = states.start() == states.end() && states.start().is_multiple_of(3);
        assert!(if seen { may } else { !must }, "{seen} in {states:?}");
    };
    let all = readers(&place).await;
    let read = all.iter().map(|reader| time.watch(|| pull(reader, &target, "v"), check));
    let stat = all.iter().map(|reader| time.watch(|| blob(reader), blob_check));
    let ((), reads, _) = tokio::join!(write, join_all(read), join_all(stat));
    assert!(reads.iter().all(|reads| *reads > 20), "{reads:?}");
}

/// How many statements ten requests need after the first.
async fn statements<F: Future<Output = ()>>(artifacts: &House, ask: impl Fn() -> F) -> u64 {
    ask().await;
    let before = artifacts.db.counts().statements;
    for _ in 0..10 {
        ask().await;
    }
    artifacts.db.counts().statements - before
}

async fn what_is_remembered_needs_no_query(place: Place) {
    let place = place.alone().await;
    let repository = place.repository("a/app").await;
    let digest = place.put(&repository, b"layer").await;
    place.push(&repository, "v", &document(1)).await.expect("push");
    let (artifacts, target) = (&place.artifacts, name("a/app"));
    let pushed = Digest::sha256(document(1).as_bytes());
    let sole = artifacts.db.is_sole_writer();
    assert_eq!(sole, artifacts.db.engine() == Engine::Sqlite);
    let each = if sole { 0 } else { 10 };

    for reference in ["v", pushed.as_str()] {
        let ask = async || {
            assert_eq!(pull(artifacts, &target, reference).await, Some(Some(1)));
        };
        assert_eq!(statements(artifacts, ask).await, each, "{reference}");
    }
    let ask = async || {
        let found = artifacts.blobs().pull(INSTANCE, &target, &digest, Promise::Keep).await;
        assert!(found.expect("lookup").expect("repository").content.is_some());
    };
    assert_eq!(statements(artifacts, ask).await, each, "blob");
    let ask = async || {
        for host in ["127.0.0.1", "second.example.com", "nobody.example.com"] {
            artifacts.instances().by_host(host).await.expect("instance");
        }
    };
    assert_eq!(statements(artifacts, ask).await, 0, "instances");
    let list = async |after: Option<&str>, limit| -> Vec<String> {
        let tags = artifacts.tags().list(&repository.repo_id, after, limit).await.expect("list");
        tags.iter().map(|tag| tag.as_str().to_owned()).collect()
    };
    for tag in ["B", "a", "w"] {
        place.push(&repository, tag, &document(1)).await.expect("push");
    }
    let ask = async || {
        assert_eq!(list(None, 10).await, ["B", "a", "v", "w"]);
        assert_eq!(list(Some("a"), 1).await, ["v"]);
        assert_eq!(list(Some("b"), 10).await, ["v", "w"]);
        assert_eq!(list(None, 0).await, [""; 0]);
    };
    assert_eq!(statements(artifacts, ask).await, 4 * each, "tags");
    let mut session = artifacts.db.begin().await.expect("begin");
    for number in 0..1005 {
        let tag = format!("x{number:04}").parse().expect("tag");
        tag::upsert(&mut session, &repository.repo_id, &tag, &pushed, None, 1, 1)
            .await
            .expect("tag");
    }
    session.commit().await.expect("commit");
    assert_eq!(list(None, 10_000).await.len(), 1009, "too many to remember");
    assert_eq!(list(Some("x1002"), 10).await, ["x1003", "x1004"]);
    for missing in ["nothing", Digest::sha256(b"?").as_str()] {
        let ask = async || {
            assert_eq!(pull(artifacts, &target, missing).await, Some(None));
            assert_eq!(pull(artifacts, &name("no/such"), missing).await, None);
        };
        assert_eq!(statements(artifacts, ask).await, 2 * each, "{missing}");
    }
}

/// A promise puts the review of what is found off, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promise_is_written_once() {
    let place = Place::sqlite().await.alone().await;
    let half = i64::try_from(GcConfig::default().grace.as_millis() / 2).expect("grace");
    let repository = place.repository("a/app").await;
    let digest = place.put(&repository, b"layer").await;
    let target = name("a/app");
    let review = || place.count("SELECT review_after AS n FROM repository_blob");
    let mut session = place.artifacts.db.begin().await.expect("begin");
    session
        .execute("UPDATE repository_blob SET review_after = 5", Vec::new())
        .await
        .expect("update");
    session.commit().await.expect("commit");
    let ask = async |promise| {
        let found = place.artifacts.blobs().pull(INSTANCE, &target, &digest, promise).await;
        assert!(found.expect("lookup").expect("repository").content.is_some());
    };
    ask(Promise::None).await;
    assert_eq!(review().await, 5);
    ask(Promise::Keep).await;
    assert!(review().await > place.artifacts.clock.now() + half);
    let commits = place.artifacts.db.counts().commits;
    for _ in 0..5 {
        ask(Promise::Keep).await;
    }
    assert_eq!(place.artifacts.db.counts().commits, commits);
}
