//! How slots are shared when more waits than can run.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use berth_metadata::args;
use berth_tasks::{NewTask, RunnerConfig, TaskState, enqueue, raise_priority};
use berth_types::{Clock as _, SystemClock};

use berth_testbed::on_both_engines;

use crate::support::{AtWork, Closure, Engine, handler, quick, task};

on_both_engines!(
    one_repository_does_not_stand_before_everyone_else,
    an_instance_with_many_repositories_gets_no_more_than_another,
    slow_sources_leave_room_for_a_healthy_one,
    a_slow_share_cannot_take_the_last_slot,
    a_task_that_waited_long_comes_before_an_urgent_one,
    a_priority_is_raised_while_the_task_waits,
    finished_tasks_cost_a_claim_nothing,
);

fn of(id: &str, tenant: &str, share: &str) -> NewTask {
    NewTask { tenant: tenant.to_owned(), share: share.to_owned(), ..task(id) }
}

async fn enqueue_all(place: &Engine, tasks: Vec<NewTask>) {
    let mut session = place.db.begin().await.expect("begin");
    for task in tasks {
        enqueue(&mut session, task, SystemClock.now()).await.expect("enqueue");
    }
    session.commit().await.expect("commit");
}

/// Takes a moment; the order in which tasks began.
fn recording(began: &Arc<Mutex<Vec<String>>>) -> Closure {
    let began = Arc::clone(began);
    handler(move |task| {
        began.lock().expect("lock").push(task.id().to_owned());
        async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            Ok(())
        }
    })
}

fn place_of(began: &Mutex<Vec<String>>, id: &str) -> usize {
    let began = began.lock().expect("lock");
    began.iter().position(|one| one == id).unwrap_or_else(|| panic!("{id} in {began:?}"))
}

async fn one_repository_does_not_stand_before_everyone_else(place: Engine) {
    enqueue_all(&place, (0..500).map(|n| of(&format!("a{n}"), "i", "a")).collect()).await;
    enqueue_all(&place, vec![of("b", "i", "b"), of("c", "i", "c")]).await;
    let began = Arc::default();
    let runner = AtWork::start(&place.db, quick(2), recording(&began));
    for id in ["b", "c"] {
        assert_eq!(place.finished(id).await.state, TaskState::Succeeded);
        let before = place_of(&began, id);
        assert!(before <= 6, "{before} tasks of another repository came before {id}");
    }
    runner.stop().await;
}

async fn an_instance_with_many_repositories_gets_no_more_than_another(place: Engine) {
    let many = (0..300).map(|n| of(&format!("a{n}"), "first", &format!("repository-{n}")));
    enqueue_all(&place, many.collect()).await;
    enqueue_all(&place, (0..5).map(|n| of(&format!("b{n}"), "second", "only")).collect()).await;
    let began = Arc::default();
    let runner = AtWork::start(&place.db, quick(2), recording(&began));
    place.finished("b4").await;
    let before = place_of(&began, "b4");
    assert!(before <= 16, "{before} came before the fifth task of the other instance");
    runner.stop().await;
}

/// Two tasks of sources that send a byte a second hold both workers.
async fn slow_sources_leave_room_for_a_healthy_one(place: Engine) {
    let config = RunnerConfig { spare: 2, slow_after: Duration::from_millis(400), ..quick(2) };
    let slow = handler(|task| async move {
        if task.id().starts_with("slow") {
            task.cancelled().cancelled().await;
            return Err(berth_tasks::TaskFailure::Canceled);
        }
        Ok(())
    });
    let runner = AtWork::start(&place.db, config, slow);
    enqueue_all(&place, vec![of("slow1", "i", "one"), of("slow2", "i", "two")]).await;
    for id in ["slow1", "slow2"] {
        place.until(id, |view| view.state == TaskState::Running).await;
    }
    place.enqueue(of("good", "i", "three")).await;
    let good = tokio::time::timeout(Duration::from_secs(3), place.finished("good")).await;
    assert_eq!(good.expect("while the slow ones run").state, TaskState::Succeeded);
    runner.stop().await;
}

async fn a_slow_share_cannot_take_the_last_slot(place: Engine) {
    let config = RunnerConfig { slow_after: Duration::from_millis(100), ..quick(2) };
    let slow = handler(|task| async move {
        if task.id().starts_with("slow") {
            task.cancelled().cancelled().await;
            return Err(berth_tasks::TaskFailure::Canceled);
        }
        Ok(())
    });
    let runner = AtWork::start(&place.db, config, slow);
    place.enqueue(of("slow1", "i", "one")).await;
    place.until("slow1", |view| view.state == TaskState::Running).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    place.enqueue(of("slow2", "i", "one")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(place.view("slow2").await.state, TaskState::Ready);
    place.enqueue(of("good", "i", "two")).await;
    assert_eq!(place.finished("good").await.state, TaskState::Succeeded);
    runner.stop().await;
}

async fn a_task_that_waited_long_comes_before_an_urgent_one(place: Engine) {
    let day = 24 * 3_600_000;
    place.enqueue(NewTask { run_at: Some(SystemClock.now() - day), ..task("old") }).await;
    place.enqueue(NewTask { priority: 5, ..task("urgent") }).await;
    place.enqueue(NewTask { priority: 1, ..task("young") }).await;
    let began = Arc::default();
    let runner = AtWork::start(&place.db, quick(1), recording(&began));
    place.finished("young").await;
    assert_eq!(*began.lock().expect("lock"), ["old", "urgent", "young"]);
    runner.stop().await;
}

async fn a_priority_is_raised_while_the_task_waits(place: Engine) {
    place.enqueue(NewTask { priority: 3, ..task("first") }).await;
    place.enqueue(NewTask { priority: 1, ..task("raised") }).await;
    let mut session = place.db.begin().await.expect("begin");
    assert!(raise_priority(&mut session, "raised", 5).await.expect("raise"));
    assert!(!raise_priority(&mut session, "raised", 2).await.expect("raise"), "never lowered");
    session.commit().await.expect("commit");
    assert_eq!(place.view("raised").await.priority, 5);
    let began = Arc::default();
    let runner = AtWork::start(&place.db, quick(1), recording(&began));
    place.finished("first").await;
    assert_eq!(*began.lock().expect("lock"), ["raised", "first"]);
    runner.stop().await;
}

/// What an idle runner asks, and a claim, go through indexes that hold unfinished tasks only.
async fn finished_tasks_cost_a_claim_nothing(place: Engine) {
    use berth_metadata::tables::task::claim;
    if place.db.engine() != berth_metadata::Engine::Sqlite {
        return;
    }
    let mut session = place.db.read().await.expect("read");
    for text in claim::STATEMENTS.iter().chain(claim::SQLITE_STATEMENTS) {
        let explain: &'static str = format!("EXPLAIN QUERY PLAN {text}").leak();
        let values = args!["q", "a", "b", 1, "o", 1, 1];
        let wanted = (1..=7).filter(|n| text.contains(&format!("${n}"))).count();
        let rows = session.fetch_all(explain, values.into_iter().take(wanted).collect()).await;
        for row in rows.expect("plan") {
            let step = row.text("detail").expect("detail");
            let reads_all = step.contains("task") && !step.contains("TEMP") && {
                let partial = ["task_turn", "task_share", "task_delayed", "task_leased"];
                !partial.iter().any(|index| step.contains(index)) && !step.contains("(task_id=?)")
            };
            assert!(!reads_all, "{step} in {text}");
        }
    }
}
