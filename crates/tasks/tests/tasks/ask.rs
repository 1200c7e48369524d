//! What is said about tasks, whatever their kind.

use std::time::Duration;

use berth_metadata::Page;
use berth_tasks::{NewTask, TaskFailure, TaskState, TaskStatus, Words, ask};

use berth_testbed::on_both_engines;

use crate::support::{AtWork, Engine, QUEUE, handler, quick, task};

on_both_engines!(a_task_that_waits_for_its_retry_has_begun, tasks_are_listed_by_queue_and_kind);

async fn a_task_that_waits_for_its_retry_has_begun(place: Engine) {
    place.enqueue(task("t")).await;
    assert_eq!(place.view("t").await.status, TaskStatus::Pending);
    let mut config = quick(1);
    config.backoff_base = Duration::from_secs(60);
    config.backoff_max = Duration::from_secs(60);
    let failing = handler(|_| async { Err(TaskFailure::Transient("not now".to_owned())) });
    let runner = AtWork::start(&place.db, config, failing);
    let waits = place.until("t", |view| view.error.is_some()).await;
    assert_eq!((waits.state, waits.status), (TaskState::Ready, TaskStatus::Running));
    let words = [Words::BUILD, Words::SUBSCRIPTION, Words::MAINTENANCE];
    assert_eq!(words.map(|words| words.of(waits.status)), ["BUILDING", "RUNNING", "RUNNING"]);
    runner.stop().await;
}

async fn tasks_are_listed_by_queue_and_kind(place: Engine) {
    place.enqueue(task("a")).await;
    place.enqueue(NewTask { kind: "other", ..task("b") }).await;
    place.enqueue(NewTask { queue: "elsewhere", ..task("c") }).await;
    let mut session = place.db.read().await.expect("read");
    for (kind, expected) in [("", vec!["a", "b"]), ("other", vec!["b"]), ("none", vec![])] {
        let page = Page::new(1, 10);
        let (tasks, total) = ask::list(&mut session, QUEUE, kind, page).await.expect("list");
        let mut ids: Vec<_> = tasks.iter().map(|task| task.task_id.as_str()).collect();
        ids.sort_unstable();
        assert_eq!((ids, total), (expected.clone(), expected.len() as i64), "kind `{kind}`");
    }
}

#[test]
fn every_word_is_read_back() {
    for words in [Words::BUILD, Words::MAINTENANCE] {
        for status in
            [TaskStatus::Pending, TaskStatus::Running, TaskStatus::Succeeded, TaskStatus::Failed]
        {
            assert_eq!(words.parse(words.of(status)), Some(status));
        }
        assert_eq!(words.of(TaskStatus::Canceled), "FAILED");
        assert_eq!(words.parse("CANCELED"), None);
    }
}
