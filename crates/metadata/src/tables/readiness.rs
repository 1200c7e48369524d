//! The row that is written to see whether the database takes writes.

use crate::{DbError, Session, args};

const COUNT: &str = "UPDATE readiness SET checks = checks + 1 WHERE id = 1";

pub const STATEMENTS: &[&str] = &[COUNT];

/// Counts one more look.
pub async fn count(session: &mut Session) -> Result<(), DbError> {
    session.execute(COUNT, args![]).await.map(drop)
}
