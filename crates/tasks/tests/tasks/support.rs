//! Databases, handlers and runners of the tests.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use berth_metadata::{Db, DbError, DbOptions, Page, Session};
use berth_tasks::{
    End, Enqueued, Handler, NewTask, Runner, RunnerConfig, TASKS_CHANNEL, TaskFailure, TaskHandle,
    TaskRow, TaskView, ask, enqueue,
};
use berth_testbed::{Furnish, Place};
use berth_types::{Clock, SystemClock};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const QUEUE: &str = "test";

/// A database, and whatever it lies in.
pub(crate) struct Engine {
    pub(crate) db: Db,
    pub(crate) url: String,
    _place: Option<Place>,
}

impl Furnish for Engine {
    async fn furnish(place: Place) -> Self {
        let (db, url) = (place.artifacts.db.clone(), place.url().to_owned());
        Self { db, url, _place: Some(place) }
    }
}

impl Engine {
    /// One that the test opened itself.
    pub(crate) fn of(db: Db, url: String) -> Self {
        Self { db, url, _place: None }
    }

    /// The database as another process sees it.
    pub(crate) async fn elsewhere(&self) -> Db {
        Db::open_with(&self.url, DbOptions { max_connections: 4, ..DbOptions::default() })
            .await
            .expect("opens again")
    }

    pub(crate) async fn enqueue(&self, task: NewTask) -> Enqueued {
        let mut session = self.db.begin().await.expect("begin");
        let enqueued = enqueue(&mut session, task, SystemClock.now()).await.expect("enqueue");
        session.commit().await.expect("commit");
        self.db.notify(TASKS_CHANNEL);
        enqueued
    }

    pub(crate) async fn view(&self, task_id: &str) -> TaskView {
        let mut session = self.db.read().await.expect("read");
        ask::find(&mut session, task_id).await.expect("get").expect("the task exists")
    }

    /// Waits until `condition` holds.
    pub(crate) async fn until(
        &self,
        task_id: &str,
        condition: impl Fn(&TaskView) -> bool,
    ) -> TaskView {
        for _ in 0..3000 {
            let view = self.view(task_id).await;
            if condition(&view) {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("task {task_id} did not get there: {:?}", self.view(task_id).await);
    }

    pub(crate) async fn finished(&self, task_id: &str) -> TaskView {
        self.until(task_id, |view| view.state.is_finished()).await
    }

    /// All messages of a task's log; checks that the numbers have no gaps.
    pub(crate) async fn log(&self, task_id: &str) -> Vec<String> {
        let mut session = self.db.read().await.expect("read");
        let page = Page::new(1, 100_000);
        let (lines, total) = ask::log(&mut session, task_id, page).await.expect("log");
        let numbers: Vec<_> = lines.iter().map(|line| line.line_number).collect();
        assert_eq!(numbers, (1..=total).collect::<Vec<_>>(), "line numbers of {task_id}");
        lines.into_iter().map(|line| line.message).collect()
    }

    pub(crate) async fn run_sql(&self, sql: &'static str) {
        let mut session = self.db.begin().await.expect("begin");
        session.execute(sql, vec![]).await.expect(sql);
        session.commit().await.expect("commit");
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        let mut session = self.db.read().await.expect("read");
        session.fetch_one(sql, vec![]).await.expect(sql).int("n").expect("n")
    }
}

pub(crate) fn task(id: &str) -> NewTask {
    task_with(id, json!(null))
}

pub(crate) fn task_with(id: &str, payload: Value) -> NewTask {
    NewTask {
        task_id: id.to_owned(),
        queue: QUEUE,
        kind: "test",
        payload,
        tenant: "tenant".to_owned(),
        share: "share".to_owned(),
        priority: 0,
        max_attempts: 3,
        dedup_key: None,
        run_at: None,
    }
}

/// A configuration whose times are short enough for tests.
pub(crate) fn quick(workers: usize) -> RunnerConfig {
    let mut config = RunnerConfig::new(QUEUE, workers);
    config.lease = Duration::from_millis(600);
    config.heartbeat = Duration::from_millis(100);
    config.poll = Duration::from_millis(50);
    config.backoff_base = Duration::from_millis(20);
    config.backoff_max = Duration::from_millis(100);
    config.grace = Duration::from_millis(300);
    config
}

pub(crate) fn system_clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// A runner at work.
pub(crate) struct AtWork {
    pub(crate) shutdown: CancellationToken,
    pub(crate) work: JoinHandle<()>,
}

impl AtWork {
    pub(crate) fn start(db: &Db, config: RunnerConfig, handler: impl Handler) -> Self {
        let shutdown = CancellationToken::new();
        let runner = Runner::new(db.clone(), system_clock(), config, vec![Arc::new(handler)]);
        let work = tokio::spawn(runner.run(shutdown.clone()));
        Self { shutdown, work }
    }

    /// Lets it end in order.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.work.await.expect("the runner ends");
    }

    /// Kills it.
    pub(crate) async fn kill(self) {
        self.work.abort();
        let _ = self.work.await;
    }
}

type Work = dyn Fn(TaskHandle) -> futures::future::BoxFuture<'static, Result<(), TaskFailure>>
    + Send
    + Sync;

/// A handler made of a closure; its `ended` writes to the table `ended`, when there is one.
pub(crate) struct Closure {
    pub(crate) work: Box<Work>,
    pub(crate) records_ends: bool,
}

pub(crate) fn handler<F, R>(work: F) -> Closure
where
    F: Fn(TaskHandle) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), TaskFailure>> + Send + 'static,
{
    Closure { work: Box::new(move |task| Box::pin(work(task))), records_ends: false }
}

impl Closure {
    pub(crate) fn recording_ends(mut self) -> Self {
        self.records_ends = true;
        self
    }
}

#[async_trait]
impl Handler for Closure {
    fn kind(&self) -> &'static str {
        "test"
    }

    async fn run(&self, task: &TaskHandle) -> Result<(), TaskFailure> {
        (self.work)(task.clone()).await
    }

    async fn ended(&self, session: &mut Session, task: &TaskRow, end: &End) -> Result<(), DbError> {
        if self.records_ends {
            let values = berth_metadata::args![&task.task_id, end.state().as_str(), end.reason()];
            session.execute("INSERT INTO ended VALUES ($1, $2, $3)", values).await?;
        }
        Ok(())
    }
}

pub(crate) const ENDED_TABLE: &str = "CREATE TABLE ended (task_id TEXT, state TEXT, reason TEXT)";
