//! How many bytes an instance's repositories hold: a ledger of changes.
//!
//! Whoever links or unlinks a blob adds a row in the same transaction. Nobody updates a row, so no
//! push ever waits for another one's transaction. From time to time [`fold`] makes one row of many.
//! The sum is what the links say: a blob counts once in each repository that has it.

use berth_types::{Digest, id};

use crate::{DbError, Engine, Session, args};

/// What happened to a blob of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Added,
    Removed,
}

/// What an instance's repositories hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    pub bytes: i64,
    /// Rows that it was summed from.
    pub changes: i64,
}

/// Rows that one [`fold`] takes at most.
pub const MOST_FOLDED: u64 = 10_000;

const RECORD: &str = "INSERT INTO usage_change (change_id, instance_id, bytes) \
    SELECT $1, r.instance_id, b.size * $4 FROM repository r, blob b \
    WHERE r.repo_id = $2 AND b.digest = $3";
const RECORD_GONE: &str = "INSERT INTO usage_change (change_id, instance_id, bytes) \
    SELECT $1, r.instance_id, CAST(-SUM(b.size) AS BIGINT) FROM repository r \
    JOIN repository_blob l ON l.repo_id = r.repo_id JOIN blob b ON b.digest = l.digest \
    WHERE r.repo_id = $2 GROUP BY r.instance_id";
const TOTAL: &str = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes, \
    COUNT(*) AS changes FROM usage_change WHERE instance_id = $1";
const LINKED: &str = "SELECT CAST(COALESCE(SUM(b.size), 0) AS BIGINT) AS bytes \
    FROM repository r JOIN repository_blob l ON l.repo_id = r.repo_id \
    JOIN blob b ON b.digest = l.digest WHERE r.instance_id = $1";
const SPREAD: &str = "SELECT instance_id FROM usage_change GROUP BY instance_id \
    HAVING COUNT(*) > 1 ORDER BY instance_id";
const TAKE_SQLITE: &str = "DELETE FROM usage_change WHERE change_id IN \
    (SELECT change_id FROM usage_change WHERE instance_id = $1 ORDER BY change_id LIMIT $2) \
    RETURNING bytes";
// The choice is materialised so that PostgreSQL evaluates it once, with its limit.
const TAKE_POSTGRES: &str = "WITH taken AS MATERIALIZED (SELECT change_id FROM usage_change \
    WHERE instance_id = $1 ORDER BY change_id LIMIT $2 FOR UPDATE SKIP LOCKED) \
    DELETE FROM usage_change WHERE change_id IN (SELECT change_id FROM taken) RETURNING bytes";
const INSERT: &str = "INSERT INTO usage_change (change_id, instance_id, bytes) VALUES ($1, $2, $3)";

pub const STATEMENTS: &[&str] = &[RECORD, RECORD_GONE, TOTAL, LINKED, SPREAD, INSERT];
/// Statements that only SQLite is asked.
pub const SQLITE_STATEMENTS: &[&str] = &[TAKE_SQLITE];
/// Statements that only PostgreSQL knows.
pub const POSTGRES_STATEMENTS: &[&str] = &[TAKE_POSTGRES];

/// Notes that a blob came to, or left, a repository. Call it in the transaction that made the new
/// link or removed one, and only then.
pub async fn record(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
    change: Change,
) -> Result<(), DbError> {
    let sign: i64 = match change {
        Change::Added => 1,
        Change::Removed => -1,
    };
    session.execute(RECORD, args![id::key(), repo_id, digest, sign]).await.map(drop)
}

/// Notes that a repository is about to go with all its blobs. Lock its row first, so that no link
/// comes in between.
pub async fn record_gone(session: &mut Session, repo_id: &str) -> Result<(), DbError> {
    session.execute(RECORD_GONE, args![id::key(), repo_id]).await.map(drop)
}

/// Bytes of the blobs of all the instance's repositories.
pub async fn total(session: &mut Session, instance_id: &str) -> Result<Total, DbError> {
    let row = session.fetch_one(TOTAL, args![instance_id]).await?;
    Ok(Total { bytes: row.int("bytes")?, changes: row.int("changes")? })
}

/// The bytes of [`total`] as the links have them, counted one by one: slow, to prove the ledger.
pub async fn linked(session: &mut Session, instance_id: &str) -> Result<i64, DbError> {
    session.fetch_one(LINKED, args![instance_id]).await?.int("bytes")
}

/// Instances whose usage is spread over more than one row.
pub async fn spread(session: &mut Session) -> Result<Vec<String>, DbError> {
    let rows = session.fetch_all(SPREAD, args![]).await?;
    rows.iter().map(|row| row.text("instance_id")).collect()
}

/// Makes one row of the instance's rows, or of as many as are taken at a time, and returns how many
/// these were. Rows that somebody else folds at the moment are left to it.
pub async fn fold(session: &mut Session, instance_id: &str) -> Result<u64, DbError> {
    let take = match session.engine() {
        Engine::Sqlite => TAKE_SQLITE,
        Engine::Postgres => TAKE_POSTGRES,
    };
    let rows = session
        .fetch_all(take, args![instance_id, i64::try_from(MOST_FOLDED).unwrap_or(i64::MAX)])
        .await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let mut sum = 0i64;
    for row in &rows {
        sum = sum.saturating_add(row.int("bytes")?);
    }
    session.execute(INSERT, args![id::key(), instance_id, sum]).await?;
    Ok(rows.len() as u64)
}
