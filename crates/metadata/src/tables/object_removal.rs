//! Objects whose rows are gone and whose bytes are to be removed.
//!
//! The row is written in the transaction that ends the last use of the object, and goes after the
//! object: a crash between the two leaves a row, and the next collection ends the work.

use berth_types::Millis;

use crate::{DbError, Engine, Session, args};

/// An object to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRemoval {
    pub storage_key: String,
    pub created_at: Millis,
}

const INSERT: &str = "INSERT INTO object_removal (storage_key, created_at) VALUES ($1, $2) \
    ON CONFLICT (storage_key) DO NOTHING";
const EXISTS: &str = "SELECT 1 AS one FROM object_removal WHERE storage_key = $1";
const LIST: &str = "SELECT storage_key, created_at FROM object_removal WHERE storage_key > $1 \
    ORDER BY storage_key LIMIT $2";
const DELETE: &str = "DELETE FROM object_removal WHERE storage_key = $1";
const HOLD: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0)) AS one";

pub const STATEMENTS: &[&str] = &[INSERT, EXISTS, LIST, DELETE];
/// Statements that only PostgreSQL knows.
pub const POSTGRES_STATEMENTS: &[&str] = &[HOLD];

/// Until the transaction ends, nobody else decides whether the object of this key is somebody's.
/// (On SQLite the whole transaction is exclusive already.)
pub async fn hold(session: &mut Session, storage_key: &str) -> Result<(), DbError> {
    match session.engine() {
        Engine::Sqlite => Ok(()),
        Engine::Postgres => session.fetch_optional(HOLD, args![storage_key]).await.map(drop),
    }
}

/// `false` when the removal is known already.
pub async fn insert(
    session: &mut Session,
    storage_key: &str,
    now: Millis,
) -> Result<bool, DbError> {
    Ok(session.execute(INSERT, args![storage_key, now]).await? == 1)
}

pub async fn exists(session: &mut Session, storage_key: &str) -> Result<bool, DbError> {
    Ok(session.fetch_optional(EXISTS, args![storage_key]).await?.is_some())
}

/// At most `limit` removals by key, after `after`.
pub async fn list(
    session: &mut Session,
    after: &str,
    limit: i64,
) -> Result<Vec<ObjectRemoval>, DbError> {
    let rows = session.fetch_all(LIST, args![after, limit]).await?;
    let read = |row: &crate::Row| {
        let (storage_key, created_at) = (row.text("storage_key")?, row.int("created_at")?);
        Ok(ObjectRemoval { storage_key, created_at })
    };
    rows.iter().map(read).collect()
}

/// The object is gone.
pub async fn delete(session: &mut Session, storage_key: &str) -> Result<(), DbError> {
    session.execute(DELETE, args![storage_key]).await.map(drop)
}
