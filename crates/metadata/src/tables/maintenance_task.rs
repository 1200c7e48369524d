//! Tasks of the queue `maintenance`, newest first.

use berth_types::Millis;

use crate::{DbError, Page, Session, args};

const COUNT: &str =
    "SELECT COUNT(*) AS total FROM task WHERE queue = $1 AND ($2 = '' OR kind = $2)";
const LIST: &str = "SELECT task_id FROM task WHERE queue = $1 AND ($2 = '' OR kind = $2) \
    ORDER BY created_at DESC, task_id DESC LIMIT $3 OFFSET $4";
const BEFORE: &str = "SELECT 1 AS one FROM task WHERE queue = $1 AND finished_at < $2 LIMIT 1";
const FORGET: &str = "DELETE FROM task WHERE queue = $1 AND finished_at < $2";

pub const STATEMENTS: &[&str] = &[COUNT, LIST, BEFORE, FORGET];

/// The queue.
pub const QUEUE: &str = "maintenance";

/// Ids of a page, newest first, and the number of all. An empty kind takes all.
pub async fn list(
    session: &mut Session,
    kind: &str,
    page: Page,
) -> Result<(Vec<String>, i64), DbError> {
    let total = session.fetch_one(COUNT, args![QUEUE, kind]).await?.int("total")?;
    let args = args![QUEUE, kind, page.limit(), page.offset()];
    let rows = session.fetch_all(LIST, args).await?;
    Ok((rows.iter().map(|row| row.text("task_id")).collect::<Result<_, _>>()?, total))
}

/// Whether any ended before.
pub async fn any_before(session: &mut Session, before: Millis) -> Result<bool, DbError> {
    Ok(session.fetch_optional(BEFORE, args![QUEUE, before]).await?.is_some())
}

/// Deletes those that ended before, with their logs; how many.
pub async fn forget(session: &mut Session, before: Millis) -> Result<u64, DbError> {
    session.execute(FORGET, args![QUEUE, before]).await
}
