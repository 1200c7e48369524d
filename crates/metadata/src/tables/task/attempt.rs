//! What a running attempt, or whoever takes it back, does to its task.

use berth_types::Millis;

use super::{Task, TaskState, columns, decode};
use crate::{Change, DbError, Session, args};

const FENCE: &str = "UPDATE task SET lease_expires_at = $3 \
     WHERE task_id = $1 AND attempt = $2 AND state = 'RUNNING' RETURNING cancel_requested";

const RENEW: &str = "UPDATE task SET lease_expires_at = $3, progress = COALESCE($4, progress) \
     WHERE task_id = $1 AND attempt = $2 AND state = 'RUNNING' RETURNING cancel_requested";

const HELD: &str = "SELECT task_id, attempt, cancel_requested FROM task \
     WHERE queue = $1 AND state = 'RUNNING' AND lease_owner = $2";

const FINISH: &str = "UPDATE task SET state = $3, error = $4, finished_at = $5, \
     progress = COALESCE($6, progress), lease_owner = NULL, lease_expires_at = NULL \
     WHERE task_id = $1 AND attempt = $2 AND state = 'RUNNING'";

const RELEASE: &str = "UPDATE task SET state = 'READY', run_at = COALESCE($3, run_at), \
     turn = CASE WHEN $3 IS NULL THEN run_at - priority * $4 END, error = COALESCE($5, error), \
     failures = failures + $6, losses = losses + $7, lease_owner = NULL, lease_expires_at = NULL \
     WHERE task_id = $1 AND attempt = $2 AND state = 'RUNNING'";

const EXPIRED: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM task WHERE queue = $1 AND state = 'RUNNING' AND lease_expires_at < $2 \
     ORDER BY lease_expires_at LIMIT $3"
);

const LEFT_BEHIND: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM task WHERE queue = $1 AND state = 'RUNNING' \
     AND (lease_owner IS NULL OR SUBSTR(lease_owner, 1, LENGTH($2)) <> $2) \
     ORDER BY lease_expires_at LIMIT $3"
);

const FENCE_LOST: &str = "UPDATE task SET lease_owner = NULL \
     WHERE task_id = $1 AND attempt = $2 AND state = 'RUNNING' \
     AND (lease_expires_at < $3 OR $3 IS NULL) RETURNING cancel_requested";

/// Every statement of this file.
pub const STATEMENTS: &[&str] =
    &[FENCE, RENEW, HELD, FINISH, RELEASE, EXPIRED, LEFT_BEHIND, FENCE_LOST];

/// Locks the row of a running attempt and renews its lease. `None`: the attempt is over;
/// otherwise whether cancellation was requested.
pub async fn fence(
    session: &mut Session,
    task_id: &str,
    attempt: i64,
    lease_expires_at: Millis,
) -> Result<Option<bool>, DbError> {
    session.touch(Change::Task(task_id));
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
    session.touch(Change::Task(task_id));
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

/// The attempts that a worker of a queue holds.
pub async fn held(session: &mut Session, queue: &str, owner: &str) -> Result<Vec<Held>, DbError> {
    let rows = session.fetch_all(HELD, args![queue, owner]).await?;
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
    session.touch(Change::Task(task_id));
    let error = error.map(str::to_owned);
    let values = args![task_id, attempt, state.as_str(), error, now, progress];
    Ok(session.execute(FINISH, values).await? == 1)
}

/// How a running attempt ends without its task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Released {
    /// Not before this time; `None` gives the task its old place in the queue.
    pub run_at: Option<Millis>,
    /// Why, in words; `None` leaves what was said before.
    pub error: Option<String>,
    /// 1 when the attempt failed.
    pub failures: i64,
    /// 1 when its worker was lost.
    pub losses: i64,
}

/// Makes a running attempt's task wait for its next one; `false` when the attempt is over.
pub async fn release(
    session: &mut Session,
    task_id: &str,
    attempt: i64,
    released: Released,
) -> Result<bool, DbError> {
    session.touch(Change::Task(task_id));
    let Released { run_at, error, failures, losses } = released;
    let head_start = super::PRIORITY_HEAD_START;
    let values = args![task_id, attempt, run_at, head_start, error, failures, losses];
    Ok(session.execute(RELEASE, values).await? == 1)
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

/// Running tasks of a queue whose owner's name does not begin with `owners`.
pub async fn left_behind(
    session: &mut Session,
    queue: &str,
    owners: &str,
    limit: i64,
) -> Result<Vec<Task>, DbError> {
    let rows = session.fetch_all(LEFT_BEHIND, args![queue, owners, limit]).await?;
    rows.iter().map(decode).collect()
}

/// Locks a running attempt whose worker is lost: its lease ran out before `now`, or whatever its
/// lease says. `None`: it moved on meanwhile; otherwise whether cancellation was requested.
pub async fn fence_lost(
    session: &mut Session,
    task_id: &str,
    attempt: i64,
    now: Option<Millis>,
) -> Result<Option<bool>, DbError> {
    session.touch(Change::Task(task_id));
    let row = session.fetch_optional(FENCE_LOST, args![task_id, attempt, now]).await?;
    row.map(|row| row.boolean("cancel_requested")).transpose()
}
