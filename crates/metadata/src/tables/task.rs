//! Rows of the task queue. Every statement that a worker issues carries (`task_id`, `attempt`) and
//! touches RUNNING rows only, so that a worker that lost its lease changes nothing.

mod state;

use berth_types::Millis;

pub(crate) use state::status_of;
pub use state::{TaskState, TaskStateError, TaskStatus};

use crate::{DbError, Engine, Page, Row, Session, args};

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
    pub run_at: Millis,
    /// How often it was claimed; 0 before the first time.
    pub attempt: i64,
    pub max_attempts: i64,
    pub lease_owner: Option<String>,
    pub lease_expires_at: Option<Millis>,
    pub cancel_requested: bool,
    /// JSON.
    pub progress: String,
    pub dedup_key: Option<String>,
    pub error: Option<String>,
    pub log_lines: i64,
    pub created_at: Millis,
    pub started_at: Option<Millis>,
    pub finished_at: Option<Millis>,
}

const INSERT: &str = "INSERT INTO task (task_id, queue, kind, payload, state, priority, run_at, \
     attempt, max_attempts, lease_owner, lease_expires_at, cancel_requested, progress, dedup_key, \
     error, log_lines, created_at, started_at, finished_at) \
     VALUES ($1, $2, $3, $4, 'READY', $5, $6, 0, $7, NULL, NULL, FALSE, $8, $9, NULL, 0, $10, \
     NULL, NULL) \
     ON CONFLICT (dedup_key) WHERE dedup_key IS NOT NULL AND state IN ('READY', 'RUNNING') \
     DO NOTHING";

const FIND: &str = "SELECT task_id, queue, kind, payload, state, priority, run_at, attempt, \
     max_attempts, lease_owner, lease_expires_at, cancel_requested, progress, dedup_key, error, \
     log_lines, created_at, started_at, finished_at FROM task WHERE task_id = $1";

const COUNT: &str =
    "SELECT COUNT(*) AS total FROM task WHERE queue = $1 AND ($2 = '' OR kind = $2)";

const LIST: &str = "SELECT task_id, queue, kind, payload, state, priority, run_at, attempt, \
     max_attempts, lease_owner, lease_expires_at, cancel_requested, progress, dedup_key, error, \
     log_lines, created_at, started_at, finished_at FROM task \
     WHERE queue = $1 AND ($2 = '' OR kind = $2) \
     ORDER BY created_at DESC, task_id DESC LIMIT $3 OFFSET $4";

const FIND_UNFINISHED_BY_DEDUP_KEY: &str =
    "SELECT task_id FROM task WHERE dedup_key = $1 AND state IN ('READY', 'RUNNING')";

// The choice is materialised so that PostgreSQL evaluates it once, with its limit.
const CLAIM_SQLITE: &str = "WITH next AS MATERIALIZED (SELECT task_id FROM task \
     WHERE queue = $1 AND state = 'READY' AND run_at <= $2 \
     ORDER BY priority DESC, run_at, task_id LIMIT $3) \
     UPDATE task SET state = 'RUNNING', attempt = attempt + 1, lease_owner = $4, \
     lease_expires_at = $5, started_at = COALESCE(started_at, $2) \
     WHERE task_id IN (SELECT task_id FROM next) \
     RETURNING task_id, queue, kind, payload, state, priority, run_at, attempt, max_attempts, \
     lease_owner, lease_expires_at, cancel_requested, progress, dedup_key, error, log_lines, \
     created_at, started_at, finished_at";

const CLAIM_POSTGRES: &str = "WITH next AS MATERIALIZED (SELECT task_id FROM task \
     WHERE queue = $1 AND state = 'READY' AND run_at <= $2 \
     ORDER BY priority DESC, run_at, task_id LIMIT $3 FOR UPDATE SKIP LOCKED) \
     UPDATE task SET state = 'RUNNING', attempt = attempt + 1, lease_owner = $4, \
     lease_expires_at = $5, started_at = COALESCE(started_at, $2) \
     WHERE task_id IN (SELECT task_id FROM next) \
     RETURNING task_id, queue, kind, payload, state, priority, run_at, attempt, max_attempts, \
     lease_owner, lease_expires_at, cancel_requested, progress, dedup_key, error, log_lines, \
     created_at, started_at, finished_at";

const NEXT_RUN_AT: &str =
    "SELECT MIN(run_at) AS run_at FROM task WHERE queue = $1 AND state = 'READY'";

const FENCE: &str = "UPDATE task SET lease_expires_at = $3 \
     WHERE task_id = $1 AND attempt = $2 AND state = 'RUNNING' RETURNING cancel_requested";

const RENEW: &str = "UPDATE task SET lease_expires_at = $3, progress = COALESCE($4, progress) \
     WHERE task_id = $1 AND attempt = $2 AND state = 'RUNNING' RETURNING cancel_requested";

const HELD: &str = "SELECT task_id, attempt, cancel_requested FROM task \
     WHERE state = 'RUNNING' AND lease_owner = $1";

const FINISH: &str = "UPDATE task SET state = $3, error = $4, finished_at = $5, \
     progress = COALESCE($6, progress), lease_owner = NULL, lease_expires_at = NULL \
     WHERE task_id = $1 AND attempt = $2 AND state = 'RUNNING'";

const RETRY: &str = "UPDATE task SET state = 'READY', run_at = $3, error = $4, \
     lease_owner = NULL, lease_expires_at = NULL \
     WHERE task_id = $1 AND attempt = $2 AND state = 'RUNNING'";

// The attempt number is spent, because it fences; the allowance grows instead.
const GIVE_BACK: &str = "UPDATE task SET state = 'READY', run_at = $3, \
     max_attempts = max_attempts + 1, lease_owner = NULL, lease_expires_at = NULL \
     WHERE task_id = $1 AND attempt = $2 AND state = 'RUNNING'";

const EXPIRED: &str = "SELECT task_id, queue, kind, payload, state, priority, run_at, attempt, \
     max_attempts, lease_owner, lease_expires_at, cancel_requested, progress, dedup_key, error, \
     log_lines, created_at, started_at, finished_at FROM task \
     WHERE state = 'RUNNING' AND queue = $1 AND lease_expires_at < $2 \
     ORDER BY lease_expires_at LIMIT $3";

const FENCE_EXPIRED: &str = "UPDATE task SET lease_owner = NULL \
     WHERE task_id = $1 AND attempt = $2 AND state = 'RUNNING' AND lease_expires_at < $3 \
     RETURNING cancel_requested";

const CANCEL: &str = "UPDATE task SET cancel_requested = TRUE, \
     state = CASE WHEN state = 'READY' THEN 'CANCELED' ELSE state END, \
     error = CASE WHEN state = 'READY' THEN $2 ELSE error END, \
     finished_at = CASE WHEN state = 'READY' THEN $3 ELSE finished_at END \
     WHERE task_id = $1 AND state IN ('READY', 'RUNNING') RETURNING state";

const TAKE_LOG_LINES: &str =
    "UPDATE task SET log_lines = log_lines + $2 WHERE task_id = $1 RETURNING log_lines";

const COUNT_BY_STATE: &str = "SELECT COUNT(*) AS tasks FROM task WHERE queue = $1 AND state = $2";

/// Every statement of this file that both engines know, for the test that prepares them all.
pub const STATEMENTS: &[&str] = &[
    INSERT,
    FIND,
    COUNT,
    LIST,
    FIND_UNFINISHED_BY_DEDUP_KEY,
    NEXT_RUN_AT,
    FENCE,
    RENEW,
    HELD,
    FINISH,
    RETRY,
    GIVE_BACK,
    EXPIRED,
    FENCE_EXPIRED,
    CANCEL,
    TAKE_LOG_LINES,
    COUNT_BY_STATE,
];
/// What only SQLite is asked.
pub const SQLITE_STATEMENTS: &[&str] = &[CLAIM_SQLITE];
/// What only PostgreSQL knows.
pub const POSTGRES_STATEMENTS: &[&str] = &[CLAIM_POSTGRES];

/// Adds a READY task; `false` when an unfinished task holds its `dedup_key`.
///
/// # Errors
/// `Conflict` when the id is taken.
pub async fn insert(session: &mut Session, task: &Task) -> Result<bool, DbError> {
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
    let total = session.fetch_one(COUNT, args![queue, kind]).await?.int("total")?;
    let values = args![queue, kind, page.limit(), page.offset()];
    let rows = session.fetch_all(LIST, values).await?;
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

/// Leases up to `limit` tasks that are due, in order of priority, then `run_at`, then id.
pub async fn claim(
    session: &mut Session,
    queue: &str,
    now: Millis,
    limit: i64,
    owner: &str,
    lease_expires_at: Millis,
) -> Result<Vec<Task>, DbError> {
    let statement = match session.engine() {
        Engine::Sqlite => CLAIM_SQLITE,
        Engine::Postgres => CLAIM_POSTGRES,
    };
    let rows =
        session.fetch_all(statement, args![queue, now, limit, owner, lease_expires_at]).await?;
    let mut tasks = rows.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
    tasks.sort_by(|a, b| {
        (-a.priority, a.run_at, &a.task_id).cmp(&(-b.priority, b.run_at, &b.task_id))
    });
    Ok(tasks)
}

/// When the next waiting task of the queue is due; `None` when none waits.
pub async fn next_run_at(session: &mut Session, queue: &str) -> Result<Option<Millis>, DbError> {
    session.fetch_one(NEXT_RUN_AT, args![queue]).await?.opt_int("run_at")
}

/// Locks the row of a running attempt and renews its lease. `None`: the attempt is over;
/// otherwise whether cancellation was requested.
pub async fn fence(
    session: &mut Session,
    task_id: &str,
    attempt: i64,
    lease_expires_at: Millis,
) -> Result<Option<bool>, DbError> {
    let row = session.fetch_optional(FENCE, args![task_id, attempt, lease_expires_at]).await?;
    row.map(|row| row.boolean("cancel_requested")).transpose()
}

/// As [`fence`], and stores progress when there is some.
pub async fn renew(
    session: &mut Session,
    task_id: &str,
    attempt: i64,
    lease_expires_at: Millis,
    progress: Option<String>,
) -> Result<Option<bool>, DbError> {
    let row =
        session.fetch_optional(RENEW, args![task_id, attempt, lease_expires_at, progress]).await?;
    row.map(|row| row.boolean("cancel_requested")).transpose()
}

/// An attempt that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub task_id: String,
    pub attempt: i64,
    pub cancel_requested: bool,
}

/// The attempts that a worker holds.
pub async fn held(session: &mut Session, owner: &str) -> Result<Vec<Held>, DbError> {
    let rows = session.fetch_all(HELD, args![owner]).await?;
    rows.iter()
        .map(|row| {
            Ok(Held {
                task_id: row.text("task_id")?,
                attempt: row.int("attempt")?,
                cancel_requested: row.boolean("cancel_requested")?,
            })
        })
        .collect()
}

/// Ends a running attempt and with it the task; `false` when the attempt is over.
pub async fn finish(
    session: &mut Session,
    task_id: &str,
    attempt: i64,
    state: TaskState,
    error: Option<&str>,
    now: Millis,
    progress: Option<String>,
) -> Result<bool, DbError> {
    let error = error.map(str::to_owned);
    let values = args![task_id, attempt, state.as_str(), error, now, progress];
    Ok(session.execute(FINISH, values).await? == 1)
}

/// Makes a running attempt wait for its next one; `false` when the attempt is over.
pub async fn retry(
    session: &mut Session,
    task_id: &str,
    attempt: i64,
    run_at: Millis,
    error: &str,
) -> Result<bool, DbError> {
    Ok(session.execute(RETRY, args![task_id, attempt, run_at, error]).await? == 1)
}

/// Returns a running attempt unused: it does not count against `max_attempts`.
pub async fn give_back(
    session: &mut Session,
    task_id: &str,
    attempt: i64,
    now: Millis,
) -> Result<bool, DbError> {
    Ok(session.execute(GIVE_BACK, args![task_id, attempt, now]).await? == 1)
}

/// Running tasks of a queue whose lease ran out before `now`.
pub async fn expired(
    session: &mut Session,
    queue: &str,
    now: Millis,
    limit: i64,
) -> Result<Vec<Task>, DbError> {
    session.fetch_all(EXPIRED, args![queue, now, limit]).await?.iter().map(decode).collect()
}

/// Locks a running attempt whose lease ran out before `now`. `None`: it moved on meanwhile;
/// otherwise whether cancellation was requested.
pub async fn fence_expired(
    session: &mut Session,
    task_id: &str,
    attempt: i64,
    now: Millis,
) -> Result<Option<bool>, DbError> {
    let row = session.fetch_optional(FENCE_EXPIRED, args![task_id, attempt, now]).await?;
    row.map(|row| row.boolean("cancel_requested")).transpose()
}

/// Cancels a READY task, or marks a RUNNING one; the state afterwards, `None` when the task is
/// finished or unknown.
pub async fn cancel(
    session: &mut Session,
    task_id: &str,
    error: &str,
    now: Millis,
) -> Result<Option<TaskState>, DbError> {
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
    session.fetch_one(TAKE_LOG_LINES, args![task_id, lines]).await?.int("log_lines")
}

/// How many tasks of a queue are in a state.
pub async fn count_by_state(
    session: &mut Session,
    queue: &str,
    state: TaskState,
) -> Result<i64, DbError> {
    session.fetch_one(COUNT_BY_STATE, args![queue, state.as_str()]).await?.int("tasks")
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
