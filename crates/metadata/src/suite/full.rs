//! A full disk ends the transaction that meets it, and nothing else.

use std::time::{Duration, Instant};

use berth_testkit::mount::Mounted;
use berth_testkit::postgres::PostgresServer;

use crate::tables::setting;
use crate::{Access, Db, DbError, DbErrorKind, DbOptions, args};

const SIZE: u64 = 32 << 20;
const BALLAST: &str = "ballast";

async fn open(disk: &Mounted) -> Db {
    let url = format!("sqlite:{}", disk.path().join("berth.db").display());
    let options = DbOptions { access: Access::SoleWriter, ..DbOptions::default() };
    Db::open_with(&url, options).await.expect("open")
}

async fn put(db: &Db, name: &str, bytes: usize) -> Result<(), DbError> {
    let mut session = db.begin().await?;
    setting::put(&mut session, name, &noise(bytes)).await?;
    session.commit().await
}

/// Letters that PostgreSQL does not make shorter.
fn noise(bytes: usize) -> String {
    let mut state = 0x9e37_79b9_u32;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        char::from(b'a' + u8::try_from(state % 26).unwrap_or_default())
    };
    (0..bytes).map(letter).collect()
}

async fn has(db: &Db, name: &str) -> bool {
    let mut session = db.read().await.expect("read");
    setting::find(&mut session, name).await.expect("find").is_some()
}

/// Writes until the disk refuses; what was acknowledged.
async fn until_full(db: &Db, prefix: &str, bytes: usize) -> Vec<String> {
    let mut kept = Vec::new();
    for number in 0..20_000 {
        let name = format!("{prefix} {number}");
        match put(db, &name, bytes).await {
            Ok(()) => kept.push(name),
            Err(error) => {
                assert_eq!(error.kind(), DbErrorKind::Full, "{error}");
                return kept;
            }
        }
    }
    panic!("the disk is never full");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_that_is_freed_takes_writes_again() {
    // What is written is as much as the log may hold, and more each time.
    let disk = Mounted::memory(4 * SIZE);
    let db = open(&disk).await;
    let mut kept = Vec::new();
    for round in 0..3 {
        disk.fill(BALLAST);
        kept.extend(until_full(&db, &format!("round {round}"), 3000 * (round + 1)).await);
        // A page may be left, which is enough for the probe.
        let mut probed = Ok(());
        for _ in 0..1000 {
            probed = db.probe().await;
            if probed.is_err() {
                break;
            }
        }
        let refused = probed.expect_err("it takes no writes");
        assert_eq!(refused.kind(), DbErrorKind::Full, "{refused}");
        assert!(has(&db, &kept[0]).await, "reading needs no space");
        disk.free(BALLAST);
        let freed = Instant::now();
        let name = format!("after {round}");
        put(&db, &name, 100).await.expect("there is space again");
        assert!(freed.elapsed() < Duration::from_secs(1));
        kept.push(name);
        db.probe().await.expect("it takes writes");
    }
    db.close().await;
    let db = open(&disk).await;
    for name in &kept {
        assert!(has(&db, name).await, "{name} was acknowledged and is lost");
    }
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_small_still_commits_on_a_full_disk() {
    let disk = Mounted::memory(SIZE);
    let db = open(&disk).await;
    disk.fill(BALLAST);
    // The space of the log was allocated before: cleaning up works, and so does ending a task.
    for number in 0..50 {
        put(&db, &format!("small {number}"), 10).await.expect("the log has its space");
    }
    assert!(db.group_sync().is_some_and(|group| group.check().is_ok()));
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_transaction_that_met_the_full_disk_is_written() {
    let disk = Mounted::memory(SIZE);
    let db = open(&disk).await;
    disk.fill(BALLAST);
    until_full(&db, "before", 60_000).await;
    let mut session = db.begin().await.expect("begin");
    // Larger than what pages are kept in memory: it is written before the COMMIT.
    let mut refused = None;
    for number in 0..200 {
        let name = format!("part {number}");
        if let Err(error) = setting::put(&mut session, &name, &"x".repeat(60_000)).await {
            refused = Some(error);
            break;
        }
    }
    let refused = refused.expect("there is no space for it");
    assert_eq!(refused.kind(), DbErrorKind::Full, "{refused}");
    disk.free(BALLAST);
    // SQLite has undone the transaction: what came now would be written by itself.
    let more = setting::put(&mut session, "stray", "x").await.expect_err("it is over");
    assert_eq!(more.kind(), DbErrorKind::Full, "{more}");
    session.commit().await.expect_err("nothing to commit");
    put(&db, "next", 10).await.expect("the next one works");
    assert!(!has(&db, "stray").await && !has(&db, "part 0").await && has(&db, "next").await);
    let mut session = db.read().await.expect("read");
    let whole = session.fetch_one("PRAGMA integrity_check", args![]).await.expect("row");
    assert_eq!(whole.text("integrity_check").expect("text"), "ok");
    drop(session);
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_postgres_that_is_freed_takes_writes_again() {
    let disk = Mounted::memory(256 << 20);
    let server = tokio::task::block_in_place(|| PostgresServer::start_in(disk.path()));
    let db = Db::open(&server.url()).await.expect("open");
    let mut kept = Vec::new();
    for round in 0..2 {
        disk.fill(BALLAST);
        let refused = 'full: {
            for number in 0..5_000 {
                let name = format!("round {round} {number}");
                match put(&db, &name, 200_000).await {
                    Ok(()) => kept.push(name),
                    Err(error) => break 'full error,
                }
            }
            panic!("the disk is never full");
        };
        // Without space for its own log the server ends all connections and starts over.
        let kinds = [DbErrorKind::Full, DbErrorKind::Unavailable];
        assert!(kinds.contains(&refused.kind()), "{refused}");
        disk.free(BALLAST);
        let freed = Instant::now();
        let name = format!("after {round}");
        while let Err(error) = put(&db, &name, 100).await {
            assert!(kinds.contains(&error.kind()), "{error}");
            assert!(freed.elapsed() < Duration::from_secs(30), "{error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        kept.push(name);
    }
    for name in &kept {
        assert!(has(&db, name).await, "{name} was acknowledged and is lost");
    }
    db.close().await;
}
