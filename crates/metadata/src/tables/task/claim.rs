//! Whose turn it is. Every statement here reads unfinished rows only, through the partial indexes
//! of migration 3, and a bounded number of them.

use berth_types::Millis;

use super::{Task, columns, decode};
use crate::{Change, DbError, Engine, Session, args};

/// How much earlier than a task of one priority less a task has its turn, in milliseconds. Waiting
/// tasks age by this: an hour of waiting is worth one step of priority.
pub const PRIORITY_HEAD_START: Millis = 3_600_000;

/// The place in the order of claims of a task that could run since `run_at`.
pub fn turn(run_at: Millis, priority: i64) -> i64 {
    run_at.saturating_sub(priority.saturating_mul(PRIORITY_HEAD_START))
}

/// Waiting tasks that one promotion moves at most.
const PROMOTED_AT_ONCE: i64 = 100;

const FIRST: &str = "SELECT \
     (SELECT MIN(turn) FROM task \
      WHERE queue = $1 AND state = 'READY' AND turn IS NOT NULL) AS turn, \
     (SELECT MIN(run_at) FROM task \
      WHERE queue = $1 AND state = 'READY' AND turn IS NULL) AS run_at";

const PROMOTE_SQLITE: &str = "UPDATE task SET turn = run_at - priority * $3 \
     WHERE task_id IN (SELECT task_id FROM task \
     WHERE queue = $1 AND state = 'READY' AND turn IS NULL AND run_at <= $2 \
     ORDER BY run_at LIMIT $4)";

const PROMOTE_POSTGRES: &str = "WITH due AS MATERIALIZED (SELECT task_id FROM task \
     WHERE queue = $1 AND state = 'READY' AND turn IS NULL AND run_at <= $2 \
     ORDER BY run_at LIMIT $4 FOR UPDATE SKIP LOCKED) \
     UPDATE task SET turn = run_at - priority * $3 \
     WHERE task_id IN (SELECT task_id FROM due)";

const RUNNING: &str = "SELECT queue, tenant, share, COUNT(*) AS running, \
     MIN(claimed_at) AS since, MAX(losses) AS losses \
     FROM task WHERE state = 'RUNNING' GROUP BY queue, tenant, share";

const OLDEST: &str = "SELECT tenant, share, turn FROM task \
     WHERE queue = $1 AND state = 'READY' AND turn IS NOT NULL AND losses < $2 \
     ORDER BY turn, task_id LIMIT $3";

// From one tenant (or share) to the next through the index, whatever stands between them.
const TENANTS: &str = "WITH RECURSIVE found (tenant, number) AS ( \
     SELECT (SELECT MIN(tenant) FROM task \
      WHERE queue = $1 AND state = 'READY' AND turn IS NOT NULL AND tenant > $2), \
      CAST(1 AS BIGINT) \
     UNION ALL \
     SELECT (SELECT MIN(t.tenant) FROM task t \
      WHERE t.queue = $1 AND t.state = 'READY' AND t.turn IS NOT NULL AND t.tenant > found.tenant), \
      number + 1 \
     FROM found WHERE found.tenant IS NOT NULL AND number < $3) \
     SELECT tenant FROM found WHERE tenant IS NOT NULL";

const SHARES: &str = "WITH RECURSIVE found (share, number) AS ( \
     SELECT (SELECT MIN(share) FROM task \
      WHERE queue = $1 AND state = 'READY' AND turn IS NOT NULL AND tenant = $2 AND share > $3), \
      CAST(1 AS BIGINT) \
     UNION ALL \
     SELECT (SELECT MIN(t.share) FROM task t \
      WHERE t.queue = $1 AND t.state = 'READY' AND t.turn IS NOT NULL AND t.tenant = $2 \
      AND t.share > found.share), number + 1 \
     FROM found WHERE found.share IS NOT NULL AND number < $4) \
     SELECT found.share, (SELECT MIN(t.turn) FROM task t \
      WHERE t.queue = $1 AND t.state = 'READY' AND t.turn IS NOT NULL AND t.tenant = $2 \
      AND t.share = found.share) AS turn \
     FROM found WHERE found.share IS NOT NULL";

macro_rules! claim {
    ($lock:literal) => {
        concat!(
            // Materialised so that PostgreSQL evaluates it once, with its limit.
            "WITH next AS MATERIALIZED (SELECT task_id FROM task \
             WHERE queue = $1 AND state = 'READY' AND turn IS NOT NULL AND tenant = $2 \
             AND share = $3 AND losses < $4 ORDER BY turn, task_id LIMIT 1",
            $lock,
            ") UPDATE task SET state = 'RUNNING', attempt = attempt + 1, lease_owner = $5, \
             lease_expires_at = $6, claimed_at = $7, started_at = COALESCE(started_at, $7) \
             WHERE task_id IN (SELECT task_id FROM next) RETURNING ",
            columns!()
        )
    };
}
const CLAIM_SQLITE: &str = claim!("");
const CLAIM_POSTGRES: &str = claim!(" FOR UPDATE SKIP LOCKED");

/// Every statement of this file that both engines know.
pub const STATEMENTS: &[&str] = &[FIRST, RUNNING, OLDEST, TENANTS, SHARES];
/// What only SQLite is asked.
pub const SQLITE_STATEMENTS: &[&str] = &[PROMOTE_SQLITE, CLAIM_SQLITE];
/// What only PostgreSQL knows.
pub const POSTGRES_STATEMENTS: &[&str] = &[PROMOTE_POSTGRES, CLAIM_POSTGRES];

/// What a queue has to offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct First {
    /// Whether a task could be claimed.
    pub ready: bool,
    /// When the first of those that wait for their time is due.
    pub run_at: Option<Millis>,
}

/// Whether there is something to claim or to [`promote`].
pub async fn first(session: &mut Session, queue: &str) -> Result<First, DbError> {
    let row = session.fetch_one(FIRST, args![queue]).await?;
    Ok(First { ready: row.opt_int("turn")?.is_some(), run_at: row.opt_int("run_at")? })
}

/// Lets tasks whose time has come take part in the order of claims.
pub async fn promote(session: &mut Session, queue: &str, now: Millis) -> Result<(), DbError> {
    let statement = match session.engine() {
        Engine::Sqlite => PROMOTE_SQLITE,
        Engine::Postgres => PROMOTE_POSTGRES,
    };
    session.touch(Change::TaskTurns);
    let values = args![queue, now, PRIORITY_HEAD_START, PROMOTED_AT_ONCE];
    session.execute(statement, values).await.map(drop)
}

/// What runs of one share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    pub queue: String,
    pub tenant: String,
    pub share: String,
    pub tasks: i64,
    /// When the oldest of these attempts began.
    pub since: Option<Millis>,
    /// The most workers that one of these tasks has lost.
    pub losses: i64,
}

/// What runs, of all queues: as many rows as there are slots, at most.
pub async fn running(session: &mut Session) -> Result<Vec<Running>, DbError> {
    let rows = session.fetch_all(RUNNING, args![]).await?;
    rows.iter()
        .map(|row| {
            Ok(Running {
                queue: row.text("queue")?,
                tenant: row.text("tenant")?,
                share: row.text("share")?,
                tasks: row.int("running")?,
                since: row.opt_int("since")?,
                losses: row.int("losses")?,
            })
        })
        .collect()
}

/// A share that has a task to claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub tenant: String,
    pub share: String,
    /// Of its first task.
    pub turn: i64,
}

/// The shares of the first `limit` tasks in the order of claims; a share may come more than once.
pub async fn oldest(
    session: &mut Session,
    queue: &str,
    losses: i64,
    limit: i64,
) -> Result<Vec<Waiting>, DbError> {
    let rows = session.fetch_all(OLDEST, args![queue, losses, limit]).await?;
    rows.iter()
        .map(|row| {
            Ok(Waiting {
                tenant: row.text("tenant")?,
                share: row.text("share")?,
                turn: row.int("turn")?,
            })
        })
        .collect()
}

/// Up to `limit` tenants that have a task to claim, in the order of their names after `after`.
pub async fn tenants(
    session: &mut Session,
    queue: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, DbError> {
    let rows = session.fetch_all(TENANTS, args![queue, after, limit]).await?;
    rows.iter().map(|row| row.text("tenant")).collect()
}

/// Up to `limit` shares of a tenant that have a task to claim, in the order of their names after
/// `after`.
pub async fn shares(
    session: &mut Session,
    queue: &str,
    tenant: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<Waiting>, DbError> {
    let rows = session.fetch_all(SHARES, args![queue, tenant, after, limit]).await?;
    rows.iter()
        .map(|row| {
            let share = row.text("share")?;
            Ok(Waiting { tenant: tenant.to_owned(), share, turn: row.int("turn")? })
        })
        .collect()
}

/// Who claims, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant<'a> {
    pub owner: &'a str,
    pub now: Millis,
    pub lease_expires_at: Millis,
    /// Tasks that lost so many workers are left alone.
    pub losses: i64,
}

/// Leases the first task of a share; `None` when others hold what there was.
pub async fn claim(
    session: &mut Session,
    queue: &str,
    waiting: &Waiting,
    by: &Claimant<'_>,
) -> Result<Option<Task>, DbError> {
    let statement = match session.engine() {
        Engine::Sqlite => CLAIM_SQLITE,
        Engine::Postgres => CLAIM_POSTGRES,
    };
    let (tenant, share) = (&waiting.tenant, &waiting.share);
    let values = args![queue, tenant, share, by.losses, by.owner, by.lease_expires_at, by.now];
    let row = session.fetch_optional(statement, values).await?;
    let task = row.map(|row| decode(&row)).transpose()?;
    session.touch(task.as_ref().map_or(Change::TaskTurns, |task| Change::Task(&task.task_id)));
    Ok(task)
}
