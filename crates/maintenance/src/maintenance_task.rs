//! Tasks that keep the server or an instance in order: made by the clock (the server's) and on request, one
//! of a kind and scope at a time.

use std::time::Duration;

use async_trait::async_trait;
use berth_metadata::tables::schedule;
use berth_metadata::{DbError, Page, Session};
use berth_tasks::{
    CancelOutcome, Enqueued, Fire, LogLine, NewTask, SCHEDULES_CHANNEL, TASKS_CHANNEL, TaskError,
    TaskView, ask, enqueue,
};
use berth_types::{Ctx, Millis, id};
use serde_json::Value;

use crate::{Maintenance, MaintenanceScope};

/// The kind of schedule that makes such tasks.
const SCHEDULE_KIND: &str = "maintenance";

/// A task of maintenance makes way for what users wait for.
const PRIORITY: i64 = 1;
const ATTEMPTS: i64 = 3;

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaintenanceKind {
    /// Collects garbage.
    Gc,
    /// Reads every blob again.
    Scrub,
    /// Forgets finished tasks.
    History,
}

impl MaintenanceKind {
    pub const ALL: [Self; 3] = [Self::Gc, Self::Scrub, Self::History];

    /// As tasks are stored.
    pub fn task_kind(self) -> &'static str {
        match self {
            Self::Gc => "gc",
            Self::Scrub => "scrub",
            Self::History => "history",
        }
    }

    /// As the API names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gc => "GC",
            Self::Scrub => "SCRUB",
            Self::History => "HISTORY",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    fn of_task(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.task_kind() == kind)
    }

    fn schedule_id(self) -> String {
        format!("{SCHEDULE_KIND}-{}", self.task_kind())
    }
}

/// What can be wrong with a request.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    #[error("maintenance task `{0}` does not exist")]
    NotFound(String),
    #[error("maintenance task `{0}` has ended already")]
    Finished(String),
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// A task of maintenance.
#[derive(Debug, Clone, PartialEq)]
pub struct MaintenanceTask {
    pub kind: MaintenanceKind,
    pub task: TaskView,
}

/// Tasks of maintenance.
pub struct MaintenanceTasks<'a>(pub(crate) &'a Maintenance);

impl MaintenanceTasks<'_> {
    /// Makes a task, or names the unfinished one of the kind and scope.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn create(
        &self,
        ctx: &Ctx,
        scope: &MaintenanceScope,
        kind: MaintenanceKind,
    ) -> Result<String, MaintenanceError> {
        let mut session = self.0.db.begin().await?;
        let task_id = make(&mut session, scope, kind, self.0.now()).await?;
        session.commit().await?;
        self.0.db.notify(TASKS_CHANNEL);
        tracing::info!(request = ctx.request_id, task_id, kind = kind.as_str(), "maintenance");
        Ok(task_id)
    }

    /// # Errors
    /// `NotFound`, also for one that is not within the scope.
    pub async fn find(
        &self,
        scope: &MaintenanceScope,
        task_id: &str,
    ) -> Result<MaintenanceTask, MaintenanceError> {
        let mut session = self.0.db.read().await?;
        find(&mut session, scope, task_id).await
    }

    /// A page of the instance's, or of all, newest first, and the number of all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(
        &self,
        scope: &MaintenanceScope,
        kind: Option<MaintenanceKind>,
        page: Page,
    ) -> Result<(Vec<MaintenanceTask>, i64), MaintenanceError> {
        let mut session = self.0.db.read().await?;
        let kind = kind.map_or("", MaintenanceKind::task_kind);
        let (tasks, total) = match scope {
            MaintenanceScope::Server => {
                ask::list(&mut session, Maintenance::QUEUE, kind, page).await?
            }
            MaintenanceScope::Instance(id) => {
                ask::list_maintenance_of_tenant(&mut session, id, kind, page).await?
            }
        };
        Ok((tasks.into_iter().filter_map(known).collect(), total))
    }

    /// A page of a task's log and the number of its lines.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn log(
        &self,
        scope: &MaintenanceScope,
        task_id: &str,
        page: Page,
    ) -> Result<(Vec<LogLine>, i64), MaintenanceError> {
        let mut session = self.0.db.read().await?;
        find(&mut session, scope, task_id).await?;
        Ok(ask::log(&mut session, task_id, page).await?)
    }

    /// Ends a task that waits or runs; what it did stays done.
    ///
    /// # Errors
    /// `NotFound`, `Finished`.
    pub async fn cancel(
        &self,
        ctx: &Ctx,
        scope: &MaintenanceScope,
        task_id: &str,
    ) -> Result<(), MaintenanceError> {
        self.find(scope, task_id).await?;
        match ask::cancel(&self.0.db, task_id, self.0.now()).await? {
            CancelOutcome::Canceled | CancelOutcome::Requested => {
                tracing::info!(request = ctx.request_id, task_id, "maintenance cancelled");
                Ok(())
            }
            CancelOutcome::AlreadyFinished => Err(MaintenanceError::Finished(task_id.to_owned())),
            CancelOutcome::NotFound => Err(MaintenanceError::NotFound(task_id.to_owned())),
        }
    }

    /// Has the clock make a task of the kind for the server so often; zero is never.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn arrange(&self, kind: MaintenanceKind, every: Duration) -> Result<(), DbError> {
        let interval_ms = Millis::try_from(every.as_millis()).unwrap_or(Millis::MAX / 4);
        let mut session = self.0.db.begin().await?;
        let known = schedule::find(&mut session, &kind.schedule_id()).await?;
        // A restart does not put off what is due soon.
        if known.as_ref().map(|known| known.interval_ms) == Some(interval_ms) {
            return Ok(());
        }
        if interval_ms == 0 {
            schedule::remove(&mut session, &kind.schedule_id()).await?;
        } else {
            let row = schedule::Schedule {
                schedule_id: kind.schedule_id(),
                kind: SCHEDULE_KIND.to_owned(),
                payload: Value::from(kind.task_kind()).to_string(),
                interval_ms,
                next_at: session.database_time().await?.saturating_add(interval_ms),
            };
            schedule::put(&mut session, &row).await?;
        }
        session.commit().await?;
        self.0.db.notify(SCHEDULES_CHANNEL);
        Ok(())
    }
}

#[async_trait]
impl Fire for Maintenance {
    /// Makes a task for the server, unless one of the kind is unfinished. Schedules of other kinds are left alone.
    async fn fire(&self, session: &mut Session, due: &schedule::Schedule) -> Result<(), TaskError> {
        let kind =
            MaintenanceKind::ALL.into_iter().find(|kind| kind.schedule_id() == due.schedule_id);
        match kind {
            Some(kind) if due.kind == SCHEDULE_KIND => {
                make(session, &MaintenanceScope::Server, kind, self.now()).await.map(drop)
            }
            _ => Ok(()),
        }
    }
}

async fn make(
    session: &mut Session,
    scope: &MaintenanceScope,
    kind: MaintenanceKind,
    now: Millis,
) -> Result<String, TaskError> {
    let task_id = id::key();
    let payload = serde_json::to_value(scope.payload())
        .map_err(|error| TaskError::Stored("payload", error))?;
    let task = NewTask {
        task_id: task_id.clone(),
        queue: Maintenance::QUEUE,
        kind: kind.task_kind(),
        payload,
        tenant: scope.tenant().to_owned(),
        share: kind.task_kind().to_owned(),
        priority: PRIORITY,
        max_attempts: ATTEMPTS,
        dedup_key: Some(scope.name(&kind.schedule_id())),
        run_at: None,
    };
    Ok(match enqueue(session, task, now).await? {
        Enqueued::New => task_id,
        Enqueued::Duplicate { task_id } => task_id,
    })
}

async fn find(
    session: &mut Session,
    scope: &MaintenanceScope,
    task_id: &str,
) -> Result<MaintenanceTask, MaintenanceError> {
    let within = |task: &TaskView| match scope {
        MaintenanceScope::Server => true,
        MaintenanceScope::Instance(_) => task.tenant == scope.tenant(),
    };
    let found = ask::find(session, task_id).await?.filter(within);
    found.and_then(known).ok_or_else(|| MaintenanceError::NotFound(task_id.to_owned()))
}

/// The task, if it is one of maintenance.
fn known(task: TaskView) -> Option<MaintenanceTask> {
    Some(MaintenanceTask { kind: MaintenanceKind::of_task(&task.kind)?, task })
}
