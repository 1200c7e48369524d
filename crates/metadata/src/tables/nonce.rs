//! Nonces of signed requests that several servers must not accept twice.

use berth_types::Millis;

use crate::{DbError, Session, args};

/// How many rows one statement removes at most.
const BATCH: u64 = 10_000;

const INSERT: &str = "INSERT INTO nonce (hash, expires_at) VALUES ($1, $2) \
    ON CONFLICT (hash) DO NOTHING";
const DELETE_EXPIRED: &str = "DELETE FROM nonce WHERE hash IN \
    (SELECT hash FROM nonce WHERE expires_at < $1 LIMIT 10000)";

pub const STATEMENTS: &[&str] = &[INSERT, DELETE_EXPIRED];

/// Uses a nonce up; `false` when it was used already.
pub async fn insert(session: &mut Session, hash: i64, expires_at: Millis) -> Result<bool, DbError> {
    Ok(session.execute(INSERT, args![hash, expires_at]).await? == 1)
}

/// Removes what expired before that time, and says whether there may be more of it.
pub async fn delete_expired(session: &mut Session, before: Millis) -> Result<bool, DbError> {
    Ok(session.execute(DELETE_EXPIRED, args![before]).await? >= BATCH)
}
