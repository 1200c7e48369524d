//! Workers that die, stall or are told to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use berth_tasks::{NewTask, StopReason, TaskFailure, TaskState};
use tokio::sync::mpsc;

use berth_testbed::on_both_engines;

use crate::support::{AtWork, ENDED_TABLE, Engine, handler, quick, task};

on_both_engines!(
    a_dead_workers_task_runs_again,
    a_dead_worker_spends_no_attempt,
    a_task_that_loses_five_workers_ends_and_says_so,
    a_task_that_kills_its_workers_does_not_end_those_beside_it,
    restarts_and_then_one_failure_leave_attempts,
    a_dead_worker_of_an_unknown_kind,
    shutdown_gives_tasks_back_uncounted,
    a_lost_attempt_can_write_nothing,
    a_long_task_keeps_its_lease,
);

async fn stuck_and_killed(place: &Engine) {
    let stuck = handler(|task| async move {
        task.log(format!("attempt {}", task.attempt())).await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        Ok(())
    });
    let doomed = AtWork::start(&place.db, quick(1), stuck);
    place.until("t", |view| view.state == TaskState::Running).await;
    doomed.kill().await;
}

async fn a_dead_workers_task_runs_again(place: Engine) {
    place.enqueue(task("t")).await;
    stuck_and_killed(&place).await;
    let runner = AtWork::start(&place.db, quick(1), handler(|_| async { Ok(()) }));
    let view = place.finished("t").await;
    assert_eq!((view.state, view.attempt), (TaskState::Succeeded, 2));
    let log = place.log("t").await.join("\n");
    assert!(log.contains("the worker disappeared, for the first time; another one"), "{log}");
    assert_eq!((view.failures, view.losses), (0, 1));
    runner.stop().await;
}

async fn a_dead_worker_spends_no_attempt(place: Engine) {
    place.enqueue(NewTask { max_attempts: 1, ..task("t") }).await;
    stuck_and_killed(&place).await;
    let runner = AtWork::start(&place.db, quick(1), handler(|_| async { Ok(()) }));
    let view = place.finished("t").await;
    assert_eq!((view.state, view.failures, view.losses), (TaskState::Succeeded, 0, 1));
    runner.stop().await;
}

async fn a_task_that_loses_five_workers_ends_and_says_so(place: Engine) {
    place.run_sql(ENDED_TABLE).await;
    place.enqueue(NewTask { max_attempts: 1, ..task("t") }).await;
    for _ in 0..5 {
        stuck_and_killed(&place).await;
        place.run_sql("UPDATE task SET lease_expires_at = 1 WHERE state = 'RUNNING'").await;
        let reaps =
            AtWork::start(&place.db, quick(0), handler(|_| async { Ok(()) }).recording_ends());
        place.until("t", |view| view.state != TaskState::Running).await;
        reaps.stop().await;
    }
    let view = place.view("t").await;
    assert_eq!(view.state, TaskState::Failed);
    let said = "its worker disappeared 5 times while it ran";
    assert_eq!(view.error.as_deref(), Some(said));
    assert_eq!(place.log("t").await.pop(), Some(format!("failed: {said}")));
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM ended WHERE state = 'FAILED'").await, 1);
}

/// Whoever runs `poison` is lost, with everything that it runs besides.
async fn a_task_that_kills_its_workers_does_not_end_those_beside_it(place: Engine) {
    place.enqueue(task("poison")).await;
    place.enqueue(task("beside")).await;
    let beside_may_end = Arc::new(AtomicBool::new(false));
    for _ in 0..20 {
        let (die, mut dies) = mpsc::unbounded_channel();
        let may_end = Arc::clone(&beside_may_end);
        let work = handler(move |task| {
            let (die, may_end) = (die.clone(), Arc::clone(&may_end));
            async move {
                if task.id() == "poison" {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    let _ = die.send(());
                }
                while !may_end.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Ok(())
            }
        });
        let doomed = AtWork::start(&place.db, quick(2), work);
        tokio::select! {
            _ = dies.recv() => {}
            () = tokio::time::sleep(Duration::from_millis(700)) => {
                // The other one runs alone: a task that takes its time, but ends.
                beside_may_end.store(true, Ordering::SeqCst);
                place.finished("beside").await;
                beside_may_end.store(false, Ordering::SeqCst);
            }
        }
        doomed.kill().await;
        place.run_sql("UPDATE task SET lease_expires_at = 1 WHERE state = 'RUNNING'").await;
        let reaps = AtWork::start(&place.db, quick(0), handler(|_| async { Ok(()) }));
        for id in ["poison", "beside"] {
            place.until(id, |view| view.state != TaskState::Running).await;
        }
        reaps.stop().await;
        if place.view("poison").await.state.is_finished() {
            break;
        }
    }
    assert_eq!(place.view("poison").await.state, TaskState::Failed);
    let runner = AtWork::start(&place.db, quick(1), handler(|_| async { Ok(()) }));
    let beside = place.finished("beside").await;
    assert_eq!(beside.state, TaskState::Succeeded, "{beside:?}");
    runner.stop().await;
}

/// What a subscription task met: four restarts in order, then an upstream that says 429 once.
async fn restarts_and_then_one_failure_leave_attempts(place: Engine) {
    place.enqueue(NewTask { max_attempts: 2, ..task("t") }).await;
    for _ in 0..4 {
        let runner = AtWork::start(
            &place.db,
            quick(1),
            handler(|task| async move {
                assert!(!task.is_last_attempt());
                task.cancelled().cancelled().await;
                Err(TaskFailure::Canceled)
            }),
        );
        place.until("t", |view| view.state == TaskState::Running).await;
        runner.stop().await;
    }
    let view = place.view("t").await;
    assert_eq!((view.attempt, view.failures, view.max_attempts), (4, 0, 2));
    let runner = AtWork::start(
        &place.db,
        quick(1),
        handler(|task| async move {
            match task.is_last_attempt() {
                false => Err(TaskFailure::Transient("429".to_owned())),
                true => Ok(()),
            }
        }),
    );
    let view = place.finished("t").await;
    assert_eq!((view.state, view.attempt, view.failures), (TaskState::Succeeded, 6, 1));
    runner.stop().await;
}

async fn a_dead_worker_of_an_unknown_kind(place: Engine) {
    place.enqueue(NewTask { max_attempts: 1, ..task("t") }).await;
    stuck_and_killed(&place).await;
    place.run_sql("UPDATE task SET kind = 'forgotten', losses = 4").await;
    let runner = AtWork::start(&place.db, quick(1), handler(|_| async { Ok(()) }));
    assert_eq!(place.finished("t").await.state, TaskState::Failed);
    runner.stop().await;
}

async fn shutdown_gives_tasks_back_uncounted(place: Engine) {
    place.enqueue(NewTask { max_attempts: 1, ..task("t") }).await;
    for round in 1..=3 {
        let listening = handler(|task| async move {
            task.cancelled().cancelled().await;
            assert_eq!(task.stop_reason(), Some(StopReason::Shutdown));
            Err(TaskFailure::Canceled)
        });
        let runner = AtWork::start(&place.db, quick(1), listening);
        place.until("t", |view| view.state == TaskState::Running).await;
        runner.stop().await;
        let view = place.view("t").await;
        assert_eq!((view.state, view.attempt), (TaskState::Ready, round));
    }
    let runner = AtWork::start(&place.db, quick(1), handler(|_| async { Ok(()) }));
    assert_eq!(place.finished("t").await.state, TaskState::Succeeded);
    runner.stop().await;
}

/// The row says that another attempt runs; the first still believes that it holds the task.
async fn a_lost_attempt_can_write_nothing(place: Engine) {
    place.run_sql("CREATE TABLE effect (attempt BIGINT)").await;
    place.enqueue(task("t")).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let stolen = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stolen);
    let runner = AtWork::start(
        &place.db,
        quick(1),
        handler(move |task| {
            let (tell, stolen) = (tell.clone(), Arc::clone(&seen));
            async move {
                let mut open = task.fenced().await?;
                open.execute("INSERT INTO effect VALUES (0)", vec![]).await?;
                drop(open);
                let _ = tell.send(());
                while !stolen.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                task.log("from beyond").await;
                let lost = task.fenced().await.err();
                assert_eq!(lost, Some(TaskFailure::LeaseLost));
                // Not even with a session of its own can it complete.
                let _ = tell.send(());
                Err(TaskFailure::Permanent("must not be heard".to_owned()))
            }
        }),
    );
    told.recv().await.expect("started");
    place.run_sql("UPDATE task SET attempt = 7, lease_owner = 'another'").await;
    stolen.store(true, Ordering::SeqCst);
    told.recv().await.expect("lost");
    runner.stop().await;
    let view = place.view("t").await;
    assert_eq!((view.state, view.attempt, view.error), (TaskState::Running, 7, None));
    assert!(place.log("t").await.is_empty());
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM effect").await, 0);
}

async fn a_long_task_keeps_its_lease(place: Engine) {
    place.enqueue(task("t")).await;
    let long = || {
        handler(|_| async {
            tokio::time::sleep(Duration::from_millis(2500)).await;
            Ok(())
        })
    };
    let runners =
        [AtWork::start(&place.db, quick(1), long()), AtWork::start(&place.db, quick(1), long())];
    let view = place.finished("t").await;
    assert_eq!((view.state, view.attempt), (TaskState::Succeeded, 1));
    for runner in runners {
        runner.stop().await;
    }
}
