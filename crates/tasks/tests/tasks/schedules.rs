//! Schedules fire once however many schedulers look.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use berth_metadata::Session;
use berth_metadata::tables::schedule::{self, Schedule};
use berth_tasks::{Fire, NewTask, Scheduler, TaskError, enqueue};
use berth_types::{Clock, ManualClock, SystemClock, id};
use tokio_util::sync::CancellationToken;

use berth_testbed::on_both_engines;

use crate::support::{Engine, system_clock, task};

on_both_engines!(
    two_schedulers_fire_once,
    a_failed_firing_is_undone_and_repeated,
    running_schedulers_keep_time,
);

struct Enqueues(Arc<dyn Clock>);

#[async_trait]
impl Fire for Enqueues {
    async fn fire(&self, session: &mut Session, row: &Schedule) -> Result<(), TaskError> {
        let task = NewTask { task_id: id::generate("fired-"), ..task("x") };
        enqueue(session, task, self.0.now()).await?;
        if row.payload == "\"broken\"" {
            return Err(TaskError::Attempts(0));
        }
        Ok(())
    }
}

async fn put(place: &Engine, id: &str, payload: &str, interval_ms: i64, next_at: i64) {
    let mut session = place.db.begin().await.expect("begin");
    let row = Schedule {
        schedule_id: id.to_owned(),
        kind: "test".to_owned(),
        payload: payload.to_owned(),
        interval_ms,
        next_at,
    };
    schedule::put(&mut session, &row).await.expect("put");
    session.commit().await.expect("commit");
}

async fn next_at(place: &Engine, id: &str) -> i64 {
    let mut session = place.db.read().await.expect("read");
    schedule::find(&mut session, id).await.expect("find").expect("there").next_at
}

const TASKS: &str = "SELECT COUNT(*) AS n FROM task";

async fn two_schedulers_fire_once(place: Engine) {
    let clock = Arc::new(ManualClock::at(1_000));
    let schedulers: Vec<_> = (0..4)
        .map(|_| {
            let clock: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
            let fire = Arc::new(Enqueues(Arc::clone(&clock)));
            Scheduler::new(place.db.clone(), fire)
        })
        .collect();
    put(&place, "a", "null", 500, 1_000).await;
    put(&place, "b", "null", 300, 900).await;
    put(&place, "later", "null", 300, 9_000).await;
    let now = clock.now();
    let fired: usize = futures::future::join_all(schedulers.iter().map(|one| one.tick_at(now)))
        .await
        .into_iter()
        .map(|fired| fired.expect("tick"))
        .sum();
    assert_eq!((fired, place.count(TASKS).await), (2, 2));
    assert_eq!((next_at(&place, "a").await, next_at(&place, "b").await), (1_500, 1_200));
    // Missed times are not made up for.
    clock.advance(2_000);
    let now = clock.now();
    let fired = futures::future::join_all(schedulers.iter().map(|one| one.tick_at(now))).await;
    let fired: usize = fired.into_iter().map(|fired| fired.expect("tick")).sum();
    assert_eq!(fired, 2);
    assert_eq!((next_at(&place, "a").await, next_at(&place, "b").await), (3_500, 3_300));
}

async fn a_failed_firing_is_undone_and_repeated(place: Engine) {
    let clock = Arc::new(ManualClock::at(1_000));
    let fire = Arc::new(Enqueues(Arc::clone(&clock) as Arc<dyn Clock>));
    let scheduler = Scheduler::new(place.db.clone(), fire);
    put(&place, "s", "\"broken\"", 3_600_000, 1_000).await;
    put(&place, "good", "null", 3_600_000, 1_000).await;
    assert_eq!(scheduler.tick_at(1_000).await.expect("tick"), 1, "the other one fires");
    assert_eq!(place.count(TASKS).await, 1);
    assert_eq!(next_at(&place, "s").await, 61_000, "again in a minute");
    let mut session = place.db.begin().await.expect("begin");
    assert!(schedule::remove(&mut session, "s").await.expect("remove"));
    assert!(!schedule::remove(&mut session, "s").await.expect("remove"));
}

async fn running_schedulers_keep_time(place: Engine) {
    put(&place, "s", "null", 200, SystemClock.now() + 100).await;
    let stop = CancellationToken::new();
    let schedulers: Vec<_> = (0..2)
        .map(|_| {
            let fire = Arc::new(Enqueues(system_clock()));
            let scheduler = Scheduler::new(place.db.clone(), fire);
            tokio::spawn(scheduler.run(stop.clone()))
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    stop.cancel();
    for scheduler in schedulers {
        scheduler.await.expect("ends");
    }
    let fired = place.count(TASKS).await;
    assert!((3..=6).contains(&fired), "{fired}");
}
