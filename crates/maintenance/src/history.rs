//! The history of builds and subscription runs: what is old, or more than was asked for, goes, with
//! its results and its log. What is unfinished stays, and so does the newest of its tag or rule.

use std::time::Duration;

use async_trait::async_trait;
use berth_metadata::tables::task_history::{self, History as Kind, Remembered};
use berth_metadata::{Db, DbError};
use berth_tasks::{Handler, TaskFailure, TaskHandle};
use berth_types::Millis;
use serde_json::json;

use crate::scope::Payload;
use crate::{MaintenanceKind, MaintenanceScope};

/// Tasks that are looked at, and deleted, in one transaction.
const PAGE: i64 = 100;

/// How much history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryConfig {
    /// Since the end of a task; zero is for ever.
    pub keep: Duration,
    /// Tasks of a repository, and of a subscription rule; zero is any number.
    pub count: u32,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self { keep: Duration::from_secs(90 * 24 * 3600), count: 1000 }
    }
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    pub builds: u64,
    pub subscriptions: u64,
}

/// Runs the `history` tasks.
pub struct History {
    db: Db,
    config: HistoryConfig,
}

impl History {
    pub fn new(db: Db, config: HistoryConfig) -> Self {
        Self { db, config }
    }

    /// Goes through every history within the scope once; `watch` hears how far it is and says whether to go on.
    ///
    /// # Errors
    /// When the database fails. What was forgotten until then stays so.
    pub async fn run(
        &self,
        scope: &MaintenanceScope,
        mut watch: impl FnMut(Forgotten) -> bool + Send,
    ) -> Result<Forgotten, DbError> {
        let mut done = Forgotten::default();
        for kind in [Kind::Builds, Kind::Subscriptions] {
            let mut owner = String::new();
            loop {
                let mut session = self.db.read().await?;
                let next =
                    task_history::next_owner(&mut session, kind, scope.instance_id(), &owner)
                        .await?;
                drop(session);
                let Some(next) = next else { break };
                if !self.of_owner(kind, &next, &mut done, &mut watch).await? {
                    return Ok(done);
                }
                owner = next;
            }
        }
        Ok(done)
    }

    /// One repository or rule; `false` when it was told to stop.
    async fn of_owner(
        &self,
        kind: Kind,
        owner: &str,
        done: &mut Forgotten,
        watch: &mut (impl FnMut(Forgotten) -> bool + Send),
    ) -> Result<bool, DbError> {
        let mut session = self.db.read().await?;
        let now = session.database_time().await?;
        let keep = Millis::try_from(self.config.keep.as_millis()).unwrap_or(Millis::MAX);
        let old = if keep == 0 { Millis::MIN } else { now.saturating_sub(keep) };
        let surplus = match i64::from(self.config.count) {
            0 => None,
            count => task_history::beyond(&mut session, kind, owner, count).await?,
        };
        drop(session);
        let until = surplus.as_ref().map_or(old, |place| place.0.max(old));
        let goes = |task: &Remembered| {
            let is_surplus = surplus
                .as_ref()
                .is_some_and(|place| (task.created_at, &task.task_id) <= (place.0, &place.1));
            task.has_newer && task.finished_at.is_some_and(|at| at < old || is_surplus)
        };
        let mut after = (Millis::MIN, String::new());
        loop {
            if !watch(*done) {
                return Ok(false);
            }
            let mut session = self.db.read().await?;
            let page = task_history::page(&mut session, kind, owner, &after, until, PAGE);
            let page = page.await?;
            drop(session);
            let Some(last) = page.last() else { return Ok(true) };
            after = (last.created_at, last.task_id.clone());
            if !page.iter().any(goes) {
                continue;
            }
            // Nothing is lost with a deletion that a power failure undoes.
            let mut session = self.db.begin_relaxed().await?;
            let mut forgotten = 0;
            for task in page.iter().filter(|task| goes(task)) {
                if task_history::forget(&mut session, kind, &task.task_id).await? {
                    forgotten += 1;
                }
            }
            session.commit().await?;
            match kind {
                Kind::Builds => done.builds += forgotten,
                Kind::Subscriptions => done.subscriptions += forgotten,
            }
        }
    }
}

#[async_trait]
impl Handler for History {
    fn kind(&self) -> &'static str {
        MaintenanceKind::History.task_kind()
    }

    async fn run(&self, task: &TaskHandle) -> Result<(), TaskFailure> {
        let said = |done: Forgotten| json!({ "BuildTasks": done.builds, "SubscriptionTasks": done.subscriptions });
        let scope = MaintenanceScope::from(task.payload::<Option<Payload>>()?);
        let done = Self::run(self, &scope, |done| {
            task.progress(said(done));
            !task.is_cancelled()
        })
        .await?;
        task.check()?;
        task.log(format!(
            "forgot {} build tasks and {} subscription tasks",
            done.builds, done.subscriptions
        ))
        .await;
        task.complete(task.fenced().await?).await
    }
}
