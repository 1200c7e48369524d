//! Rows of the task queue. Every statement that a worker issues carries (`task_id`, `attempt`) and
//! touches RUNNING rows only, so that a worker that lost its lease changes nothing.

pub mod attempt;
pub mod claim;
mod state;

use berth_types::Millis;

pub use attempt::{
    Held, Released, expired, fence, fence_lost, finish, held, left_behind, release, renew,
};
pub use claim::{PRIORITY_HEAD_START, turn};
pub use state::{TaskState, TaskStateError, TaskStatus};

use super::list_count::{self, List};
use super::maintenance_task::QUEUE as MAINTENANCE;
use crate::page::page_keys;
use crate::{Change, DbError, Page, Row, Session, args};

/// A row of `task`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub task_id: String,
    pub queue: String,
    pub kind: String,
    /// JSON.
    pub payload: String,
    pub state: TaskState,
    pub priority: i64,
    /// In the database's time.
    pub run_at: Millis,
    /// How often it was claimed; 0 before the first time.
    pub attempt: i64,
    /// How often it may fail.
    pub max_attempts: i64,
    /// How many attempts failed.
    pub failures: i64,
    /// How many workers were lost while they ran it.
    pub losses: i64,
    /// Slots are shared between tenants, and within a tenant between its shares.
    pub tenant: String,
    pub share: String,
    /// Place in the order of claims, lower first; `None` of a READY task that waits for its `run_at`.
    pub turn: Option<i64>,
    pub lease_owner: Option<String>,
    /// In the database's time.
    pub lease_expires_at: Option<Millis>,
    pub cancel_requested: bool,
    /// JSON.
    pub progress: String,
    pub dedup_key: Option<String>,
    /// Why it ended, was last retried or waits.
    pub error: Option<String>,
    pub log_lines: i64,
    pub created_at: Millis,
    pub started_at: Option<Millis>,
    pub finished_at: Option<Millis>,
}

macro_rules! columns {
    () => {
        "task_id, queue, kind, payload, state, priority, run_at, attempt, max_attempts, failures, \
         losses, tenant, share, turn, lease_owner, lease_expires_at, cancel_requested, progress, \
         dedup_key, error, log_lines, created_at, started_at, finished_at"
    };
}
pub(crate) use columns;

macro_rules! page {
    ($condition:literal, $order:literal) => {
        concat!(
            page_keys!("task_id", "task", $condition, $order),
            "SELECT t.* FROM page p CROSS JOIN task t WHERE t.task_id = p.task_id \
             ORDER BY t.created_at DESC, t.task_id DESC"
        )
    };
}

const INSERT: &str = "INSERT INTO task (task_id, queue, kind, payload, state, priority, run_at, \
     attempt, max_attempts, failures, losses, tenant, share, turn, lease_owner, lease_expires_at, \
     cancel_requested, progress, dedup_key, error, log_lines, created_at, started_at, finished_at) \
     VALUES ($1, $2, $3, $4, 'READY', $5, $6, 0, $7, 0, 0, $8, $9, $10, NULL, NULL, FALSE, $11, \
     $12, NULL, 0, $13, NULL, NULL) \
     ON CONFLICT (dedup_key) WHERE dedup_key IS NOT NULL AND state IN ('READY', 'RUNNING') \
     DO NOTHING";

const FIND: &str = concat!("SELECT ", columns!(), " FROM task WHERE task_id = $1");

const LIST: &str = page!("queue = $1", "created_at DESC, task_id DESC");

const LIST_FROM_END: &str = page!("queue = $1", "created_at, task_id");

const OF_KIND: &str = page!("queue = $1 AND kind = $4", "created_at DESC, task_id DESC");

const OF_KIND_FROM_END: &str = page!("queue = $1 AND kind = $4", "created_at, task_id");

// The queue whose tasks are counted and indexed by tenant (migration 9).
const OF_TENANT: &str =
    page!("queue = 'maintenance' AND tenant = $1", "created_at DESC, task_id DESC");

const OF_TENANT_FROM_END: &str =
    page!("queue = 'maintenance' AND tenant = $1", "created_at, task_id");

const OF_TENANT_AND_KIND: &str =
    page!("queue = 'maintenance' AND tenant = $1 AND kind = $4", "created_at DESC, task_id DESC");

const OF_TENANT_AND_KIND_FROM_END: &str =
    page!("queue = 'maintenance' AND tenant = $1 AND kind = $4", "created_at, task_id");

const FIND_UNFINISHED_BY_DEDUP_KEY: &str =
    "SELECT task_id FROM task WHERE dedup_key = $1 AND state IN ('READY', 'RUNNING')";

const RAISE_PRIORITY: &str = "UPDATE task SET turn = turn - ($2 - priority) * $3, priority = $2 \
     WHERE task_id = $1 AND state = 'READY' AND priority < $2";

const CANCEL: &str = "UPDATE task SET cancel_requested = TRUE, \
     state = CASE WHEN state = 'READY' THEN 'CANCELED' ELSE state END, \
     error = CASE WHEN state = 'READY' THEN $2 ELSE error END, \
     finished_at = CASE WHEN state = 'READY' THEN $3 ELSE finished_at END \
     WHERE task_id = $1 AND state IN ('READY', 'RUNNING') RETURNING state";

const TAKE_LOG_LINES: &str =
    "UPDATE task SET log_lines = log_lines + $2 WHERE task_id = $1 RETURNING log_lines";

const COUNT_UNFINISHED: &str = "SELECT \
     (SELECT COUNT(*) FROM task WHERE queue = $1 AND state = 'READY' AND turn IS NOT NULL) AS ready, \
     (SELECT COUNT(*) FROM task WHERE queue = $1 AND state = 'READY' AND turn IS NULL) AS delayed, \
     (SELECT COUNT(*) FROM task WHERE queue = $1 AND state = 'RUNNING') AS running";

/// Every statement of this file.
pub const STATEMENTS: &[&str] = &[
    INSERT,
    FIND,
    LIST,
    LIST_FROM_END,
    OF_KIND,
    OF_KIND_FROM_END,
    OF_TENANT,
    OF_TENANT_FROM_END,
    OF_TENANT_AND_KIND,
    OF_TENANT_AND_KIND_FROM_END,
    FIND_UNFINISHED_BY_DEDUP_KEY,
    RAISE_PRIORITY,
    CANCEL,
    TAKE_LOG_LINES,
    COUNT_UNFINISHED,
];

/// Adds a READY task; `false` when an unfinished task holds its `dedup_key`.
///
/// # Errors
/// `Conflict` when the id is taken.
pub async fn insert(session: &mut Session, task: &Task) -> Result<bool, DbError> {
    session.touch(Change::Task(&task.task_id));
    let rows = session
        .execute(
            INSERT,
            args![
                &task.task_id,
                &task.queue,
                &task.kind,
                &task.payload,
                task.priority,
                task.run_at,
                task.max_attempts,
                &task.tenant,
                &task.share,
                task.turn,
                &task.progress,
                task.dedup_key.clone(),
                task.created_at
            ],
        )
        .await?;
    Ok(rows == 1)
}

pub async fn find(session: &mut Session, task_id: &str) -> Result<Option<Task>, DbError> {
    session.fetch_optional(FIND, args![task_id]).await?.map(|row| decode(&row)).transpose()
}

/// A page of the tasks of a queue, newest first, and how many there are in all; an empty kind
/// takes all.
pub async fn list(
    session: &mut Session,
    queue: &str,
    kind: &str,
    page: Page,
) -> Result<(Vec<Task>, i64), DbError> {
    let total = list_count::total(session, List::Task, queue, kind).await?;
    let Some(reach) = page.reach(total) else { return Ok((Vec::new(), total)) };
    let mut values = args![queue, reach.limit, reach.offset];
    let statement = if kind.is_empty() {
        reach.pick([LIST, LIST_FROM_END])
    } else {
        values.push(kind.into());
        reach.pick([OF_KIND, OF_KIND_FROM_END])
    };
    let rows = session.fetch_all(statement, values).await?;
    Ok((rows.iter().map(decode).collect::<Result<_, _>>()?, total))
}

/// As [`list`], the tasks that a tenant has in the queue `maintenance`.
pub async fn list_maintenance_of_tenant(
    session: &mut Session,
    tenant: &str,
    kind: &str,
    page: Page,
) -> Result<(Vec<Task>, i64), DbError> {
    let owner = format!("{MAINTENANCE} {tenant}");
    let total = list_count::total(session, List::Task, &owner, kind).await?;
    let Some(reach) = page.reach(total) else { return Ok((Vec::new(), total)) };
    let mut values = args![tenant, reach.limit, reach.offset];
    let statement = if kind.is_empty() {
        reach.pick([OF_TENANT, OF_TENANT_FROM_END])
    } else {
        values.push(kind.into());
        reach.pick([OF_TENANT_AND_KIND, OF_TENANT_AND_KIND_FROM_END])
    };
    let rows = session.fetch_all(statement, values).await?;
    Ok((rows.iter().map(decode).collect::<Result<_, _>>()?, total))
}

/// The unfinished task that holds the key.
pub async fn find_unfinished_by_dedup_key(
    session: &mut Session,
    dedup_key: &str,
) -> Result<Option<String>, DbError> {
    let row = session.fetch_optional(FIND_UNFINISHED_BY_DEDUP_KEY, args![dedup_key]).await?;
    row.map(|row| row.text("task_id")).transpose()
}

/// Raises the priority of a READY task; `false` when it has that much, runs or is finished.
pub async fn raise_priority(
    session: &mut Session,
    task_id: &str,
    priority: i64,
) -> Result<bool, DbError> {
    session.touch(Change::Task(task_id));
    let values = args![task_id, priority, PRIORITY_HEAD_START];
    Ok(session.execute(RAISE_PRIORITY, values).await? == 1)
}

/// Cancels a READY task, or marks a RUNNING one; the state afterwards, `None` when the task is
/// finished or unknown.
pub async fn cancel(
    session: &mut Session,
    task_id: &str,
    error: &str,
    now: Millis,
) -> Result<Option<TaskState>, DbError> {
    session.touch(Change::Task(task_id));
    let row = session.fetch_optional(CANCEL, args![task_id, error, now]).await?;
    row.map(|row| row.parse("state")).transpose()
}

/// Reserves `lines` log line numbers and locks the row; the last of them.
///
/// # Errors
/// `NotFound` when there is no such task.
pub async fn take_log_lines(
    session: &mut Session,
    task_id: &str,
    lines: i64,
) -> Result<i64, DbError> {
    session.touch(Change::Task(task_id));
    session.fetch_one(TAKE_LOG_LINES, args![task_id, lines]).await?.int("log_lines")
}

/// How many tasks of a queue are not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    /// Could be claimed now.
    pub ready: i64,
    /// Wait for their `run_at`.
    pub delayed: i64,
    pub running: i64,
}

/// How many tasks of a queue are not finished; the cost does not depend on finished ones.
pub async fn count_unfinished(session: &mut Session, queue: &str) -> Result<Unfinished, DbError> {
    let row = session.fetch_one(COUNT_UNFINISHED, args![queue]).await?;
    Ok(Unfinished {
        ready: row.int("ready")?,
        delayed: row.int("delayed")?,
        running: row.int("running")?,
    })
}

fn decode(row: &Row) -> Result<Task, DbError> {
    Ok(Task {
        task_id: row.text("task_id")?,
        queue: row.text("queue")?,
        kind: row.text("kind")?,
        payload: row.text("payload")?,
        state: row.parse("state")?,
        priority: row.int("priority")?,
        run_at: row.int("run_at")?,
        attempt: row.int("attempt")?,
        max_attempts: row.int("max_attempts")?,
        failures: row.int("failures")?,
        losses: row.int("losses")?,
        tenant: row.text("tenant")?,
        share: row.text("share")?,
        turn: row.opt_int("turn")?,
        lease_owner: row.opt_text("lease_owner")?,
        lease_expires_at: row.opt_int("lease_expires_at")?,
        cancel_requested: row.boolean("cancel_requested")?,
        progress: row.text("progress")?,
        dedup_key: row.opt_text("dedup_key")?,
        error: row.opt_text("error")?,
        log_lines: row.int("log_lines")?,
        created_at: row.int("created_at")?,
        started_at: row.opt_int("started_at")?,
        finished_at: row.opt_int("finished_at")?,
    })
}
