//! Commits: durable together, whole by themselves, announced before they return.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures::future::join_all;

use super::places::{self, Place};
use crate::tables::setting;
use crate::{Access, Change, Db, DbError, DbOptions, Engine, Memory, Subject, args};

async fn put(db: &Db, name: String) -> Result<(), DbError> {
    let mut session = db.begin().await?;
    setting::put(&mut session, &name, "x").await?;
    session.commit().await
}

async fn names(db: &Db, like: &str) -> Vec<String> {
    let mut session = db.read().await.expect("read");
    let sql = "SELECT name FROM setting WHERE name LIKE $1 ORDER BY name";
    let rows = session.fetch_all(sql, args![like]).await.expect("names");
    rows.iter().map(|row| row.text("name").expect("name")).collect()
}

pub(crate) async fn commits_wait_for_the_disk_together(place: &Place) {
    let before = place.db.counts();
    let writers = (0..64).map(|number| put(&place.db, format!("together {number:02}")));
    let writers = join_all(writers);
    let Some(group) = place.db.group_sync() else {
        writers.await.into_iter().for_each(|done| done.expect("committed"));
        let after = place.db.counts();
        assert_eq!((after.commits - before.commits, after.syncs), (64, 0));
        return assert_eq!(names(&place.db, "together %").await.len(), 64);
    };
    // However fast the disk is: its next sync begins when all are waiting for one.
    let asked = group.asked();
    let held = group.hold().await;
    let release = async {
        while group.asked() < asked + 64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(place.db.counts().syncs, before.syncs, "nobody was told before the disk was");
        drop(held);
    };
    let (done, ()) = futures::join!(writers, release);
    done.into_iter().for_each(|done| done.expect("committed"));
    let after = place.db.counts();
    assert_eq!((after.commits - before.commits, after.syncs - before.syncs), (64, 1));
    assert_eq!(names(&place.db, "together %").await.len(), 64);
}

pub(crate) async fn one_that_is_undone_touches_no_other(place: &Place) {
    let one = async |number: u32| -> Result<(), DbError> {
        let mut session = place.db.begin().await?;
        setting::put(&mut session, &format!("mixed {number:02}"), "x").await?;
        if number.is_multiple_of(3) {
            drop(session);
            return Ok(());
        }
        if number.is_multiple_of(5) {
            session.execute("SELEKT", args![]).await.expect_err("no SQL");
            return Ok(());
        }
        session.commit().await
    };
    for done in join_all((0..30).map(one)).await {
        done.expect("each as it wants");
    }
    let expected: Vec<String> = (0..30)
        .filter(|number| number % 3 != 0 && number % 5 != 0)
        .map(|number| format!("mixed {number:02}"))
        .collect();
    assert_eq!(names(&place.db, "mixed %").await, expected);
}

pub(crate) async fn a_dropped_commit_is_announced_all_the_same(place: &Place) {
    for wait in [0, 1, 5, 20, 100, 500, 2000] {
        let subject = Subject::AccessKey("key");
        let before = place.db.stamp(subject);
        let name = format!("dropped {wait}");
        let mut session = place.begin().await;
        setting::put(&mut session, &name, "x").await.expect("put");
        session.touch(Change::AccessKey("key"));
        let commit = tokio::time::timeout(Duration::from_micros(wait), session.commit());
        let _ = commit.await;
        while names(&place.db, &name).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        while place.db.stamp(subject) == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

pub(crate) async fn what_was_rolled_back_is_not_announced(place: &Place) {
    let memory = Memory::new(place.db.clone(), 1 << 16, Duration::from_secs(3600));
    let now = || memory.stamp(Subject::AccessKey("key"));
    memory.put("key", now(), (), 1);
    let mut session = place.begin().await;
    session.touch(Change::AccessKey("key"));
    drop(session);
    drop(place.begin().await);
    assert!(memory.get("key", now()).is_some());
}

pub(crate) async fn a_relaxed_commit_waits_for_no_disk(place: &Place) {
    let before = place.db.counts();
    let mut session = place.db.begin_relaxed().await.expect("begin");
    setting::put(&mut session, "relaxed", "x").await.expect("put");
    if place.db.engine() == Engine::Postgres {
        let sql = "SELECT current_setting('synchronous_commit') AS value";
        let row = session.fetch_one(sql, args![]).await.expect("row");
        assert_eq!(row.text("value").expect("text"), "off");
    }
    session.commit().await.expect("commit");
    let after = place.db.counts();
    assert_eq!((after.commits - before.commits, after.syncs), (1, before.syncs));
    assert_eq!(names(&place.db, "relaxed").await, ["relaxed"]);
    if place.db.engine() == Engine::Postgres {
        for _ in 0..20 {
            let mut session = place.begin().await;
            let sql = "SELECT current_setting('synchronous_commit') AS value";
            let row = session.fetch_one(sql, args![]).await.expect("row");
            assert_eq!(row.text("value").expect("text"), "on");
        }
    }
}

async fn open(url: &str, access: Access) -> Result<Db, DbError> {
    Db::open_with(url, DbOptions { access, ..DbOptions::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_at_a_time_writes_alone() {
    let place = places::sqlite().await;
    assert!(!place.db.is_sole_writer());
    let refused = |opened: Result<Db, DbError>| {
        let error = opened.err().expect("refused").to_string();
        assert!(error.contains("another process") && error.contains("PostgreSQL"), "{error}");
        error
    };
    refused(open(&place.url, Access::SoleWriter).await);
    place.db.close().await;
    let sole = open(&place.url, Access::SoleWriter).await.expect("it is free");
    assert!(sole.is_sole_writer());
    put(&sole, "mine".to_owned()).await.expect("put");
    for access in [Access::SoleWriter, Access::Shared] {
        let error = refused(open(&place.url, access).await);
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    }
    let reader = open(&place.url, Access::ReadOnly).await.expect("readers are welcome");
    assert_eq!(names(&reader, "mine").await, ["mine"]);
    assert!(!reader.is_sole_writer());
    let refused = reader.begin().await.err().expect("no writer");
    assert!(matches!(refused, DbError::ReadOnly), "{refused}");
    reader.close().await;
    sole.close().await;
    assert!(!sole.is_sole_writer());
    open(&place.url, Access::SoleWriter).await.expect("it is free again").close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_shared_whatever_is_asked_for() {
    let place = places::postgres().await;
    let sole = open(&place.url, Access::SoleWriter).await.expect("open");
    assert!(!sole.is_sole_writer());
    let reader = open(&place.url, Access::ReadOnly).await.expect("open");
    put(&sole, "mine".to_owned()).await.expect("put");
    assert_eq!(names(&reader, "mine").await, ["mine"]);
    put(&reader, "not".to_owned()).await.expect_err("it only reads");
    for db in [sole, reader, place.db] {
        db.close().await;
    }
}

/// The environment variable by which the test below starts itself as a process of its own.
const CHILD: &str = "BERTH_TEST_COMMITS_INTO";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_a_killed_process() {
    if let Ok(url) = std::env::var(CHILD) {
        return commit_until_killed(&url).await;
    }
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite:{}", folder.path().join("berth.db").display());
    let mut acknowledged = Vec::new();
    for _ in 0..3 {
        let name = "suite::commits::what_was_acknowledged_outlives_a_killed_process";
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([name, "--exact", "--nocapture"])
            .env(CHILD, &url)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let output = child.stdout.take().expect("its output");
        let lines = tokio::task::spawn_blocking(move || {
            let lines = BufReader::new(output).lines().map(|line| line.expect("a line"));
            let lines = lines.filter_map(|line| line.strip_prefix("kept ").map(str::to_owned));
            let lines: Vec<String> = lines.take(100).collect();
            child.kill().expect("killed");
            child.wait().expect("gone");
            lines
        });
        acknowledged.extend(lines.await.expect("lines"));
    }
    assert_eq!(acknowledged.len(), 300);
    let db = open(&url, Access::SoleWriter).await.expect("its lock went with it");
    let kept = names(&db, "%").await;
    for name in &acknowledged {
        assert!(kept.contains(name), "{name} was acknowledged and is lost");
    }
    db.close().await;
}

#[expect(clippy::print_stdout, reason = "how the child tells what was acknowledged")]
async fn commit_until_killed(url: &str) {
    let db = open(url, Access::SoleWriter).await.expect("open");
    let writer = async |writer: u32| {
        for number in 0.. {
            let name = format!("{}-{writer}-{number}", std::process::id());
            put(&db, name.clone()).await.expect("put");
            println!("kept {name}");
        }
    };
    join_all((0..8).map(writer)).await;
}
