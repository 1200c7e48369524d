//! Rows of `subscription_result`: what became of each tag that a run selected.

use berth_types::{Digest, Millis, Tag};

use super::list_count::{self, List};
use crate::page::page_keys;
use crate::{DbError, Page, Row, Session, args};

/// One selected tag. Status is PENDING, RUNNING or COMPLETED; result is SUCCESS or FAILED.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionResult {
    pub task_id: String,
    pub tag: Tag,
    /// Place in the selection, from 0.
    pub position: i64,
    pub status: String,
    pub result: Option<String>,
    /// Why it failed or was skipped.
    pub message: Option<String>,
    /// What the tag points to here.
    pub digest: Option<Digest>,
    pub started_at: Option<Millis>,
    pub finished_at: Option<Millis>,
}

/// How one tag ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub success: bool,
    pub message: String,
    pub digest: Option<Digest>,
}

macro_rules! page {
    ($order:literal) => {
        concat!(
            page_keys!("tag", "subscription_result", "task_id = $1", $order),
            "SELECT r.* FROM page p CROSS JOIN subscription_result r \
             WHERE r.task_id = $1 AND r.tag = p.tag ORDER BY r.position, r.tag"
        )
    };
}

const INSERT: &str = "INSERT INTO subscription_result (task_id, tag, position, status) \
    VALUES ($1, $2, $3, 'PENDING') ON CONFLICT (task_id, tag) DO NOTHING";
const ALL: &str = "SELECT * FROM subscription_result WHERE task_id = $1 ORDER BY position, tag";
const PAGE: &str = page!("position, tag");
const PAGE_FROM_END: &str = page!("position DESC, tag DESC");
const START: &str = "UPDATE subscription_result SET status = 'RUNNING', \
    started_at = COALESCE(started_at, $3) \
    WHERE task_id = $1 AND tag = $2 AND status <> 'COMPLETED'";
const COMPLETE: &str = "UPDATE subscription_result SET status = 'COMPLETED', result = $3, \
    message = $4, digest = $5, started_at = COALESCE(started_at, $6), finished_at = $6 \
    WHERE task_id = $1 AND tag = $2 AND status <> 'COMPLETED'";
const POSTPONE: &str = "UPDATE subscription_result SET status = 'PENDING', message = $3 \
    WHERE task_id = $1 AND tag = $2 AND status <> 'COMPLETED'";
const END_UNFINISHED: &str = "UPDATE subscription_result SET status = 'COMPLETED', \
    result = 'FAILED', message = COALESCE(message, $2), finished_at = $3 \
    WHERE task_id = $1 AND status <> 'COMPLETED'";

/// Every statement of this file.
pub const STATEMENTS: &[&str] =
    &[INSERT, ALL, PAGE, PAGE_FROM_END, START, COMPLETE, POSTPONE, END_UNFINISHED];

/// Adds a selected tag as PENDING; nothing happens when it is there.
pub async fn insert(
    session: &mut Session,
    task_id: &str,
    tag: &Tag,
    position: i64,
) -> Result<(), DbError> {
    session.execute(INSERT, args![task_id, tag, position]).await.map(drop)
}

/// Every row of a run in the order of selection; a rule bounds their number.
pub async fn all(session: &mut Session, task_id: &str) -> Result<Vec<SubscriptionResult>, DbError> {
    session.fetch_all(ALL, args![task_id]).await?.iter().map(read).collect()
}

/// A page of rows in the order of selection, and how many there are in all.
pub async fn page(
    session: &mut Session,
    task_id: &str,
    page: Page,
) -> Result<(Vec<SubscriptionResult>, i64), DbError> {
    let total = list_count::total(session, List::ArtifactSubscriptionResult, task_id, "").await?;
    let Some(reach) = page.reach(total) else { return Ok((Vec::new(), total)) };
    let statement = reach.pick([PAGE, PAGE_FROM_END]);
    let rows = session.fetch_all(statement, args![task_id, reach.limit, reach.offset]).await?;
    Ok((rows.iter().map(read).collect::<Result<_, _>>()?, total))
}

/// The tag is being copied. A completed row stays as it is, here and below.
pub async fn start(
    session: &mut Session,
    task_id: &str,
    tag: &Tag,
    now: Millis,
) -> Result<(), DbError> {
    session.execute(START, args![task_id, tag, now]).await.map(drop)
}

/// The tag's end. `false` when it was completed before.
pub async fn complete(
    session: &mut Session,
    task_id: &str,
    tag: &Tag,
    outcome: &Outcome,
    now: Millis,
) -> Result<bool, DbError> {
    let result = if outcome.success { "SUCCESS" } else { "FAILED" };
    let values = args![task_id, tag, result, &outcome.message, &outcome.digest, now];
    Ok(session.execute(COMPLETE, values).await? == 1)
}

/// The tag waits for the next attempt, for the reason given.
pub async fn postpone(
    session: &mut Session,
    task_id: &str,
    tag: &Tag,
    reason: &str,
) -> Result<(), DbError> {
    session.execute(POSTPONE, args![task_id, tag, reason]).await.map(drop)
}

/// Ends as FAILED every tag that did not end, because the run did: with the reason of its own last
/// try, or else with `reason`.
pub async fn end_unfinished(
    session: &mut Session,
    task_id: &str,
    reason: &str,
    now: Millis,
) -> Result<u64, DbError> {
    session.execute(END_UNFINISHED, args![task_id, reason, now]).await
}

fn read(row: &Row) -> Result<SubscriptionResult, DbError> {
    Ok(SubscriptionResult {
        task_id: row.text("task_id")?,
        tag: row.parse("tag")?,
        position: row.int("position")?,
        status: row.text("status")?,
        result: row.opt_text("result")?,
        message: row.opt_text("message")?,
        digest: row.opt_parse("digest")?,
        started_at: row.opt_int("started_at")?,
        finished_at: row.opt_int("finished_at")?,
    })
}
