//! Cancellation: at once while it waits, soon while it runs, from here and from elsewhere.

use std::time::{Duration, Instant};

use berth_tasks::{CancelOutcome, NewTask, StopReason, TaskFailure, TaskState, ask};
use berth_types::{Clock as _, SystemClock};

use berth_testbed::on_both_engines;

use crate::support::{AtWork, Closure, ENDED_TABLE, Engine, handler, quick, task};

on_both_engines!(
    while_it_waits,
    while_it_runs,
    from_another_process,
    of_a_handler_that_does_not_listen,
    wins_over_a_completion_that_comes_later,
    of_what_is_over_or_unknown,
    survives_the_death_of_the_worker,
);

fn patient() -> Closure {
    handler(|task| async move {
        task.log("working").await;
        task.cancelled().cancelled().await;
        assert_eq!(task.stop_reason(), Some(StopReason::CancelRequested));
        task.log("stopping").await;
        task.check()
    })
}

async fn cancel(place: &Engine, task_id: &str) -> CancelOutcome {
    ask::cancel(&place.db, task_id, SystemClock.now()).await.expect("cancel")
}

async fn while_it_waits(place: Engine) {
    place.enqueue(task("t")).await;
    assert_eq!(cancel(&place, "t").await, CancelOutcome::Canceled);
    let view = place.view("t").await;
    assert_eq!(view.state, TaskState::Canceled);
    assert!(view.finished_at.is_some() && view.started_at.is_none());
    assert_eq!(place.log("t").await, ["the task was cancelled"]);
    let runner = AtWork::start(&place.db, quick(1), handler(|_| async { Ok(()) }));
    place.enqueue(task("u")).await;
    place.finished("u").await;
    assert_eq!(place.view("t").await.attempt, 0, "it never ran");
    runner.stop().await;
}

async fn while_it_runs(place: Engine) {
    place.run_sql(ENDED_TABLE).await;
    place.enqueue(task("t")).await;
    let mut config = quick(1);
    config.heartbeat = Duration::from_secs(60);
    config.lease = Duration::from_secs(60);
    let runner = AtWork::start(&place.db, config, patient().recording_ends());
    place.until("t", |view| view.state == TaskState::Running).await;
    let asked = Instant::now();
    assert_eq!(cancel(&place, "t").await, CancelOutcome::Requested);
    let view = place.finished("t").await;
    assert!(asked.elapsed() < Duration::from_millis(900), "{:?}", asked.elapsed());
    assert_eq!(view.state, TaskState::Canceled);
    assert_eq!(view.error.as_deref(), Some("the task was cancelled"));
    assert_eq!(place.log("t").await, ["working", "stopping", "the task was cancelled"]);
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM ended WHERE state = 'CANCELED'").await, 1);
    runner.stop().await;
}

async fn from_another_process(place: Engine) {
    place.enqueue(task("t")).await;
    let mut config = quick(1);
    config.heartbeat = Duration::from_secs(1);
    config.lease = Duration::from_secs(60);
    let runner = AtWork::start(&place.db, config, patient());
    place.until("t", |view| view.state == TaskState::Running).await;
    let elsewhere = place.elsewhere().await;
    let asked = Instant::now();
    ask::cancel(&elsewhere, "t", SystemClock.now()).await.expect("cancel");
    assert_eq!(place.finished("t").await.state, TaskState::Canceled);
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    runner.stop().await;
}

async fn of_a_handler_that_does_not_listen(place: Engine) {
    place.enqueue(task("t")).await;
    let deaf = handler(|_| async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        Ok(())
    });
    let runner = AtWork::start(&place.db, quick(1), deaf);
    place.until("t", |view| view.state == TaskState::Running).await;
    let asked = Instant::now();
    cancel(&place, "t").await;
    assert_eq!(place.finished("t").await.state, TaskState::Canceled);
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert_eq!(place.log("t").await, ["the task was cancelled"]);
    runner.stop().await;
}

async fn wins_over_a_completion_that_comes_later(place: Engine) {
    place.enqueue(task("t")).await;
    let runner = AtWork::start(
        &place.db,
        quick(1),
        handler(|task| async move {
            task.cancelled().cancelled().await;
            // Too late to complete.
            match task.fenced().await {
                Err(TaskFailure::Canceled) => Ok(()),
                other => panic!("{:?}", other.err()),
            }
        }),
    );
    place.until("t", |view| view.state == TaskState::Running).await;
    cancel(&place, "t").await;
    assert_eq!(place.finished("t").await.state, TaskState::Canceled);
    runner.stop().await;
}

async fn of_what_is_over_or_unknown(place: Engine) {
    assert_eq!(cancel(&place, "t").await, CancelOutcome::NotFound);
    place.enqueue(task("t")).await;
    cancel(&place, "t").await;
    assert_eq!(cancel(&place, "t").await, CancelOutcome::AlreadyFinished);
    assert_eq!(place.log("t").await.len(), 1);
}

async fn survives_the_death_of_the_worker(place: Engine) {
    place.run_sql(ENDED_TABLE).await;
    place.enqueue(NewTask { max_attempts: 10, ..task("t") }).await;
    let stuck = handler(|_| async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        Ok(())
    });
    let doomed = AtWork::start(&place.db, quick(1), stuck);
    place.until("t", |view| view.state == TaskState::Running).await;
    doomed.kill().await;
    assert_eq!(cancel(&place, "t").await, CancelOutcome::Requested);
    let runner = AtWork::start(&place.db, quick(1), handler(|_| async { Ok(()) }).recording_ends());
    let view = place.finished("t").await;
    assert_eq!((view.state, view.attempt), (TaskState::Canceled, 1), "it was not tried again");
    assert_eq!(place.log("t").await, ["the task was cancelled"]);
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM ended WHERE state = 'CANCELED'").await, 1);
    runner.stop().await;
}
