//! Rows of `converted_layer`: layers that were converted before, by everything that their bytes
//! depend on.

use berth_types::{Digest, Millis};

use crate::{DbError, Session, args};

pub const STATEMENTS: &[&str] = &[INSERT, FIND, TOUCH, DELETE];

const INSERT: &str = "INSERT INTO converted_layer (chain, digest, size, created_at, used_at) \
    VALUES ($1, $2, $3, $4, $4) ON CONFLICT (chain) DO UPDATE SET digest = excluded.digest, \
    size = excluded.size, created_at = excluded.created_at, used_at = excluded.used_at";
const FIND: &str = "SELECT digest, size FROM converted_layer WHERE chain = $1";
const TOUCH: &str = "UPDATE converted_layer SET used_at = $3 WHERE chain = $1 AND digest = $2";
const DELETE: &str = "DELETE FROM converted_layer WHERE chain = $1 AND digest = $2";

/// A converted layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvertedLayer {
    /// Hash over format, writer version, options and the digests of the layers below and this one.
    pub chain: String,
    /// The accelerated layer blob.
    pub digest: Digest,
    /// Its bytes.
    pub size: i64,
    pub created_at: Millis,
}

/// Remembers a layer.
///
/// # Errors
/// [`DbError`] when the database fails.
pub async fn insert(session: &mut Session, layer: &ConvertedLayer) -> Result<(), DbError> {
    let values = args![&layer.chain, &layer.digest, layer.size, layer.created_at];
    session.execute(INSERT, values).await.map(drop)
}

/// The layer of this chain: blob digest and size.
///
/// # Errors
/// [`DbError`] when the database fails.
pub async fn find(session: &mut Session, chain: &str) -> Result<Option<(Digest, i64)>, DbError> {
    match session.fetch_optional(FIND, args![chain]).await? {
        Some(row) => Ok(Some((row.parse("digest")?, row.int("size")?))),
        None => Ok(None),
    }
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
