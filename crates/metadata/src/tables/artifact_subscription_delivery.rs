//! Rows of `subscription_delivery`: which registry delivered which blob to which instance.

use berth_types::{Digest, Millis};

use crate::{DbError, Session, args};

const INSERT: &str = "INSERT INTO subscription_delivery \
    (digest, instance_id, source, delivered_at) SELECT b.digest, $2, $3, $4 FROM blob b \
    WHERE b.digest = $1 ON CONFLICT (digest, instance_id, source) DO NOTHING";
const EXISTS: &str = "SELECT 1 AS one FROM subscription_delivery \
    WHERE digest = $1 AND instance_id = $2 AND source = $3";

/// Every statement of this file.
pub const STATEMENTS: &[&str] = &[INSERT, EXISTS];

/// The source delivered the blob to the instance. Nothing happens when that is known, or when the
/// blob is gone again.
///
/// # Errors
/// [`DbError`] when the database fails.
pub async fn insert(
    session: &mut Session,
    digest: &Digest,
    instance_id: &str,
    source: &str,
    now: Millis,
) -> Result<(), DbError> {
    session.execute(INSERT, args![digest, instance_id, source, now]).await.map(drop)
}

/// Whether the source delivered the blob to the instance, and it was never gone since.
///
/// # Errors
/// [`DbError`] when the database fails.
pub async fn exists(
    session: &mut Session,
    digest: &Digest,
    instance_id: &str,
    source: &str,
) -> Result<bool, DbError> {
    let row = session.fetch_optional(EXISTS, args![digest, instance_id, source]).await?;
    Ok(row.is_some())
}
