//! Collection: what goes, what stays, and that a dry run tells the truth.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use berth_artifacts::{GcConfig, Promise, Repository, RepositoryChanges};
use berth_maintenance::{GcItem, GcReport, GcWatch, MaintenanceKind, MaintenanceScope};
use berth_metadata::tables::converted_layer::{self, ConvertedLayer};
use berth_metadata::{Page, args};
use berth_oci::media_type;
use berth_types::Digest;
use bytes::Bytes;

use berth_testbed::{House, INSTANCE, Place, image, index, on_both_engines};

on_both_engines!(
    what_is_used_stays,
    untagged_manifests_go_by_the_policy_of_their_repository,
    a_chain_of_uses_falls_in_one_collection_without_a_grace,
    what_loses_a_use_waits_for_the_grace,
    a_repository_that_is_deleted_frees_its_blobs,
    answers_that_something_is_here_are_kept,
    converted_layers_stay_while_builds_take_them,
    a_crash_leaves_nothing_that_is_not_ended_later,
    the_tasks_are_made_once_and_shown,
);

/// Collects at once, or after a grace.
pub(crate) fn with_grace(place: &Place, grace: Duration) -> House {
    let config = GcConfig { grace, layer_cache: grace, upload_pause: grace };
    place.artifacts.clone().with_gc(config)
}

pub(crate) fn at_once(place: &Place) -> House {
    with_grace(place, Duration::ZERO)
}

/// Has every review that waits come due, whatever its grace.
pub(crate) async fn come_due(artifacts: &House) {
    let mut session = artifacts.db.begin().await.expect("begin");
    for statement in [
        "UPDATE manifest SET review_after = 1 WHERE review_after IS NOT NULL",
        "UPDATE repository_blob SET review_after = 1 WHERE review_after IS NOT NULL",
        "UPDATE blob SET review_after = 1 WHERE review_after IS NOT NULL",
    ] {
        session.execute(statement, args![]).await.expect(statement);
    }
    session.commit().await.expect("commit");
}

/// Nothing is missing and nothing forgotten.
pub(crate) async fn assert_sound(artifacts: &House) {
    let audit = artifacts.maintenance().gc().audit().await.expect("audit");
    assert!(audit.is_sound(), "{audit:?}");
}

/// After a collection without a grace the store holds what the rows say, and nothing else.
pub(crate) async fn assert_tidy(place: &Place) {
    let artifacts = at_once(place);
    come_due(&artifacts).await;
    artifacts.maintenance().gc().run(&()).await.expect("collection");
    let audit = artifacts.maintenance().gc().audit().await.expect("audit");
    assert!(audit.is_sound() && audit.stray_objects.is_empty(), "{audit:?}");
    let blobs = place.count("SELECT COUNT(*) AS n FROM blob").await;
    assert_eq!(i64::try_from(place.objects().await.len()), Ok(blobs));
}

/// Config and layer of an image, and its manifest.
pub(crate) struct Sample {
    pub(crate) config: Vec<u8>,
    pub(crate) layer: Vec<u8>,
    pub(crate) manifest: String,
}

impl Sample {
    pub(crate) fn new(name: &str) -> Self {
        let (config, layer) = (format!("{{\"name\":\"{name}\"}}"), format!("layer of {name}"));
        let (config, layer) = (config.into_bytes(), layer.into_bytes());
        let of = Digest::sha256(&layer);
        let manifest = image(&Digest::sha256(&config), config.len(), &[(&of, layer.len())]);
        Self { config, layer, manifest }
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::sha256(self.manifest.as_bytes())
    }

    pub(crate) async fn push_blobs(&self, artifacts: &House, repository: &Repository) {
        for bytes in [&self.config, &self.layer] {
            put(artifacts, repository, bytes).await;
        }
    }
}

pub(crate) async fn put(artifacts: &House, repository: &Repository, bytes: &[u8]) -> Digest {
    let digest = Digest::sha256(bytes);
    let body = futures::stream::iter([Ok::<_, String>(Bytes::copy_from_slice(bytes))]);
    let ctx = berth_types::Ctx::system("test");
    let put = artifacts.blobs().put(&ctx, repository, &digest, None, body).await;
    put.unwrap_or_else(|error| panic!("{digest}: {error}"));
    digest
}

async fn push(place: &Place, repository: &Repository, reference: &str, name: &str) -> Sample {
    let sample = Sample::new(name);
    sample.push_blobs(&place.artifacts, repository).await;
    place.push(repository, reference, &sample.manifest).await.expect("push");
    sample
}

async fn keep_untagged(place: &Place, repository: &Repository, days: Option<i64>) {
    let changes = RepositoryChanges { untagged_days: Some(days), ..Default::default() };
    let repositories = place.artifacts.repositories();
    repositories.update(&place.ctx, INSTANCE, &repository.repo_id, changes).await.expect("policy");
}

async fn has(place: &Place, repository: &Repository, digest: &Digest) -> bool {
    let reference = digest.as_str().parse().expect("reference");
    place.artifacts.manifests().get(&repository.repo_id, &reference).await.is_ok()
}

/// Remembers what went.
#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

#[async_trait]
impl GcWatch for Seen {
    async fn item(&self, item: &GcItem) {
        self.0.lock().expect("lock").push(item.to_string());
    }
}

/// Collects, after a dry run that must say the same.
async fn collect(artifacts: &House) -> GcReport {
    let (before, after) = (Seen::default(), Seen::default());
    let foretold = artifacts.maintenance().gc().preview(&before).await.expect("preview");
    let done = artifacts.maintenance().gc().run(&after).await.expect("collection");
    let counts = |report: GcReport| GcReport { reviewed: 0, pieces: 0, ..report };
    assert_eq!(counts(foretold), counts(done));
    let sorted = |seen: Seen| {
        let mut seen = seen.0.into_inner().expect("lock");
        seen.sort();
        seen
    };
    assert_eq!(sorted(before), sorted(after));
    assert_sound(artifacts).await;
    done
}

async fn what_is_used_stays(place: Place) {
    let repository = place.repository("ns/app").await;
    let artifacts = at_once(&place);
    keep_untagged(&place, &repository, Some(0)).await;
    let tagged = push(&place, &repository, "v1", "tagged").await;
    let child = Sample::new("child");
    let reference = child.digest().to_string();
    push(&place, &repository, &reference, "child").await;
    place.push(&repository, "list", &index(&[&child.digest()])).await.expect("index");
    let signature = place.put(&repository, b"signature").await;
    let empty = place.put(&repository, b"{}").await;
    let body = image(&empty, 2, &[(&signature, 9)]).replace(
        "\"layers\"",
        &format!(
            r#""subject":{{"mediaType":"{}","digest":"{}","size":7}},"layers""#,
            media_type::OCI_MANIFEST,
            tagged.digest()
        ),
    );
    let referrer = Digest::sha256(body.as_bytes());
    place.push(&repository, referrer.as_str(), &body).await.expect("referrer");
    come_due(&artifacts).await;
    let report = collect(&artifacts).await;
    assert_eq!((report.manifests, report.links, report.blobs, report.objects), (0, 0, 0, 0));
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM manifest").await, 4);
    let waiting = "SELECT COUNT(*) AS n FROM repository_blob WHERE review_after IS NOT NULL";
    assert_eq!(place.count(waiting).await, 0, "what is in use is not looked at again");
    assert_eq!(collect(&artifacts).await.reviewed, 0);
    assert_eq!(place.bytes(&repository, &signature).await.as_deref(), Some(&b"signature"[..]));
}

async fn untagged_manifests_go_by_the_policy_of_their_repository(place: Place) {
    let (keeps, forgets) = (place.repository("ns/keeps").await, place.repository("ns/app").await);
    let artifacts = at_once(&place);
    let tag = "v1".parse().expect("tag");
    for repository in [&keeps, &forgets] {
        push(&place, repository, "v1", "image").await;
        place.artifacts.tags().delete(&place.ctx, repository, &tag).await.expect("delete");
    }
    come_due(&artifacts).await;
    collect(&artifacts).await;
    let image = Sample::new("image").digest();
    assert!(has(&place, &keeps, &image).await && has(&place, &forgets, &image).await);
    // A day from now on.
    keep_untagged(&place, &forgets, Some(1)).await;
    assert_eq!(collect(&artifacts).await.manifests, 0);
    come_due(&artifacts).await;
    let report = collect(&artifacts).await;
    assert_eq!((report.manifests, report.links, report.blobs), (1, 2, 0));
    assert!(has(&place, &keeps, &image).await && !has(&place, &forgets, &image).await);
    let moved = push(&place, &keeps, "v2", "other").await;
    assert!(has(&place, &keeps, &moved.digest()).await);
    assert_tidy(&place).await;
}

async fn a_chain_of_uses_falls_in_one_collection_without_a_grace(place: Place) {
    let repository = place.repository("ns/app").await;
    let artifacts = at_once(&place);
    keep_untagged(&place, &repository, Some(0)).await;
    let mut children = Vec::new();
    for name in ["one", "two", "three"] {
        let reference = Sample::new(name).digest().to_string();
        children.push(push(&place, &repository, &reference, name).await.digest());
    }
    let list = place.push(&repository, "v1", &index(&children.iter().collect::<Vec<_>>())).await;
    let list = list.expect("index").digest;
    let outer = place.push(&repository, "outer", &index(&[&list])).await.expect("index").digest;
    collect(&artifacts).await;
    let tags = place.artifacts.tags();
    for tag in ["v1", "outer"] {
        tags.delete(&place.ctx, &repository, &tag.parse().expect("tag")).await.expect("delete");
    }
    come_due(&artifacts).await;
    let report = collect(&artifacts).await;
    assert_eq!((report.manifests, report.links, report.blobs), (5, 6, 6));
    assert!(!has(&place, &repository, &outer).await);
    assert!(place.objects().await.is_empty());
    assert_tidy(&place).await;
}

async fn what_loses_a_use_waits_for_the_grace(place: Place) {
    let repository = place.repository("ns/app").await;
    let artifacts = with_grace(&place, Duration::from_secs(600));
    let sample = Sample::new("image");
    sample.push_blobs(&artifacts, &repository).await;
    let (config, layer) = (Digest::sha256(&sample.config), Digest::sha256(&sample.layer));
    place.push(&repository, "v1", &sample.manifest).await.expect("push");
    come_due(&artifacts).await;
    assert_eq!(collect(&artifacts).await.links, 0);
    artifacts.manifests().delete(&place.ctx, &repository, &sample.digest()).await.expect("delete");
    assert_eq!(collect(&artifacts).await.links, 0, "the grace begins with the end of the use");
    artifacts.blobs().delete(&place.ctx, &repository, &config).await.expect("delete");
    assert_eq!(collect(&artifacts).await.blobs, 0);
    come_due(&artifacts).await;
    // Pushed again just now: that is a use to come.
    put(&artifacts, &repository, &sample.layer).await;
    let report = collect(&artifacts).await;
    assert_eq!((report.links, report.blobs), (0, 1));
    assert_eq!(place.bytes(&repository, &layer).await, Some(sample.layer));
    come_due(&artifacts).await;
    let report = collect(&artifacts).await;
    assert_eq!((report.links, report.blobs), (1, 1), "what a link leaves goes at once");
    assert!(place.objects().await.is_empty());
}

async fn a_repository_that_is_deleted_frees_its_blobs(place: Place) {
    let (one, two) = (place.repository("ns/one").await, place.repository("ns/two").await);
    let artifacts = at_once(&place);
    push(&place, &one, "v1", "shared").await;
    push(&place, &one, "v2", "own").await;
    push(&place, &two, "v1", "shared").await;
    come_due(&artifacts).await;
    collect(&artifacts).await;
    let repositories = artifacts.repositories();
    repositories.delete(&place.ctx, INSTANCE, &one.repo_id).await.expect("delete");
    let report = collect(&artifacts).await;
    assert_eq!((report.links, report.blobs), (0, 2));
    assert!(has(&place, &two, &Sample::new("shared").digest()).await);
    repositories.delete(&place.ctx, INSTANCE, &two.repo_id).await.expect("delete");
    assert_eq!(collect(&artifacts).await.blobs, 2);
    assert!(place.objects().await.is_empty());
}

async fn answers_that_something_is_here_are_kept(place: Place) {
    let repository = place.repository("ns/app").await;
    keep_untagged(&place, &repository, Some(0)).await;
    let artifacts = with_grace(&place, Duration::from_secs(600));
    let loose = put(&artifacts, &repository, b"loose").await;
    let sample = Sample::new("image");
    sample.push_blobs(&artifacts, &repository).await;
    let by_digest = sample.digest().to_string();
    place.push(&repository, &by_digest, &sample.manifest).await.expect("push");
    let name = "ns/app".parse().expect("name");
    let reference = by_digest.parse().expect("reference");
    // Read without a promise, both go; with one, both stay.
    for (promise, stays) in [(Promise::Keep, true), (Promise::None, false)] {
        come_due(&artifacts).await;
        let blob = artifacts.blobs().pull(INSTANCE, &name, &loose, promise).await.expect("look");
        assert!(blob.expect("repository").content.is_some());
        let manifest =
            artifacts.manifests().pull(INSTANCE, &name, &reference, promise).await.expect("look");
        assert!(manifest.expect("repository").content.is_some());
        collect(&artifacts).await;
        assert_eq!(place.bytes(&repository, &loose).await.is_some(), stays);
        assert_eq!(has(&place, &repository, &sample.digest()).await, stays);
    }
}

async fn converted_layers_stay_while_builds_take_them(place: Place) {
    let now = place.artifacts.clock.now();
    let file = place.path("layer");
    std::fs::write(&file, b"converted").expect("write");
    let digest = Digest::sha256(b"converted");
    let artifacts = with_grace(&place, Duration::from_secs(600));
    artifacts.blobs().store_file(&digest, &file, 9).await.expect("stored");
    let mut session = artifacts.db.begin().await.expect("begin");
    let layer = ConvertedLayer {
        chain: "c".to_owned(),
        digest: digest.clone(),
        diff_id: digest.clone(),
        size: 9,
        created_at: 5,
    };
    converted_layer::insert(&mut session, &layer).await.expect("insert");
    assert!(converted_layer::touch(&mut session, "c", &digest, now).await.expect("touch"));
    session.commit().await.expect("commit");
    come_due(&artifacts).await;
    assert_eq!(collect(&artifacts).await.blobs, 0);
    let mut session = artifacts.db.begin().await.expect("begin");
    converted_layer::touch(&mut session, "c", &digest, 5).await.expect("touch");
    session.commit().await.expect("commit");
    come_due(&artifacts).await;
    assert_eq!(collect(&artifacts).await.blobs, 1);
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM converted_layer").await, 0);
}

async fn a_crash_leaves_nothing_that_is_not_ended_later(place: Place) {
    let repository = place.repository("ns/app").await;
    let artifacts = at_once(&place);
    let rows = [
        "INSERT INTO object_removal (storage_key, created_at) SELECT storage_key, 1 FROM blob",
        "DELETE FROM repository_blob",
        "DELETE FROM blob",
    ];
    // After the rows went and before the bytes did.
    put(&artifacts, &repository, b"first").await;
    let mut session = artifacts.db.begin().await.expect("begin");
    for statement in rows {
        session.execute(statement, args![]).await.expect(statement);
    }
    session.commit().await.expect("commit");
    assert_eq!(place.objects().await.len(), 1);
    collect(&artifacts).await;
    assert!(place.objects().await.is_empty());
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM object_removal").await, 0);
    // After the bytes went and before it was written down that they did.
    put(&artifacts, &repository, b"second").await;
    let key = place.objects().await.pop().expect("an object");
    let mut session = artifacts.db.begin().await.expect("begin");
    for statement in rows {
        session.execute(statement, args![]).await.expect(statement);
    }
    session.commit().await.expect("commit");
    artifacts.store.delete(&key).await.expect("delete");
    collect(&artifacts).await;
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM object_removal").await, 0);
    // Before the row was written, and with a row whose bytes are gone.
    put(&artifacts, &repository, b"third").await;
    let mut session = artifacts.db.begin().await.expect("begin");
    for statement in &rows[1..] {
        session.execute(statement, args![]).await.expect(statement);
    }
    session.commit().await.expect("commit");
    let report = collect(&artifacts).await;
    assert_eq!((report.objects, report.object_bytes), (1, 5));
    assert!(place.objects().await.is_empty());
    put(&artifacts, &repository, b"fourth").await;
    let key = place.objects().await.pop().expect("an object");
    artifacts.store.delete(&key).await.expect("delete");
    let audit = artifacts.maintenance().gc().audit().await.expect("audit");
    assert_eq!(audit.missing_objects, [key]);
    assert_eq!(collect(&artifacts).await.blobs, 1);
}

async fn the_tasks_are_made_once_and_shown(place: Place) {
    let maintenance = place.artifacts.maintenance();
    let maintenance = maintenance.tasks();
    let server = &MaintenanceScope::Server;
    let first = maintenance.create(&place.ctx, server, MaintenanceKind::Gc).await.expect("task");
    let again = maintenance.create(&place.ctx, server, MaintenanceKind::Gc).await.expect("task");
    assert_eq!(first, again, "one of a kind at a time");
    let other = maintenance.create(&place.ctx, server, MaintenanceKind::Scrub).await.expect("task");
    let all = maintenance.list(server, None, Page::new(1, 9)).await.expect("list");
    assert_eq!((all.0.len(), all.1), (2, 2));
    let of_kind = maintenance.list(server, Some(MaintenanceKind::Scrub), Page::new(1, 9)).await;
    assert_eq!(of_kind.expect("list").0[0].task.task_id, other);
    maintenance.cancel(&place.ctx, server, &first).await.expect("cancel");
    assert!(maintenance.cancel(&place.ctx, server, &first).await.is_err(), "it has ended");
    assert!(maintenance.find(server, "absent").await.is_err());
    for every in [3600, 3600, 60, 0] {
        let every = Duration::from_secs(every);
        maintenance.arrange(MaintenanceKind::Gc, every).await.expect("arrange");
        let known = place.count("SELECT COALESCE(MAX(interval_ms), 0) AS n FROM schedule").await;
        assert_eq!(Duration::from_millis(u64::try_from(known).expect("time")), every);
    }
}
