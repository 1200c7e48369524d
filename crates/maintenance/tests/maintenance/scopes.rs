//! Maintenance of one instance leaves the others alone.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use berth_artifacts::{BlobSource, RefetchError, Repair, Repository};
use berth_maintenance::{
    Forgotten, History, HistoryConfig, MaintenanceKind, MaintenanceScope, Scrub, ScrubProgress,
    ScrubWatch,
};
use berth_metadata::{Page, args};
use berth_types::RepoName;

use crate::gc::{assert_tidy, at_once, come_due, put};
use crate::history::{Of, add, left};
use berth_testbed::{INSTANCE, Place, on_both_engines};

on_both_engines!(
    a_collection_of_an_instance_takes_what_is_its_own,
    a_pass_over_an_instance_reads_its_own_blobs,
    an_instance_forgets_its_own_history,
    tasks_are_seen_within_their_scope,
    the_sources_of_another_instance_are_not_asked,
);

const SECOND: &str = "cri-1111111111111111";

fn instance(id: &str) -> MaintenanceScope {
    MaintenanceScope::Instance(id.to_owned())
}

async fn repository_of_second(place: &Place) -> Repository {
    let name: RepoName = "ns/theirs".parse().expect("a name");
    let repositories = place.artifacts.repositories();
    repositories.resolve_for_push(&place.ctx, SECOND, &name).await.expect("a repository")
}

async fn links(place: &Place, repository: &Repository) -> i64 {
    let mut session = place.artifacts.db.read().await.expect("read");
    let count = "SELECT COUNT(*) AS n FROM repository_blob WHERE repo_id = $1";
    session
        .fetch_one(count, args![&repository.repo_id])
        .await
        .expect("a count")
        .int("n")
        .expect("n")
}

async fn a_collection_of_an_instance_takes_what_is_its_own(place: Place) {
    let artifacts = at_once(&place);
    let (ours, theirs) = (place.repository("ns/ours").await, repository_of_second(&place).await);
    put(&artifacts, &ours, b"only ours").await;
    put(&artifacts, &ours, b"of both").await;
    put(&artifacts, &theirs, b"of both").await;
    put(&artifacts, &theirs, b"only theirs").await;
    come_due(&artifacts).await;

    let gc = artifacts.maintenance();
    let report = gc.gc().run_in(&instance(INSTANCE), &()).await.expect("a collection");
    assert_eq!((report.links, report.blobs, report.blob_bytes), (2, 1, 9));
    assert_eq!((links(&place, &ours).await, links(&place, &theirs).await), (0, 2));
    assert_eq!(place.objects().await.len(), 2, "the bytes that only ours had are gone");

    let report = gc.gc().run_in(&instance(SECOND), &()).await.expect("a collection");
    assert_eq!((report.links, report.blobs), (2, 2));
    assert_tidy(&place).await;
}

/// What was read and found damaged.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

#[async_trait]
impl ScrubWatch for Lines {
    async fn log(&self, line: String) {
        self.0.lock().expect("lock").push(line);
    }

    fn progress(&self, _: ScrubProgress<'_>) {}
}

async fn a_pass_over_an_instance_reads_its_own_blobs(place: Place) {
    let artifacts = at_once(&place);
    let (ours, theirs) = (place.repository("ns/ours").await, repository_of_second(&place).await);
    put(&artifacts, &ours, b"ours").await;
    put(&artifacts, &ours, b"of both").await;
    put(&artifacts, &theirs, b"of both").await;
    let scrub = Scrub::new(artifacts.maintenance(), 0);
    for (scope, blobs, bytes) in
        [(instance(INSTANCE), 2, 11), (instance(SECOND), 1, 7), (MaintenanceScope::Server, 2, 11)]
    {
        let lines = Lines::default();
        let report = scrub.run_in(&scope, &lines).await.expect("a pass");
        assert_eq!((report.blobs, report.bytes, report.damaged), (blobs, bytes, 0), "{scope:?}");
        let lines = lines.0.into_inner().expect("lines");
        assert_eq!(lines[0], format!("{blobs} blobs to read, {bytes} bytes"));
    }
}

async fn an_instance_forgets_its_own_history(place: Place) {
    for (repo_id, instance_id) in [("crr-ours", INSTANCE), ("crr-theirs", SECOND)] {
        for days in [200, 100, 1] {
            let id = format!("{repo_id}-{days}");
            add(&place, &id, Of::Build { repo_id, tag: "v1" }, days, true).await;
        }
        let mut session = place.artifacts.db.begin().await.expect("begin");
        let own = "UPDATE build_task SET instance_id = $1 WHERE repo_id = $2";
        session.execute(own, args![instance_id, repo_id]).await.expect("an instance");
        session.commit().await.expect("commit");
    }
    let config = HistoryConfig { keep: Duration::from_secs(90 * 24 * 3600), count: 0 };
    let history = History::new(place.artifacts.db.clone(), config);
    let done = history.run(&instance(SECOND), |_| true).await.expect("history");
    assert_eq!(done, Forgotten { builds: 2, subscriptions: 0 });
    let kept = ["crr-ours-1", "crr-ours-100", "crr-ours-200", "crr-theirs-1"];
    assert_eq!(left(&place).await, kept);
}

async fn tasks_are_seen_within_their_scope(place: Place) {
    let maintenance = place.artifacts.maintenance();
    let tasks = maintenance.tasks();
    let scopes = [instance(INSTANCE), instance(SECOND), MaintenanceScope::Server];
    let mut made = Vec::new();
    for scope in &scopes {
        let id = tasks.create(&place.ctx, scope, MaintenanceKind::Gc).await.expect("a task");
        let again = tasks.create(&place.ctx, scope, MaintenanceKind::Gc).await.expect("a task");
        assert_eq!(id, again, "one of a kind and scope at a time");
        made.push(id);
    }
    for (number, scope) in scopes.iter().enumerate() {
        let seen: Vec<&String> = match scope {
            MaintenanceScope::Server => made.iter().collect(),
            MaintenanceScope::Instance(_) => vec![&made[number]],
        };
        let (listed, total) = tasks.list(scope, None, Page::new(1, 9)).await.expect("a list");
        assert_eq!((listed.len(), total), (seen.len(), seen.len() as i64), "{scope:?}");
        for id in &made {
            let found = tasks.find(scope, id).await.is_ok();
            assert_eq!(found, seen.contains(&id), "{scope:?}");
            let log = tasks.log(scope, id, Page::new(1, 9)).await.is_ok();
            assert_eq!(log, found, "{scope:?}");
        }
    }
    let refused = tasks.cancel(&place.ctx, &scopes[0], &made[1]).await;
    assert!(refused.is_err(), "it is another instance's");
    tasks.cancel(&place.ctx, &scopes[0], &made[0]).await.expect("it is its own");
}

/// Has nothing, and remembers for whom it was asked.
#[derive(Default)]
struct Asked(Mutex<Vec<String>>);

#[async_trait]
impl BlobSource for Asked {
    fn name(&self) -> &'static str {
        "upstream"
    }

    async fn refetch(&self, repair: &Repair) -> Result<bool, RefetchError> {
        let instances = repair.repositories().iter().map(|one| one.instance_id.clone());
        self.0.lock().expect("lock").extend(instances);
        Ok(false)
    }
}

async fn the_sources_of_another_instance_are_not_asked(place: Place) {
    let artifacts = at_once(&place);
    let (ours, theirs) = (place.repository("ns/ours").await, repository_of_second(&place).await);
    put(&artifacts, &ours, b"of both").await;
    put(&artifacts, &theirs, b"of both").await;
    let key = place.objects().await.pop().expect("an object");
    place.overwrite(&key, b"rotten!").await;
    for (scope, expected) in [
        (instance(SECOND), vec![SECOND]),
        (instance(INSTANCE), vec![INSTANCE]),
        (MaintenanceScope::Server, vec![INSTANCE, SECOND]),
    ] {
        let source = Arc::new(Asked::default());
        let scrub = Scrub::new(artifacts.maintenance(), 0);
        let scrub = scrub.with_source(Arc::clone(&source) as Arc<dyn BlobSource>);
        let report = scrub.run_in(&scope, &Lines::default()).await.expect("a pass");
        assert_eq!((report.damaged, report.repaired), (1, 0), "{scope:?}");
        let mut asked = source.0.lock().expect("lock").clone();
        asked.sort();
        assert_eq!(asked, expected, "{scope:?}");
    }
}
