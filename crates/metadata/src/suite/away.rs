//! A PostgreSQL server that goes away: who waits for it is told soon, and it is used again when it is
//! back.

use std::time::{Duration, Instant};

use berth_testkit::postgres::PostgresServer;

use crate::tables::setting;
use crate::{Db, DbError, DbErrorKind};

/// What the operators of clients were promised.
const SOON: Duration = Duration::from_secs(5);

async fn put(db: &Db, name: &str) -> Result<(), DbError> {
    let mut session = db.begin().await?;
    setting::put(&mut session, name, "x").await?;
    session.commit().await
}

async fn find(db: &Db, name: &str) -> Result<bool, DbError> {
    let mut session = db.read().await?;
    Ok(setting::find(&mut session, name).await?.is_some())
}

async fn is_told_soon<T>(work: impl Future<Output = Result<T, DbError>>) {
    let begin = Instant::now();
    let error = work.await.err().expect("nobody is there");
    assert_eq!(error.kind(), DbErrorKind::Unavailable, "{error}");
    assert!(begin.elapsed() < SOON, "after {:?}: {error}", begin.elapsed());
}

async fn is_used_again(db: &Db, name: &str) {
    let begin = Instant::now();
    while let Err(error) = put(db, name).await {
        assert_eq!(error.kind(), DbErrorKind::Unavailable, "{error}");
        assert!(begin.elapsed() < SOON, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(find(db, name).await.expect("find"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_is_told_of_within_five_seconds() {
    let mut server = tokio::task::spawn_blocking(PostgresServer::start).await.expect("a server");
    let db = Db::open(&server.url()).await.expect("open");
    put(&db, "before").await.expect("put");
    for round in 0..2 {
        let mut open = db.begin().await.expect("begin");
        tokio::task::block_in_place(|| server.stop());
        is_told_soon(setting::put(&mut open, "lost", "x")).await;
        is_told_soon(open.commit()).await;
        is_told_soon(find(&db, "before")).await;
        is_told_soon(put(&db, "not")).await;
        is_told_soon(db.probe()).await;
        tokio::task::block_in_place(|| server.resume());
        is_used_again(&db, &format!("after {round}")).await;
        assert!(!find(&db, "lost").await.expect("find"));
    }
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_told_of_within_five_seconds() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.expect("a server");
    let db = Db::open(&server.url()).await.expect("open");
    put(&db, "before").await.expect("put");
    let mut reading = db.read().await.expect("read");
    let mut writing = db.begin().await.expect("begin");
    tokio::task::block_in_place(|| server.freeze());
    // Each has its connection, and waits for an answer on it.
    tokio::join!(
        is_told_soon(setting::find(&mut reading, "before")),
        is_told_soon(setting::put(&mut writing, "lost", "x")),
        is_told_soon(find(&db, "before")),
        is_told_soon(put(&db, "not")),
    );
    drop((reading, writing));
    let begin = Instant::now();
    is_told_soon(find(&db, "before")).await;
    assert!(begin.elapsed() < Duration::from_secs(3), "it is known to be away");
    tokio::task::block_in_place(|| server.thaw());
    is_used_again(&db, "after").await;
    assert!(!find(&db, "lost").await.expect("find"));
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_takes_long_is_waited_for() {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.expect("a server");
    let db = Db::open(&server.url()).await.expect("open");
    let mut session = db.read().await.expect("read");
    let slept = session.execute("SELECT pg_sleep(6)", Vec::new()).await;
    slept.expect("the server is there all the time");
    drop(session);
    db.close().await;
}
