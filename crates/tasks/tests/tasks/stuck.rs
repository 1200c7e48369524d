//! Tasks that do not get on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use berth_tasks::{RunnerConfig, TaskState};

use berth_testbed::on_both_engines;

use crate::support::{AtWork, ENDED_TABLE, Engine, handler, quick, task};

on_both_engines!(
    a_stuck_task_ends_and_says_where_it_stood,
    a_task_that_gets_on_slowly_is_not_stuck,
    a_blocked_thread_ends_its_task_but_keeps_its_slot,
);

fn impatient() -> RunnerConfig {
    RunnerConfig { deadline: Duration::from_millis(500), ..quick(1) }
}

async fn a_stuck_task_ends_and_says_where_it_stood(place: Engine) {
    place.run_sql(ENDED_TABLE).await;
    place.enqueue(task("t")).await;
    let stuck = handler(|task| async move {
        task.log("layer 3 of 7").await;
        std::future::pending().await
    });
    let runner = AtWork::start(&place.db, impatient(), stuck.recording_ends());
    let view = place.finished("t").await;
    assert_eq!((view.state, view.attempt), (TaskState::Failed, 1));
    let said = "no progress within 0.5 s; it stood at: layer 3 of 7";
    assert_eq!(view.error.as_deref(), Some(said));
    assert_eq!(place.log("t").await, ["layer 3 of 7".to_owned(), format!("failed: {said}")]);
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM ended WHERE state = 'FAILED'").await, 1);
    runner.stop().await;
}

async fn a_task_that_gets_on_slowly_is_not_stuck(place: Engine) {
    place.enqueue(task("t")).await;
    let slow = handler(|task| async move {
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            task.alive();
        }
        Ok(())
    });
    let runner = AtWork::start(&place.db, impatient(), slow);
    assert_eq!(place.finished("t").await.state, TaskState::Succeeded);
    runner.stop().await;
}

/// Blocks in the handler itself, which cannot be aborted, or in a thread that it started.
async fn a_blocked_thread_ends_its_task_but_keeps_its_slot(place: Engine) {
    for (blocked, waiting, own_thread) in [("b1", "w1", false), ("b2", "w2", true)] {
        let let_go = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&let_go);
        let runner = AtWork::start(
            &place.db,
            impatient(),
            handler(move |task| {
                let let_go = Arc::clone(&seen);
                async move {
                    if !task.id().starts_with('b') {
                        return Ok(());
                    }
                    let thread = task.clone();
                    let block = move || {
                        let _held = thread;
                        while !let_go.load(Ordering::SeqCst) {
                            std::thread::sleep(Duration::from_millis(5));
                        }
                    };
                    if own_thread {
                        let _ = tokio::task::spawn_blocking(block).await;
                    } else {
                        block();
                    }
                    Ok(())
                }
            }),
        );
        place.enqueue(task(blocked)).await;
        let view = place.finished(blocked).await;
        assert_eq!(view.state, TaskState::Failed);
        assert!(view.error.is_some_and(|error| error.starts_with("no progress within 0.5 s")));
        place.enqueue(task(waiting)).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(place.view(waiting).await.state, TaskState::Ready, "the slot is taken");
        let_go.store(true, Ordering::SeqCst);
        assert_eq!(place.finished(waiting).await.state, TaskState::Succeeded);
        runner.stop().await;
    }
}
