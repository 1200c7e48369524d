//! The ordinary life of tasks: order, retry, failure, dedup, logs, progress.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use berth_metadata::Page;
use berth_tasks::{Enqueued, NewTask, TaskFailure, TaskState, ask, enqueue};
use berth_types::{Clock as _, SystemClock};
use serde_json::json;

use berth_testbed::on_both_engines;

use crate::support::{AtWork, ENDED_TABLE, Engine, handler, quick, task, task_with};

on_both_engines!(
    priority_decides_then_time_then_id,
    a_task_may_wait_for_its_time,
    transient_errors_are_retried_with_backoff,
    attempts_run_out,
    permanent_errors_end_at_once,
    a_panic_ends_the_task,
    a_kind_without_handler_fails_in_the_end,
    one_unfinished_task_per_dedup_key,
    an_undone_transaction_enqueues_nothing,
    completion_is_one_transaction,
    logs_and_progress_are_seen_while_it_runs,
    hostile_log_lines_are_stored,
);

async fn priority_decides_then_time_then_id(place: Engine) {
    let now = SystemClock.now();
    for (id, priority, run_at) in [
        ("c", 1, now),
        ("b", 1, now),
        ("low", 0, now - 1000),
        ("early", 1, now - 10),
        ("top", 5, now),
    ] {
        place.enqueue(NewTask { priority, run_at: Some(run_at), ..task(id) }).await;
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    let runner = AtWork::start(
        &place.db,
        quick(1),
        handler(move |task| {
            record.lock().expect("lock").push(task.id().to_owned());
            async { Ok(()) }
        }),
    );
    for id in ["top", "early", "b", "c", "low"] {
        assert_eq!(place.finished(id).await.state, TaskState::Succeeded);
    }
    assert_eq!(*seen.lock().expect("lock"), ["top", "early", "b", "c", "low"]);
    runner.stop().await;
}

async fn a_task_may_wait_for_its_time(place: Engine) {
    let run_at = SystemClock.now() + 300;
    place.enqueue(NewTask { run_at: Some(run_at), ..task("later") }).await;
    let runner = AtWork::start(&place.db, quick(2), handler(|_| async { Ok(()) }));
    let view = place.finished("later").await;
    assert!(view.started_at.expect("started") >= run_at);
    runner.stop().await;
}

async fn transient_errors_are_retried_with_backoff(place: Engine) {
    let times = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&times);
    let mut config = quick(1);
    config.backoff_base = Duration::from_millis(200);
    config.backoff_max = Duration::from_secs(10);
    place.enqueue(task("t")).await;
    let runner = AtWork::start(
        &place.db,
        config,
        handler(move |task| {
            record.lock().expect("lock").push(Instant::now());
            async move {
                match task.attempt() {
                    3 => Ok(()),
                    n => Err(TaskFailure::Transient(format!("upstream says no, {n}"))),
                }
            }
        }),
    );
    let view = place.finished("t").await;
    assert_eq!((view.state, view.attempt), (TaskState::Succeeded, 3));
    let times = times.lock().expect("lock").clone();
    assert_eq!(times.len(), 3);
    assert!(times[1] - times[0] >= Duration::from_millis(100), "half of the base at least");
    assert!(times[2] - times[1] >= Duration::from_millis(200), "twice as much for the second");
    let log = place.log("t").await;
    assert_eq!(log.len(), 2);
    assert!(log[0].starts_with("attempt 1 of 3 failed: upstream says no, 1; the next"), "{log:?}");
    runner.stop().await;
}

async fn attempts_run_out(place: Engine) {
    place.run_sql(ENDED_TABLE).await;
    place.enqueue(task("t")).await;
    let failing = handler(|_| async { Err(TaskFailure::Transient("no route".to_owned())) });
    let runner = AtWork::start(&place.db, quick(1), failing.recording_ends());
    let view = place.finished("t").await;
    assert_eq!((view.state, view.attempt), (TaskState::Failed, 3));
    assert_eq!(view.error.as_deref(), Some("no route"));
    let last = place.log("t").await.pop();
    assert_eq!(last.as_deref(), Some("failed in attempt 3: no route"));
    let ended = "SELECT COUNT(*) AS n FROM ended WHERE state = 'FAILED' AND reason = 'no route'";
    assert_eq!(place.count(ended).await, 1);
    runner.stop().await;
}

async fn permanent_errors_end_at_once(place: Engine) {
    place.enqueue(task("t")).await;
    let runner = AtWork::start(
        &place.db,
        quick(1),
        handler(|task| async move {
            task.log("looking at layer 1").await;
            Err(TaskFailure::Permanent("layer 1 is broken".to_owned()))
        }),
    );
    let view = place.finished("t").await;
    assert_eq!((view.state, view.attempt), (TaskState::Failed, 1));
    assert_eq!(view.error.as_deref(), Some("layer 1 is broken"));
    assert_eq!(place.log("t").await, ["looking at layer 1", "failed: layer 1 is broken"]);
    assert!(view.finished_at >= view.started_at);
    runner.stop().await;
}

async fn a_panic_ends_the_task(place: Engine) {
    place.enqueue(task("t")).await;
    let runner = AtWork::start(
        &place.db,
        quick(1),
        handler(|task| async move {
            assert!(task.attempt() > 100, "not yet");
            Ok(())
        }),
    );
    let view = place.finished("t").await;
    assert_eq!(view.state, TaskState::Failed);
    assert_eq!(view.error.as_deref(), Some("the task's handler panicked: not yet"));
    // The runner lives on.
    place.enqueue(task("u")).await;
    place.finished("u").await;
    runner.stop().await;
}

async fn a_kind_without_handler_fails_in_the_end(place: Engine) {
    place.enqueue(NewTask { kind: "unheard-of", ..task("t") }).await;
    let runner = AtWork::start(&place.db, quick(1), handler(|_| async { Ok(()) }));
    let view = place.finished("t").await;
    assert_eq!((view.state, view.attempt), (TaskState::Failed, 3));
    assert_eq!(view.error.as_deref(), Some("no handler for tasks of kind `unheard-of`"));
    runner.stop().await;
}

async fn one_unfinished_task_per_dedup_key(place: Engine) {
    let keyed = |id: &str| NewTask { dedup_key: Some("key".to_owned()), ..task(id) };
    assert_eq!(place.enqueue(keyed("a")).await, Enqueued::New);
    let duplicate = Enqueued::Duplicate { task_id: "a".to_owned() };
    assert_eq!(place.enqueue(keyed("b")).await, duplicate);
    let runner = AtWork::start(
        &place.db,
        quick(1),
        handler(|task| async move {
            while task.attempt() == 1 && task.id() == "a" && !task.is_cancelled() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        }),
    );
    place.until("a", |view| view.state == TaskState::Running).await;
    assert_eq!(place.enqueue(keyed("c")).await, duplicate, "also while it runs");
    ask::cancel(&place.db, "a", SystemClock.now()).await.expect("cancel");
    place.finished("a").await;
    assert_eq!(place.enqueue(keyed("d")).await, Enqueued::New);
    place.finished("d").await;

    // Many at once: one wins.
    let rivals = (0..8).map(|n| {
        place.enqueue(NewTask {
            dedup_key: Some("race".to_owned()),
            run_at: Some(i64::MAX),
            ..task(&format!("race-{n}"))
        })
    });
    let outcomes = futures::future::join_all(rivals).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Enqueued::New).count(), 1);
    runner.stop().await;
}

async fn an_undone_transaction_enqueues_nothing(place: Engine) {
    let mut session = place.db.begin().await.expect("begin");
    enqueue(&mut session, task("t"), SystemClock.now()).await.expect("enqueue");
    drop(session);
    let mut session = place.db.read().await.expect("read");
    assert!(ask::find(&mut session, "t").await.expect("get").is_none());
    let refused = NewTask { max_attempts: 0, ..task("u") };
    let mut session = place.db.begin().await.expect("begin");
    assert!(enqueue(&mut session, refused, SystemClock.now()).await.is_err());
}

async fn completion_is_one_transaction(place: Engine) {
    place.run_sql("CREATE TABLE effect (task_id TEXT)").await;
    place.enqueue(task("t")).await;
    let runner = AtWork::start(
        &place.db,
        quick(1),
        handler(|task| async move {
            task.log("before the end").await;
            let mut session = task.fenced().await?;
            let values = berth_metadata::args![task.id()];
            session.execute("INSERT INTO effect VALUES ($1)", values).await?;
            if task.attempt() == 1 {
                // The session is dropped: nothing of it stays.
                return Err(TaskFailure::Transient("interrupted".to_owned()));
            }
            // Logging while the transaction is open waits for nothing.
            task.log("in the end").await;
            task.complete(session).await?;
            task.log("never written: the task is over").await;
            Ok(())
        }),
    );
    assert_eq!(place.finished("t").await.attempt, 2);
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM effect").await, 1);
    runner.stop().await;
    let log = place.log("t").await;
    assert_eq!(log.last().map(String::as_str), Some("in the end"), "{log:?}");
    assert_eq!(log.iter().filter(|line| *line == "before the end").count(), 2);
}

async fn logs_and_progress_are_seen_while_it_runs(place: Engine) {
    place.enqueue(task_with("t", json!({"lines": 25}))).await;
    let runner = AtWork::start(
        &place.db,
        quick(1),
        handler(|task| async move {
            let payload: serde_json::Value = task.payload()?;
            let lines = payload["lines"].as_i64().unwrap_or(0);
            for n in 1..=lines {
                task.log(format!("line {n}")).await;
            }
            task.progress(json!({"layer": 3}));
            while !task.is_cancelled() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            task.check()
        }),
    );
    let started = Instant::now();
    let view = place.until("t", |view| view.progress == json!({"layer": 3})).await;
    assert_eq!(view.state, TaskState::Running);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let mut session = place.db.read().await.expect("read");
    let (lines, total) = ask::log(&mut session, "t", Page::new(3, 10)).await.expect("log");
    assert_eq!((lines.len(), total), (5, 25));
    assert_eq!((lines[0].line_number, lines[0].message.as_str()), (21, "line 21"));
    assert!(ask::log(&mut session, "t", Page::new(4, 10)).await.expect("log").0.is_empty());
    assert_eq!(ask::log(&mut session, "x", Page::new(1, 10)).await.expect("log").1, 0);
    drop(session);
    runner.stop().await;
    assert_eq!(place.view("t").await.state, TaskState::Ready, "given back");
}

async fn hostile_log_lines_are_stored(place: Engine) {
    place.enqueue(task("t")).await;
    let runner = AtWork::start(
        &place.db,
        quick(1),
        handler(|task| async move {
            task.log("entry `a\0b`").await;
            task.log("x".repeat(1_000_000)).await;
            Err(TaskFailure::Permanent("bad name `c\0d`".to_owned()))
        }),
    );
    let view = place.finished("t").await;
    assert_eq!(view.error.as_deref(), Some("bad name `c\u{fffd}d`"));
    let log = place.log("t").await;
    assert_eq!(log[0], "entry `a\u{fffd}b`");
    assert!(log[1].len() < 20_000);
    runner.stop().await;
}
