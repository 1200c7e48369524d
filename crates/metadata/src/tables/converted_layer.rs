//! Rows of `converted_layer`: layers that were converted before, by everything that their bytes
//! depend on.

use berth_types::{Digest, Millis};

use crate::{DbError, Session, args};

pub const STATEMENTS: &[&str] = &[INSERT, FIND, TOUCH, DELETE];

const INSERT: &str = "INSERT INTO converted_layer \
    (chain, digest, diff_id, size, created_at, used_at) VALUES ($1, $2, $3, $4, $5, $5) \
    ON CONFLICT (chain) DO UPDATE SET digest = excluded.digest, diff_id = excluded.diff_id, \
    size = excluded.size, created_at = excluded.created_at, used_at = excluded.used_at";
const FIND: &str = "SELECT chain, digest, diff_id, size, created_at FROM converted_layer \
    WHERE chain = $1 AND diff_id IS NOT NULL";
const TOUCH: &str = "UPDATE converted_layer SET used_at = $3 WHERE chain = $1 AND digest = $2";
const DELETE: &str = "DELETE FROM converted_layer WHERE chain = $1 AND digest = $2";

/// A converted layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvertedLayer {
    /// Hash over format, writer version, options and the digests of the layers below and this one.
    pub chain: String,
    /// The accelerated layer blob.
    pub digest: Digest,
    /// The digest of the source layer, uncompressed.
    pub diff_id: Digest,
    /// Bytes of the accelerated layer blob.
    pub size: i64,
    pub created_at: Millis,
}

/// Remembers a layer.
///
/// # Errors
/// [`DbError`] when the database fails.
pub async fn insert(session: &mut Session, layer: &ConvertedLayer) -> Result<(), DbError> {
    let values = args![&layer.chain, &layer.digest, &layer.diff_id, layer.size, layer.created_at];
    session.execute(INSERT, values).await.map(drop)
}

/// The layer of this chain.
///
/// # Errors
/// [`DbError`] when the database fails.
pub async fn find(session: &mut Session, chain: &str) -> Result<Option<ConvertedLayer>, DbError> {
    let Some(row) = session.fetch_optional(FIND, args![chain]).await? else { return Ok(None) };
    Ok(Some(ConvertedLayer {
        chain: row.text("chain")?,
        digest: row.parse("digest")?,
        diff_id: row.parse("diff_id")?,
        size: row.int("size")?,
        created_at: row.int("created_at")?,
    }))
}

/// A build takes the layer: the collector leaves it for a while. `false` when it is gone.
///
/// # Errors
/// [`DbError`] when the database fails.
pub async fn touch(
    session: &mut Session,
    chain: &str,
    digest: &Digest,
    now: Millis,
) -> Result<bool, DbError> {
    Ok(session.execute(TOUCH, args![chain, digest, now]).await? == 1)
}

/// Forgets a layer.
///
/// # Errors
/// [`DbError`] when the database fails.
pub async fn delete(session: &mut Session, chain: &str, digest: &Digest) -> Result<(), DbError> {
    session.execute(DELETE, args![chain, digest]).await.map(drop)
}
