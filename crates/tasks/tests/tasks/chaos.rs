//! Workers are killed at random and stall beyond their leases; every task completes exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use berth_metadata::{Db, DbOptions, args};
use berth_tasks::{NewTask, RunnerConfig, TaskFailure, TaskHandle, TaskState};
use rand::Rng as _;

use berth_testbed::on_both_engines;

use crate::support::{AtWork, Closure, Engine, handler, quick, task};

on_both_engines!(every_task_completes_exactly_once);

const TASKS: usize = 150;
/// A task takes longer than it is leased for without renewal, so that an attempt that woke up from a
/// stall meets the next one in the middle of its work.
const STEPS: i64 = 6;
const STALL: Duration = Duration::from_millis(900);

/// One row per completion: two rows for a task would be two completions.
const DONE_TABLE: &str = "CREATE TABLE done (task_id TEXT NOT NULL, attempt BIGINT NOT NULL)";

/// One row per task: which attempt wrote last, and how often an older attempt wrote after a newer.
const STEP_TABLE: &str = "CREATE TABLE step (task_id TEXT PRIMARY KEY, attempt BIGINT NOT NULL, \
     regressions BIGINT NOT NULL)";

const WRITE_STEP: &str = "INSERT INTO step (task_id, attempt, regressions) VALUES ($1, $2, 0) \
     ON CONFLICT (task_id) DO UPDATE SET attempt = excluded.attempt, \
     regressions = step.regressions + \
     CASE WHEN step.attempt > excluded.attempt THEN 1 ELSE 0 END";

fn lease() -> RunnerConfig {
    let mut config = quick(8);
    config.lease = Duration::from_millis(450);
    config.most_losses = 1_000;
    config
}

async fn pause(most: u64) {
    let pause = rand::rng().random_range(0..=most);
    tokio::time::sleep(Duration::from_millis(pause)).await;
}

async fn work(task: TaskHandle) -> Result<(), TaskFailure> {
    for step in 1..=STEPS {
        task.log(format!("{} step {step}", task.attempt())).await;
        pause(200).await;
        let mut session = task.fenced().await?;
        session.execute(WRITE_STEP, args![task.id(), task.attempt()]).await?;
        pause(2).await;
        session.commit().await?;
        if rand::rng().random_bool(0.03) {
            return Err(TaskFailure::Transient("bad luck".to_owned()));
        }
    }
    let mut session = task.fenced().await?;
    session.execute("INSERT INTO done VALUES ($1, $2)", args![task.id(), task.attempt()]).await?;
    session.execute(WRITE_STEP, args![task.id(), task.attempt()]).await?;
    pause(5).await;
    task.complete(session).await
}

fn worker() -> Closure {
    handler(work)
}

/// Runners that share the test's runtime and are dropped at whatever await they are at.
async fn kill_at_random(db: Db, stop: Arc<AtomicBool>, kills: Arc<AtomicU64>) {
    while !stop.load(Ordering::SeqCst) {
        let runner = AtWork::start(&db, lease(), worker());
        tokio::time::sleep(Duration::from_millis(20)).await;
        pause(1_500).await;
        runner.kill().await;
        kills.fetch_add(1, Ordering::SeqCst);
    }
}

/// A runner in a process of its own, as far as the database can tell, whose every thread stands
/// still for longer than the lease, perhaps in the middle of a transaction, and then goes on.
fn stall_at_random(url: &str, stop: &AtomicBool, stalls: &AtomicU64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of its own");
    runtime.block_on(async {
        let db = Db::open_with(url, DbOptions { max_connections: 6, ..DbOptions::default() })
            .await
            .expect("opens");
        while !stop.load(Ordering::SeqCst) {
            let runner = AtWork::start(&db, lease(), worker());
            for _ in 0..2 {
                pause(400).await;
                thread::sleep(STALL);
                stalls.fetch_add(1, Ordering::SeqCst);
            }
            pause(100).await;
            runner.kill().await;
        }
        db.close().await;
    });
}

async fn every_task_completes_exactly_once(place: Engine) {
    place.run_sql(DONE_TABLE).await;
    place.run_sql(STEP_TABLE).await;
    for n in 0..TASKS {
        let priority = i64::try_from(n % 5).expect("small");
        place.enqueue(NewTask { max_attempts: 1_000, priority, ..task(&format!("t{n}")) }).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (kills, stalls) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let killers: Vec<_> = (0..3)
        .map(|_| {
            let (stop, kills) = (Arc::clone(&stop), Arc::clone(&kills));
            tokio::spawn(kill_at_random(place.db.clone(), stop, kills))
        })
        .collect();
    let stallers: Vec<_> = (0..2)
        .map(|_| {
            let (url, stop) = (place.url.clone(), Arc::clone(&stop));
            let stalls = Arc::clone(&stalls);
            thread::spawn(move || stall_at_random(&url, &stop, &stalls))
        })
        .collect();

    let started = Instant::now();
    let unfinished = "SELECT COUNT(*) AS n FROM task WHERE state IN ('READY', 'RUNNING')";
    while place.count(unfinished).await > 0 && started.elapsed() < Duration::from_secs(15) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop.store(true, Ordering::SeqCst);
    for killer in killers {
        killer.await.expect("killer");
    }
    tokio::task::spawn_blocking(move || {
        for staller in stallers {
            staller.join().expect("staller");
        }
    })
    .await
    .expect("stallers");

    // Whatever is left is done by one that lives.
    let healthy = AtWork::start(&place.db, RunnerConfig { workers: 16, ..lease() }, worker());
    let deadline = Instant::now() + Duration::from_secs(120);
    while place.count(unfinished).await > 0 {
        assert!(Instant::now() < deadline, "{} tasks never end", place.count(unfinished).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    healthy.stop().await;

    let (kills, stalls) = (kills.load(Ordering::SeqCst), stalls.load(Ordering::SeqCst));
    let retried = place.count("SELECT COUNT(*) AS n FROM task WHERE attempt > 1").await;
    assert!(kills >= 5 && stalls >= 2 && retried >= 5, "{kills} kills, {stalls} stalls, {retried}");
    let all = i64::try_from(TASKS).expect("small");
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM done").await, all);
    assert_eq!(place.count("SELECT COUNT(DISTINCT task_id) AS n FROM done").await, all);
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM step WHERE regressions > 0").await, 0);
    let strangers = "SELECT COUNT(*) AS n FROM done d JOIN task t ON t.task_id = d.task_id \
         WHERE t.attempt <> d.attempt OR t.state <> 'SUCCEEDED'";
    assert_eq!(place.count(strangers).await, 0, "the last attempt is the one that completed");
    for n in 0..TASKS {
        check_log(&place, &format!("t{n}")).await;
    }
}

/// Attempts write in order, and the last one wrote all its lines.
async fn check_log(place: &Engine, task_id: &str) {
    let view = place.view(task_id).await;
    assert_eq!(view.state, TaskState::Succeeded);
    let log = place.log(task_id).await;
    let steps: Vec<(i64, i64)> = log
        .iter()
        .filter_map(|line| line.split_once(" step "))
        .map(|(attempt, step)| (attempt.parse().expect("attempt"), step.parse().expect("step")))
        .collect();
    assert!(steps.is_sorted_by(|a, b| a < b), "{task_id}: {log:?}");
    let last: Vec<_> = steps
        .iter()
        .filter(|(attempt, _)| *attempt == view.attempt)
        .map(|(_, step)| *step)
        .collect();
    assert_eq!(last, (1..=STEPS).collect::<Vec<_>>(), "{task_id}: {log:?}");
}
