//! What becomes of finished tasks of the queue `maintenance`.

use berth_types::Millis;

use crate::{Change, DbError, Session, args};

const BEFORE: &str = "SELECT 1 AS one FROM task WHERE queue = $1 AND finished_at < $2 LIMIT 1";
const FORGET: &str = "DELETE FROM task WHERE queue = $1 AND finished_at < $2";

pub const STATEMENTS: &[&str] = &[BEFORE, FORGET];

/// The queue.
pub const QUEUE: &str = "maintenance";

/// Whether any ended before.
pub async fn any_before(session: &mut Session, before: Millis) -> Result<bool, DbError> {
    Ok(session.fetch_optional(BEFORE, args![QUEUE, before]).await?.is_some())
}

/// Deletes those that ended before, with their logs; how many.
pub async fn forget(session: &mut Session, before: Millis) -> Result<u64, DbError> {
    session.touch(Change::Tasks);
    session.execute(FORGET, args![QUEUE, before]).await
}
