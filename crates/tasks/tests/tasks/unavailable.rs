//! The server's own database or disk is missing for a while: no task spends an attempt on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use berth_metadata::Db;
use berth_tasks::{NewTask, TaskFailure, TaskState};
use berth_testkit::postgres::PostgresServer;

use berth_testbed::on_both_engines;

use crate::support::{AtWork, Engine, handler, quick, task};

on_both_engines!(an_attempt_that_met_a_full_disk_does_not_count);

async fn an_attempt_that_met_a_full_disk_does_not_count(place: Engine) {
    place.enqueue(NewTask { max_attempts: 1, ..task("t") }).await;
    let failing = handler(|task| async move {
        match task.attempt() {
            1..=3 => Err(TaskFailure::unavailable("no space is left")),
            _ => Ok(()),
        }
    });
    let runner = AtWork::start(&place.db, quick(1), failing);
    let view = place.finished("t").await;
    assert_eq!((view.state, view.attempt), (TaskState::Succeeded, 4));
    let log = place.log("t").await.join("\n");
    assert!(log.contains("no space is left") && log.contains("put off"), "{log}");
    runner.stop().await;
}

/// One task at work on the database and one that waits, both in their only attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_for_longer_than_a_lease_costs_no_attempt() {
    let mut server = tokio::task::spawn_blocking(PostgresServer::start).await.expect("a server");
    let db = Db::open(&server.url()).await.expect("open");
    let place = Engine::of(db, server.url());
    for id in ["works", "waits"] {
        place.enqueue(NewTask { max_attempts: 1, ..task(id) }).await;
    }
    let over = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&over);
    let runner = AtWork::start(
        &place.db,
        quick(2),
        handler(move |task| {
            let over = Arc::clone(&seen);
            async move {
                while !over.load(Ordering::SeqCst) {
                    if task.id() == "works" {
                        drop(task.fenced().await?);
                    }
                    task.check()?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Ok(())
            }
        }),
    );
    for round in 0..2 {
        for id in ["works", "waits"] {
            place.until(id, |view| view.state == TaskState::Running).await;
        }
        tokio::task::block_in_place(|| server.stop());
        // Many times the lease.
        tokio::time::sleep(Duration::from_secs(4)).await;
        tokio::task::block_in_place(|| server.resume());
        let mut answers = place.db.probe().await;
        for _ in 0..100 {
            if answers.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            answers = place.db.probe().await;
        }
        answers.unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
    over.store(true, Ordering::SeqCst);
    for id in ["works", "waits"] {
        let view = place.finished(id).await;
        assert_eq!(view.state, TaskState::Succeeded, "{:?}", place.log(id).await);
    }
    runner.stop().await;
    place.db.close().await;
}
