//! Bytes that were changed, lost or rotted: never answered, found by scrubbing, repaired.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use berth_artifacts::{ArtifactErrorKind, BlobSource, RefetchError, Repair, Repository};
use berth_maintenance::{Scrub, ScrubProgress, ScrubReport, ScrubWatch};
use berth_metadata::tables::{blob, scrub};
use berth_metadata::{Change, args};
use berth_types::Digest;
use bytes::Bytes;

use berth_testbed::{Place, on_every_store};

on_every_store!(
    a_changed_object_is_hashed_before_it_is_answered,
    changed_bytes_are_not_there,
    lost_and_cut_objects_are_not_there,
    many_readers_of_one_suspect_object,
    a_store_that_is_away_damages_nothing,
    rows_without_a_stamp_take_one,
    scrubbing_finds_what_rotted,
    scrubbing_fetches_what_is_damaged,
    scrubbing_heals_what_came_back,
    a_pass_goes_on_where_it_was_stopped,
);

const CONTENT: &[u8] = b"bytes that somebody relies on";
const ROTTEN: &[u8] = b"bytes that nobody can rely on";

/// Keeps what a pass says.
#[derive(Default)]
struct Watch {
    lines: Mutex<Vec<String>>,
    shown: AtomicUsize,
}

#[async_trait]
impl ScrubWatch for Watch {
    async fn log(&self, line: String) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn progress(&self, _: ScrubProgress<'_>) {
        self.shown.fetch_add(1, Ordering::SeqCst);
    }
}

impl Watch {
    fn text(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

async fn pass(place: &Place) -> ScrubReport {
    let scrub = Scrub::new(place.artifacts.maintenance(), 0);
    scrub.run(&Watch::default()).await.expect("a pass")
}

async fn row(place: &Place, digest: &Digest) -> blob::Blob {
    let mut session = place.artifacts.db.read().await.expect("read");
    blob::find(&mut session, digest).await.expect("find").expect("a row")
}

/// As a disk does it: other bytes, and nothing that tells of it.
async fn rot(place: &Place, digest: &Digest, bytes: &[u8]) {
    let blob = row(place, digest).await;
    place.overwrite(&blob.storage_key, bytes).await;
    let stat = place.artifacts.store.stat(&blob.storage_key).await.expect("stat");
    let mut session = place.artifacts.db.begin().await.expect("begin");
    let key = &blob.storage_key;
    assert!(scrub::set_stamp(&mut session, digest, key, &stat.stamp).await.expect("stamp"));
    session.commit().await.expect("commit");
}

async fn read(place: &Place, repository: &Repository, digest: &Digest) -> ArtifactErrorKind {
    let blobs = place.artifacts.blobs();
    let found = blobs.stat(&repository.repo_id, digest).await.expect("stat").expect("there");
    match blobs.read(&found, 0..3).await {
        Ok(_) => panic!("{digest} was answered"),
        Err(error) => error.kind(),
    }
}

async fn damaged(place: &Place) -> i64 {
    let mut session = place.artifacts.db.read().await.expect("read");
    scrub::count_damaged(&mut session).await.expect("count")
}

async fn a_changed_object_is_hashed_before_it_is_answered(place: Place) {
    let repository = place.repository("ns/app").await;
    let digest = place.put(&repository, CONTENT).await;
    let before = row(&place, &digest).await;
    assert!(before.stamp.is_some());
    // The same bytes, written again.
    place.overwrite(&before.storage_key, CONTENT).await;
    assert_eq!(place.bytes(&repository, &digest).await.as_deref(), Some(CONTENT));
    let after = row(&place, &digest).await;
    assert_eq!((after.damaged_at, &after.storage_key), (None, &before.storage_key));
    let stat = place.artifacts.store.stat(&after.storage_key).await.expect("stat");
    assert_eq!(after.stamp, Some(stat.stamp), "the next reader need not hash");
    assert_eq!(place.bytes(&repository, &digest).await.as_deref(), Some(CONTENT));
}

async fn changed_bytes_are_not_there(place: Place) {
    let repository = place.repository("ns/app").await;
    let other = place.repository("ns/other").await;
    let digest = place.put(&repository, CONTENT).await;
    let old = row(&place, &digest).await;
    place.overwrite(&old.storage_key, ROTTEN).await;
    assert_eq!(read(&place, &repository, &digest).await, ArtifactErrorKind::BlobUnknown);

    // From now on nobody has it: no reader, no mount, no manifest.
    assert_eq!(damaged(&place).await, 1);
    let blobs = place.artifacts.blobs();
    assert!(blobs.stat(&repository.repo_id, &digest).await.expect("stat").is_none());
    let mounted = blobs.mount(&repository.repo_id, &other.repo_id, &digest).await;
    assert!(!mounted.expect("mount"));
    assert!(!blobs.link_existing(&other.repo_id, &digest).await.expect("link"));
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
        "config":{{"mediaType":"application/vnd.oci.image.config.v1+json",
        "digest":"{digest}","size":{}}},"layers":[]}}"#,
        CONTENT.len()
    );
    let pushed = place.push(&repository, "v1", &manifest).await.expect_err("its config is away");
    assert_eq!(pushed.kind(), ArtifactErrorKind::ManifestBlobUnknown);
    // What is wrong stays to be looked at.
    assert!(place.objects().await.contains(&old.storage_key));

    // A push of the digest to any repository is the repair.
    place.put(&other, CONTENT).await;
    assert_eq!(damaged(&place).await, 0);
    for repository in [&repository, &other] {
        assert_eq!(place.bytes(repository, &digest).await.as_deref(), Some(CONTENT));
    }
    place.push(&repository, "v1", &manifest).await.expect("push");
    assert_ne!(row(&place, &digest).await.storage_key, old.storage_key);
    assert!(!place.objects().await.contains(&old.storage_key), "the damaged object went");
}

async fn lost_and_cut_objects_are_not_there(place: Place) {
    let repository = place.repository("ns/app").await;
    let lost = place.put(&repository, CONTENT).await;
    let cut = place.put(&repository, b"cut in half").await;
    let key = row(&place, &lost).await.storage_key;
    place.artifacts.store.delete(&key).await.expect("delete");
    place.overwrite(&row(&place, &cut).await.storage_key, b"cut").await;
    for digest in [&lost, &cut] {
        assert_eq!(read(&place, &repository, digest).await, ArtifactErrorKind::BlobUnknown);
    }
    assert_eq!(damaged(&place).await, 2);
    place.put(&repository, CONTENT).await;
    place.put(&repository, b"cut in half").await;
    assert_eq!(damaged(&place).await, 0);
    assert_eq!(place.bytes(&repository, &lost).await.as_deref(), Some(CONTENT));
}

async fn many_readers_of_one_suspect_object(place: Place) {
    let repository = place.repository("ns/app").await;
    let whole = place.put(&repository, CONTENT).await;
    let wrong = place.put(&repository, b"other bytes").await;
    for (digest, bytes) in [(&whole, CONTENT), (&wrong, ROTTEN)] {
        let found = place.artifacts.blobs().stat(&repository.repo_id, digest).await.expect("stat");
        let found = found.expect("there");
        place.overwrite(&found.storage_key, bytes).await;
        let readers = (0..16).map(|_| {
            let (artifacts, found) = (place.artifacts.clone(), found.clone());
            tokio::spawn(async move {
                artifacts.blobs().read(&found, 0..4).await.map(drop).map_err(|error| error.kind())
            })
        });
        let expected = if digest == &whole { Ok(()) } else { Err(ArtifactErrorKind::BlobUnknown) };
        for reader in futures::future::join_all(readers).await {
            assert_eq!(reader.expect("join"), expected);
        }
    }
    assert_eq!(damaged(&place).await, 1);
}

async fn a_store_that_is_away_damages_nothing(place: Place) {
    let Some(objects) = place.objects_folder() else { return };
    let repository = place.repository("ns/app").await;
    let digest = place.put(&repository, CONTENT).await;
    let away = place.path("away");
    std::fs::rename(&objects, &away).expect("taken away");
    // The store still has the file open, but this process has not.
    let restarted = place.restarted().await;
    std::fs::remove_dir_all(&objects).expect("what the restart made");
    let found = restarted.blobs().stat(&repository.repo_id, &digest).await.expect("stat");
    let error = restarted.blobs().read(&found.expect("there"), 0..4).await.err().expect("no bytes");
    assert_ne!(error.kind(), ArtifactErrorKind::BlobUnknown, "{error}");
    assert_eq!(damaged(&place).await, 0);
    std::fs::rename(&away, &objects).expect("brought back");
    assert_eq!(place.bytes(&repository, &digest).await.as_deref(), Some(CONTENT));
}

async fn rows_without_a_stamp_take_one(place: Place) {
    let repository = place.repository("ns/app").await;
    let digest = place.put(&repository, CONTENT).await;
    let stamp = row(&place, &digest).await.stamp;
    let mut session = place.artifacts.db.begin().await.expect("begin");
    session.touch(Change::Everything);
    session.execute("UPDATE blob SET stamp = NULL", args![]).await.expect("as before");
    session.commit().await.expect("commit");
    assert_eq!(place.bytes(&repository, &digest).await.as_deref(), Some(CONTENT));
    assert_eq!(row(&place, &digest).await.stamp, stamp);
}

async fn scrubbing_finds_what_rotted(place: Place) {
    let repository = place.repository("ns/app").await;
    let rotten = place.put(&repository, CONTENT).await;
    let whole = place.put(&repository, b"whole").await;
    let report = pass(&place).await;
    assert_eq!((report.blobs, report.bytes, report.damaged), (2, 34, 0));
    assert_eq!(report.in_words(), "2 blobs read, 34 bytes: all are whole");

    rot(&place, &rotten, ROTTEN).await;
    let watch = Watch::default();
    let scrub = Scrub::new(place.artifacts.maintenance(), 0);
    let report = scrub.run(&watch).await.expect("a pass");
    assert_eq!((report.blobs, report.damaged, report.repaired), (2, 1, 0));
    let text = watch.text();
    for words in [
        "2 blobs to read, 34 bytes".to_owned(),
        format!("{rotten} is damaged: its bytes have the digest {}", Digest::sha256(ROTTEN)),
        format!("{rotten} stays in quarantine"),
        "2 blobs read, 34 bytes: 1 damaged, 0 of them repaired".to_owned(),
    ] {
        assert!(text.contains(&words), "{words}\n{text}");
    }
    assert!(watch.shown.load(Ordering::SeqCst) > 0);
    let blobs = place.artifacts.blobs();
    assert!(blobs.stat(&repository.repo_id, &rotten).await.expect("stat").is_none());
    assert_eq!(place.bytes(&repository, &whole).await.as_deref(), Some(&b"whole"[..]));
    let mut session = place.artifacts.db.read().await.expect("read");
    assert!(scrub::scrubbed_at(&mut session, &whole).await.expect("read").is_some());
    drop(session);
    assert_eq!(damaged(&place).await, 1);
    // It stays so, and is counted again.
    assert_eq!(pass(&place).await.damaged, 1);
    place.put(&repository, CONTENT).await;
    assert_eq!(pass(&place).await.damaged, 0);
}

/// A source that sends what it is told to.
struct Upstream {
    sends: &'static [u8],
    has_it: AtomicBool,
    asked: Mutex<Vec<String>>,
}

impl Upstream {
    fn new(sends: &'static [u8], has_it: bool) -> Arc<Self> {
        Arc::new(Self { sends, has_it: has_it.into(), asked: Mutex::default() })
    }
}

#[async_trait]
impl BlobSource for Upstream {
    fn name(&self) -> &'static str {
        "upstream"
    }

    async fn refetch(&self, repair: &Repair) -> Result<bool, RefetchError> {
        let names = repair.repositories().iter().map(|one| one.name.clone());
        self.asked.lock().expect("lock").extend(names);
        if !self.has_it.load(Ordering::SeqCst) {
            return Ok(false);
        }
        let bytes = futures::stream::iter([Ok::<_, String>(Bytes::from_static(self.sends))]);
        let filled = repair.fill(bytes).await;
        filled.map_err(|error| RefetchError::Places(vec![("there".to_owned(), error.into())]))?;
        Ok(true)
    }
}

async fn scrubbing_fetches_what_is_damaged(place: Place) {
    let (one, two) = (place.repository("ns/one").await, place.repository("ns/two").await);
    let digest = place.put(&one, CONTENT).await;
    place.put(&two, CONTENT).await;
    rot(&place, &digest, ROTTEN).await;
    let old = row(&place, &digest).await.storage_key;

    // One has it not, one sends other bytes, one sends too many.
    let empty = Upstream::new(b"", false);
    let liar = Upstream::new(ROTTEN, true);
    let babbler = Upstream::new(b"bytes that somebody relies on, and then some", true);
    let mut scrub = Scrub::new(place.artifacts.maintenance(), 0);
    for source in [&empty, &liar, &babbler] {
        scrub = scrub.with_source(Arc::clone(source) as Arc<dyn BlobSource>);
    }
    let watch = Watch::default();
    let report = scrub.run(&watch).await.expect("a pass");
    assert_eq!((report.damaged, report.repaired), (1, 0), "{}", watch.text());
    assert!(watch.text().contains("could not be had from upstream"), "{}", watch.text());
    let mut asked = empty.asked.lock().expect("lock").clone();
    asked.sort();
    assert_eq!(asked, ["one", "two"], "the repositories that have it");
    assert_eq!(place.objects().await, std::slice::from_ref(&old), "nothing was left behind");

    let honest = Upstream::new(CONTENT, true);
    let scrub = scrub.with_source(honest);
    let report = scrub.run(&watch).await.expect("a pass");
    assert_eq!((report.damaged, report.repaired), (1, 1), "{}", watch.text());
    assert_eq!(damaged(&place).await, 0);
    for repository in [&one, &two] {
        assert_eq!(place.bytes(repository, &digest).await.as_deref(), Some(CONTENT));
    }
    let removals = place.count("SELECT COUNT(*) AS n FROM object_removal").await;
    assert_eq!(removals, 1, "the damaged object is the collector's");
    assert_eq!(pass(&place).await.damaged, 0);
}

async fn scrubbing_heals_what_came_back(place: Place) {
    let repository = place.repository("ns/app").await;
    let digest = place.put(&repository, CONTENT).await;
    let key = row(&place, &digest).await.storage_key;
    place.overwrite(&key, ROTTEN).await;
    assert_eq!(pass(&place).await.damaged, 1);
    // Out of a backup.
    place.overwrite(&key, CONTENT).await;
    let report = pass(&place).await;
    assert_eq!((report.damaged, report.repaired), (0, 0));
    assert_eq!(damaged(&place).await, 0);
    assert_eq!(place.bytes(&repository, &digest).await.as_deref(), Some(CONTENT));
}

async fn a_pass_goes_on_where_it_was_stopped(place: Place) {
    /// Stops the pass at its first sign of progress.
    #[derive(Default)]
    struct Stop(tokio::sync::Notify);
    #[async_trait]
    impl ScrubWatch for Stop {
        async fn log(&self, _: String) {}
        fn progress(&self, _: ScrubProgress<'_>) {
            self.0.notify_one();
        }
    }
    // One row after the other for the same object: only the digests count here.
    let repository = place.repository("ns/app").await;
    for number in 0..130u64 {
        let bytes: &'static [u8] = Box::leak(number.to_be_bytes().to_vec().into_boxed_slice());
        place.put(&repository, bytes).await;
    }
    // Slow enough that the pass is dropped in its middle.
    let scrub = Scrub::new(place.artifacts.maintenance(), 400);
    let stop = Stop::default();
    tokio::select! {
        done = scrub.run(&stop) => panic!("not stopped: {done:?}"),
        () = stop.0.notified() => {}
    }
    let read = place.count("SELECT COUNT(*) AS n FROM blob WHERE scrubbed_at IS NOT NULL").await;
    assert!((1..130).contains(&read), "{read}");

    // Another process ends it.
    let watch = Watch::default();
    let scrub = Scrub::new(place.restarted().await.maintenance(), 0);
    let report = scrub.run(&watch).await.expect("a pass");
    assert_eq!((report.blobs, report.bytes), (130, 1040));
    let left = format!("{} blobs to read", 130 - read);
    assert!(watch.text().contains("going on after sha256:"), "{}", watch.text());
    assert!(watch.text().contains(&left), "{left}: {}", watch.text());
    let read = place.count("SELECT COUNT(*) AS n FROM blob WHERE scrubbed_at IS NOT NULL").await;
    assert_eq!(read, 130);
    // The next one is a whole one; and so is one that was told to begin again.
    assert_eq!(pass(&place).await.blobs, 130);
    let slow = Scrub::new(place.artifacts.maintenance(), 400);
    tokio::select! {
        done = slow.run(&stop) => panic!("not stopped: {done:?}"),
        () = stop.0.notified() => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("no progress"),
    }
    slow.restart().await.expect("restart");
    let watch = Watch::default();
    Scrub::new(place.artifacts.maintenance(), 0).run(&watch).await.expect("a pass");
    assert!(watch.text().contains("130 blobs to read"), "{}", watch.text());
}
