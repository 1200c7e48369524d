//! Whose clock counts: the database's.

use std::sync::Arc;
use std::time::Duration;

use berth_metadata::{Access, Db, DbOptions};
use berth_tasks::{NewTask, Runner, TaskFailure, TaskState, enqueue};
use berth_types::{Clock as _, ManualClock, SystemClock};
use tokio_util::sync::CancellationToken;

use berth_testbed::on_both_engines;

use crate::support::{AtWork, Engine, handler, quick, task};

on_both_engines!(
    a_worker_whose_clock_is_ahead_takes_no_task_away,
    a_task_from_a_server_whose_clock_is_ahead_starts_at_once,
    a_task_that_is_put_off_waits_without_a_slot_and_says_why,
);

const HOUR: i64 = 3_600_000;

async fn a_worker_whose_clock_is_ahead_takes_no_task_away(place: Engine) {
    place.enqueue(task("t")).await;
    let slow = handler(|_| async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        Ok(())
    });
    let right = AtWork::start(&place.db, quick(1), slow);
    place.until("t", |view| view.state == TaskState::Running).await;
    let ahead = Arc::new(ManualClock::at(SystemClock.now() + HOUR));
    let stop = CancellationToken::new();
    let wrong = Runner::new(
        place.elsewhere().await,
        ahead,
        quick(1),
        vec![Arc::new(handler(|_| async { Ok(()) }))],
    );
    let wrong = tokio::spawn(wrong.run(stop.clone()));
    let view = place.finished("t").await;
    assert_eq!((view.state, view.attempt, view.losses), (TaskState::Succeeded, 1, 0));
    stop.cancel();
    wrong.await.expect("ends");
    right.stop().await;
}

async fn a_task_from_a_server_whose_clock_is_ahead_starts_at_once(place: Engine) {
    let mut session = place.db.begin().await.expect("begin");
    enqueue(&mut session, task("t"), SystemClock.now() + HOUR).await.expect("enqueue");
    session.commit().await.expect("commit");
    let runner = AtWork::start(&place.db, quick(1), handler(|_| async { Ok(()) }));
    assert_eq!(place.finished("t").await.state, TaskState::Succeeded);
    runner.stop().await;
}

async fn a_task_that_is_put_off_waits_without_a_slot_and_says_why(place: Engine) {
    place.enqueue(NewTask { max_attempts: 1, ..task("t") }).await;
    let runner = AtWork::start(
        &place.db,
        quick(1),
        handler(|task| async move {
            if task.id() == "other" || task.attempt() > 1 {
                return Ok(());
            }
            let delay = Duration::from_millis(1_500);
            let reason = "the upstream asks to wait until 12:00".to_owned();
            Err(TaskFailure::Postpone { delay, reason })
        }),
    );
    let waits = place.until("t", |view| view.error.is_some()).await;
    assert_eq!(waits.error.as_deref(), Some("the upstream asks to wait until 12:00"));
    assert_eq!((waits.state, waits.failures), (TaskState::Ready, 0));
    assert!(waits.waits_until.is_some_and(|until| until > waits.created_at + 1_000));
    place.enqueue(task("other")).await;
    assert_eq!(place.finished("other").await.state, TaskState::Succeeded);
    assert_eq!(place.view("t").await.state, TaskState::Ready, "the slot was free meanwhile");
    let view = place.finished("t").await;
    assert_eq!((view.state, view.attempt, view.failures), (TaskState::Succeeded, 2, 0));
    assert_eq!(view.waits_until, None);
    runner.stop().await;
}

/// A SQLite file whose last process was killed: the lock proves that nobody runs its tasks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_on_sqlite_takes_tasks_back_at_once() {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite:{}", folder.path().join("berth.db").display());
    let sole = DbOptions { access: Access::SoleWriter, ..DbOptions::default() };
    let mut config = quick(1);
    config.lease = Duration::from_secs(3_600);

    let before = Db::open_with(&url, sole).await.expect("opens");
    let place = Engine::of(before.clone(), url.clone());
    place.enqueue(task("t")).await;
    let hangs = handler(|_| async { std::future::pending().await });
    let doomed = AtWork::start(&before, config.clone(), hangs);
    place.until("t", |view| view.state == TaskState::Running).await;
    doomed.kill().await;
    before.close().await;

    let place = Engine::of(Db::open_with(&url, sole).await.expect("opens again"), url);
    let runner = AtWork::start(&place.db, config, handler(|_| async { Ok(()) }));
    let view = tokio::time::timeout(Duration::from_secs(3), place.finished("t")).await;
    let view = view.expect("long before the lease runs out");
    assert_eq!((view.state, view.losses, view.failures), (TaskState::Succeeded, 1, 0));
    runner.stop().await;
}
