//! What an instance may hold, and the ledger of what it holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use berth_artifacts::{
    ArtifactErrorKind as Kind, Limits, NewNamespace, QuotaChange, QuotaChanges, QuotaDefaults,
    RepoType,
};
use berth_metadata::tables::{blob, instance_usage};
use berth_metadata::{Engine, args, statements};
use berth_types::{Digest, id};
use futures::future::join_all;

use berth_testbed::{INSTANCE, Place, chunks, on_both_engines};

on_both_engines!(
    bytes_are_refused_where_they_come_in,
    what_is_here_takes_no_room,
    quotas_of_its_own_win,
    counts_are_exact_however_many_come_at_once,
    no_push_waits_for_another,
    the_ledger_is_exact,
    whoever_meets_a_long_ledger_folds_it,
);

const LAYER: &[u8] = b"forty and one bytes of a layer, not more.";
const TEN: &[u8] = b"ten bytes.";

fn limited(mut place: Place, quota: QuotaDefaults) -> Place {
    let limits = Limits { quota, ..Limits::default() };
    place.artifacts = place.artifacts.with_limits(limits);
    place
}

async fn used(place: &Place) -> u64 {
    place.artifacts.quotas().usage(INSTANCE).await.expect("usage").storage.used
}

async fn counted(place: &Place) -> u64 {
    let mut session = place.artifacts.db.read().await.expect("read");
    let bytes = instance_usage::linked(&mut session, INSTANCE).await.expect("linked");
    u64::try_from(bytes).expect("a size")
}

async fn bytes_are_refused_where_they_come_in(place: Place) {
    let place = limited(place, QuotaDefaults { storage: 60, ..QuotaDefaults::default() });
    let (app, other) = (place.repository("ns/app").await, place.repository("ns/other").await);
    let digest = place.put(&app, LAYER).await;
    let more = Digest::sha256(b"twenty bytes and more");
    let (artifacts, ctx) = (&place.artifacts, &place.ctx);
    let (blobs, uploads) = (artifacts.blobs(), artifacts.uploads());

    // In one stream: before its bytes come, when its size is known, else after.
    for size in [Some(21), None] {
        let body = chunks(&[b"twenty bytes and more"]);
        let refused = blobs.put(ctx, &app, &more, size, body).await.expect_err("no room");
        assert_eq!(refused.kind(), Kind::QuotaExceeded, "{refused}");
    }
    // In an upload, which ends with it.
    let upload = uploads.start(ctx, &app).await.expect("there is room for some");
    let upload_id = upload.id().to_owned();
    let body = chunks(&[b"twenty bytes and more"]);
    let refused = uploads.append_and_finish(upload, body, None, &more).await;
    let refused = refused.expect_err("no room");
    assert_eq!(
        refused.to_string(),
        format!("instance `{INSTANCE}` holds 41 bytes and may hold 60: 21 more do not fit")
    );
    let gone = uploads.find(ctx, &app, &upload_id).await.expect_err("it is over");
    assert_eq!(gone.kind(), Kind::UploadUnknown);
    // By a mount or a copy of what another repository has.
    let mount = blobs.mount(&app.repo_id, &other.repo_id, &digest).await;
    assert_eq!(mount.expect_err("no room").kind(), Kind::QuotaExceeded);
    let copy = blobs.link_existing(&other.repo_id, &digest).await;
    assert_eq!(copy.expect_err("no room").kind(), Kind::QuotaExceeded);
    assert_eq!(place.objects().await.len(), 1, "nothing was left behind");
    assert_eq!((used(&place).await, counted(&place).await), (41, 41));

    // What goes makes room.
    blobs.delete(ctx, &app, &digest).await.expect("delete");
    assert_eq!(used(&place).await, 0);
    assert!(blobs.link_existing(&other.repo_id, &digest).await.expect("room"));
    // Beyond the quota not even an upload begins.
    let smaller = QuotaChanges { storage: Some(QuotaChange::To(5)), ..QuotaChanges::default() };
    artifacts.quotas().update(ctx, INSTANCE, smaller).await.expect("update");
    let refused = uploads.start(ctx, &app).await.expect_err("no room");
    assert_eq!(refused.kind(), Kind::QuotaExceeded);
}

async fn what_is_here_takes_no_room(place: Place) {
    let place = limited(place, QuotaDefaults { storage: 45, ..QuotaDefaults::default() });
    let app = place.repository("ns/app").await;
    let digest = place.put(&app, LAYER).await;
    for _ in 0..2 {
        place.put(&app, LAYER).await;
    }
    let blobs = place.artifacts.blobs();
    assert!(blobs.mount(&app.repo_id, &app.repo_id, &digest).await.expect("it has it"));
    assert_eq!(used(&place).await, 41);
}

async fn quotas_of_its_own_win(place: Place) {
    let defaults = QuotaDefaults { storage: 45, namespaces: 2, repositories: 2 };
    let place = limited(place, defaults);
    let (artifacts, ctx) = (&place.artifacts, &place.ctx);
    let quotas = artifacts.quotas();
    let app = place.repository("ns/app").await;
    place.put(&app, LAYER).await;
    let usage = quotas.usage(INSTANCE).await.expect("usage");
    assert_eq!((usage.storage.used, usage.storage.quota), (41, Some(45)));
    assert_eq!((usage.namespaces.used, usage.namespaces.quota), (1, Some(2)));
    assert_eq!((usage.repositories.used, usage.repositories.quota), (1, Some(2)));

    let own = QuotaChanges {
        storage: Some(QuotaChange::To(0)),
        namespaces: Some(QuotaChange::To(1)),
        repositories: None,
    };
    quotas.update(ctx, INSTANCE, own).await.expect("update");
    let usage = quotas.usage(INSTANCE).await.expect("usage");
    assert_eq!((usage.storage.quota, usage.namespaces.quota), (None, Some(1)));
    assert_eq!(usage.repositories.quota, Some(2));
    place.put(&app, TEN).await;
    let name = |text: &str| text.parse().expect("a name");
    let repositories = artifacts.repositories();
    let refused = repositories.resolve_for_push(ctx, INSTANCE, &name("second/app")).await;
    let refused = refused.expect_err("no room");
    assert_eq!(
        refused.to_string(),
        format!("instance `{INSTANCE}` has 1 namespaces and may have 1")
    );
    repositories.resolve_for_push(ctx, INSTANCE, &name("ns/two")).await.expect("room");
    let refused = repositories.resolve_for_push(ctx, INSTANCE, &name("ns/three")).await;
    assert_eq!(refused.expect_err("no room").kind(), Kind::QuotaExceeded);

    let default = QuotaChanges {
        storage: Some(QuotaChange::Default),
        namespaces: Some(QuotaChange::Default),
        repositories: Some(QuotaChange::Default),
    };
    quotas.update(ctx, INSTANCE, default).await.expect("update");
    let usage = quotas.usage(INSTANCE).await.expect("usage");
    assert_eq!(usage.storage.quota, Some(45));
    repositories.resolve_for_push(ctx, "cri-1111111111111111", &name("ns/x")).await.expect("other");
    let unknown = quotas.update(ctx, "cri-none", default).await.expect_err("no such instance");
    assert_eq!(unknown.kind(), Kind::InstanceNotFound);
    assert_eq!(quotas.usage("cri-none").await.expect_err("none").kind(), Kind::InstanceNotFound);
}

async fn counts_are_exact_however_many_come_at_once(place: Place) {
    let quota = QuotaDefaults { namespaces: 5, repositories: 7, ..QuotaDefaults::default() };
    let place = limited(place, quota);
    let tries = (0..16).map(|number| {
        let (artifacts, ctx) = (place.artifacts.clone(), place.ctx.clone());
        tokio::spawn(async move {
            let new = NewNamespace {
                name: format!("ns{number}"),
                auto_create_repo: true,
                default_repo_type: RepoType::Private,
                default_tag_immutability: false,
                build_rule_parameters: None,
            };
            artifacts.namespaces().create(&ctx, INSTANCE, new).await
        })
    });
    let mut made = Vec::new();
    for one in join_all(tries).await {
        match one.expect("join") {
            Ok(namespace) => made.push(namespace.name),
            Err(error) => assert_eq!(error.kind(), Kind::QuotaExceeded, "{error}"),
        }
    }
    assert_eq!(made.len(), 5);

    let namespace = made.into_iter().next().expect("a namespace");
    let tries = (0..16).map(|number| {
        let (artifacts, ctx) = (place.artifacts.clone(), place.ctx.clone());
        let name = format!("{namespace}/app{number}").parse().expect("a name");
        tokio::spawn(async move {
            artifacts.repositories().resolve_for_push(&ctx, INSTANCE, &name).await
        })
    });
    let made = join_all(tries).await.into_iter().filter(|one| one.as_ref().expect("join").is_ok());
    assert_eq!(made.count(), 7);
}

/// A transaction that has linked a blob stays open; meanwhile everybody else pushes.
async fn no_push_waits_for_another(place: Place) {
    // Nothing that counts is ever updated, on either engine.
    for engine in [Engine::Sqlite, Engine::Postgres] {
        for (module, sql) in statements::of(engine) {
            let counts = sql.contains("UPDATE usage_change")
                || (sql.contains("UPDATE instance ") && !sql.contains("_quota = $"));
            assert!(!counts, "{module}: {sql}");
        }
    }
    let app = place.repository("ns/app").await;
    let first = place.put(&app, LAYER).await;
    if place.artifacts.db.engine() == Engine::Sqlite {
        // One writer at a time is what SQLite is; there is no row to wait for besides.
        return;
    }
    let other = place.repository("ns/other").await;
    let mut open = place.artifacts.db.begin().await.expect("begin");
    let linked = blob::link(&mut open, &other.repo_id, &first, 1, 1).await.expect("link");
    assert_eq!(linked, blob::Linked::New);
    let pushes = (0..16u8).map(|number| {
        let (artifacts, ctx) = (place.artifacts.clone(), place.ctx.clone());
        let repository = if number % 2 == 0 { app.clone() } else { other.clone() };
        let bytes: &'static [u8] = Box::leak(vec![number; 100].into_boxed_slice());
        tokio::spawn(async move {
            let digest = Digest::sha256(bytes);
            artifacts.blobs().put(&ctx, &repository, &digest, None, chunks(&[bytes])).await
        })
    });
    let pushed = tokio::time::timeout(Duration::from_secs(60), join_all(pushes)).await;
    for one in pushed.expect("nobody waits for the open transaction") {
        one.expect("join").expect("push");
    }
    assert_eq!(used(&place).await, 41 + 1600);
    open.commit().await.expect("commit");
    assert_eq!(used(&place).await, 41 + 1600 + 41);
    assert_eq!(counted(&place).await, used(&place).await);
}

async fn the_ledger_is_exact(place: Place) {
    let mut repositories = Vec::new();
    for number in 0..4 {
        repositories.push(place.repository(&format!("ns/app{number}")).await);
    }
    // Sixteen push, some of them the same, two delete, and somebody folds all the while.
    let done = Arc::new(AtomicBool::new(false));
    let folding = {
        let (artifacts, done) = (place.artifacts.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let mut folded = 0;
            while !done.load(Ordering::SeqCst) {
                folded += artifacts.quotas().fold().await.expect("fold");
            }
            folded
        })
    };
    let clients = (0..16usize).map(|client| {
        let (artifacts, ctx) = (place.artifacts.clone(), place.ctx.clone());
        let repository = repositories[client % 4].clone();
        tokio::spawn(async move {
            for round in 0..6usize {
                let seed = (client / 2 + round) % 12;
                let bytes: &'static [u8] =
                    Box::leak(vec![seed as u8; 100 + seed].into_boxed_slice());
                let digest = Digest::sha256(bytes);
                let blobs = artifacts.blobs();
                blobs.put(&ctx, &repository, &digest, None, chunks(&[bytes])).await.expect("put");
                if client % 8 == 0 && round % 2 == 0 {
                    match blobs.delete(&ctx, &repository, &digest).await {
                        Ok(()) => {}
                        Err(error) => assert_eq!(error.kind(), Kind::BlobUnknown, "{error}"),
                    }
                }
            }
        })
    });
    for client in join_all(clients).await {
        client.expect("a client");
    }
    done.store(true, Ordering::SeqCst);
    assert!(folding.await.expect("fold") > 0);
    assert!(used(&place).await > 0);
    assert_eq!(used(&place).await, counted(&place).await);

    // A repository goes with all that it has, and the collector takes what nobody names.
    let goes = repositories.remove(0);
    let artifacts = &place.artifacts;
    artifacts.repositories().delete(&place.ctx, INSTANCE, &goes.repo_id).await.expect("delete");
    assert_eq!(used(&place).await, counted(&place).await);
    let gc = berth_artifacts::GcConfig { grace: Duration::ZERO, ..Default::default() };
    let collector = artifacts.clone().with_gc(gc);
    for repository in &repositories {
        let mut session = artifacts.db.begin().await.expect("begin");
        let digest = Digest::sha256(LAYER);
        let row = blob::Blob {
            digest: digest.clone(),
            storage_key: id::key(),
            size: 41,
            stamp: None,
            created_at: 0,
            review_after: Some(0),
            damaged_at: None,
        };
        blob::insert(&mut session, &row).await.expect("blob");
        let linked = blob::link(&mut session, &repository.repo_id, &digest, 0, 0).await;
        assert_eq!(linked.expect("link"), blob::Linked::New);
        session.commit().await.expect("commit");
    }
    assert_eq!(used(&place).await, counted(&place).await);
    let report = collector.maintenance().gc().run(&()).await.expect("gc");
    assert!(report.links >= 3, "{report:?}");
    assert_eq!(used(&place).await, counted(&place).await);
    let rows = place.count("SELECT COUNT(*) AS n FROM usage_change").await;
    assert_eq!(rows, 1, "the collector folds");
}

async fn whoever_meets_a_long_ledger_folds_it(place: Place) {
    let mut session = place.artifacts.db.begin().await.expect("begin");
    for number in 0..2_500i64 {
        let sql = "INSERT INTO usage_change (change_id, instance_id, bytes) VALUES ($1, $2, $3)";
        session.execute(sql, args![id::key(), INSTANCE, number]).await.expect("a row");
    }
    session.commit().await.expect("commit");
    let sum = 2_500 * 2_499 / 2;
    assert_eq!(used(&place).await, sum);
    let begin = Instant::now();
    while place.count("SELECT COUNT(*) AS n FROM usage_change").await > 1 {
        assert!(begin.elapsed() < Duration::from_secs(60), "nobody folds it");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(used(&place).await, sum);
}
