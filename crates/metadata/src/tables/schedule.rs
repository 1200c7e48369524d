//! Schedules: whoever moves `next_at` forward has fired it.

use berth_types::Millis;

use crate::{DbError, Row, Session, args};

/// A row of `schedule`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub schedule_id: String,
    /// What to fire.
    pub kind: String,
    /// JSON.
    pub payload: String,
    /// Time between two firings.
    pub interval_ms: Millis,
    pub next_at: Millis,
}

const PUT: &str = "INSERT INTO schedule (schedule_id, kind, payload, interval_ms, next_at) \
     VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (schedule_id) DO UPDATE SET kind = excluded.kind, payload = excluded.payload, \
     interval_ms = excluded.interval_ms, next_at = excluded.next_at";

const REMOVE: &str = "DELETE FROM schedule WHERE schedule_id = $1";

const FIND: &str =
    "SELECT schedule_id, kind, payload, interval_ms, next_at FROM schedule WHERE schedule_id = $1";

const DUE: &str = "SELECT schedule_id, kind, payload, interval_ms, next_at FROM schedule \
     WHERE next_at <= $1 ORDER BY next_at, schedule_id LIMIT $2";

const NEXT_AT: &str = "SELECT MIN(next_at) AS next_at FROM schedule";

const MOVE_ON: &str = "UPDATE schedule SET next_at = $3 WHERE schedule_id = $1 AND next_at = $2";

/// Every statement of this file.
pub const STATEMENTS: &[&str] = &[PUT, REMOVE, FIND, DUE, NEXT_AT, MOVE_ON];

/// Adds a schedule or replaces the one of the same id.
pub async fn put(session: &mut Session, schedule: &Schedule) -> Result<(), DbError> {
    let values = args![
        &schedule.schedule_id,
        &schedule.kind,
        &schedule.payload,
        schedule.interval_ms,
        schedule.next_at
    ];
    session.execute(PUT, values).await?;
    Ok(())
}

/// Whether there was one to remove.
pub async fn remove(session: &mut Session, schedule_id: &str) -> Result<bool, DbError> {
    Ok(session.execute(REMOVE, args![schedule_id]).await? > 0)
}

pub async fn find(session: &mut Session, schedule_id: &str) -> Result<Option<Schedule>, DbError> {
    session.fetch_optional(FIND, args![schedule_id]).await?.map(|row| decode(&row)).transpose()
}

/// Up to `limit` schedules whose time has come, longest due first.
pub async fn due(session: &mut Session, now: Millis, limit: i64) -> Result<Vec<Schedule>, DbError> {
    session.fetch_all(DUE, args![now, limit]).await?.iter().map(decode).collect()
}

/// When the next schedule is due; `None` when there are none.
pub async fn next_at(session: &mut Session) -> Result<Option<Millis>, DbError> {
    session.fetch_one(NEXT_AT, args![]).await?.opt_int("next_at")
}

/// Moves a schedule from the time at which it was seen due to a later one; `false` when somebody
/// else did. The row stays locked until the transaction ends.
pub async fn move_on(
    session: &mut Session,
    schedule_id: &str,
    seen: Millis,
    next_at: Millis,
) -> Result<bool, DbError> {
    Ok(session.execute(MOVE_ON, args![schedule_id, seen, next_at]).await? == 1)
}

fn decode(row: &Row) -> Result<Schedule, DbError> {
    Ok(Schedule {
        schedule_id: row.text("schedule_id")?,
        kind: row.text("kind")?,
        payload: row.text("payload")?,
        interval_ms: row.int("interval_ms")?,
        next_at: row.int("next_at")?,
    })
}
