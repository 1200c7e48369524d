//! Blobs, and which repository may serve them.

use berth_types::{Digest, Millis};

use crate::{DbError, Row, Session, args};

/// A digest whose bytes are whole, verified and durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    pub digest: Digest,
    pub storage_key: String,
    /// Bytes.
    pub size: i64,
    pub created_at: Millis,
}

const FIND: &str = "SELECT digest, storage_key, size, created_at FROM blob WHERE digest = $1";
const INSERT: &str = "INSERT INTO blob (digest, storage_key, size, created_at) \
    VALUES ($1, $2, $3, $4) ON CONFLICT (digest) DO NOTHING";
const LINK: &str = "INSERT INTO repository_blob (repo_id, digest, created_at) \
    VALUES ($1, $2, $3) ON CONFLICT (repo_id, digest) DO NOTHING";
const UNLINK: &str = "DELETE FROM repository_blob WHERE repo_id = $1 AND digest = $2";
const IS_LINKED: &str = "SELECT 1 AS one FROM repository_blob WHERE repo_id = $1 AND digest = $2";
const FIND_IN_REPO: &str = "SELECT b.digest, b.storage_key, b.size, b.created_at \
    FROM repository_blob r JOIN blob b ON b.digest = r.digest \
    WHERE r.repo_id = $1 AND r.digest = $2";
const UNUSED: &str = "SELECT b.digest, b.storage_key, b.size, b.created_at FROM blob b \
    WHERE b.created_at < $1 \
    AND NOT EXISTS (SELECT 1 FROM repository_blob r WHERE r.digest = b.digest) \
    AND NOT EXISTS (SELECT 1 FROM converted_layer c WHERE c.digest = b.digest) \
    ORDER BY b.created_at, b.digest LIMIT $2";
const IS_KEY_USED: &str = "SELECT 1 AS one FROM blob WHERE storage_key = $1";
const DELETE: &str = "DELETE FROM blob WHERE digest = $1";
const REPLACE: &str =
    "UPDATE blob SET storage_key = $3, size = $4 WHERE digest = $1 AND storage_key = $2";

pub const STATEMENTS: &[&str] =
    &[FIND, INSERT, LINK, UNLINK, IS_LINKED, FIND_IN_REPO, UNUSED, IS_KEY_USED, DELETE, REPLACE];

fn read(row: &Row) -> Result<Blob, DbError> {
    Ok(Blob {
        digest: row.parse("digest")?,
        storage_key: row.text("storage_key")?,
        size: row.int("size")?,
        created_at: row.int("created_at")?,
    })
}

pub async fn find(session: &mut Session, digest: &Digest) -> Result<Option<Blob>, DbError> {
    session.fetch_optional(FIND, args![digest]).await?.as_ref().map(read).transpose()
}

/// `false` when the digest has a row already: the caller then deletes its own copy of the bytes.
pub async fn insert(session: &mut Session, blob: &Blob) -> Result<bool, DbError> {
    let args = args![&blob.digest, &blob.storage_key, blob.size, blob.created_at];
    Ok(session.execute(INSERT, args).await? == 1)
}

/// Lets the repository serve the blob; nothing happens when it may already.
///
/// # Errors
/// A conflict when there is no such blob or repository.
pub async fn link(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
    now: Millis,
) -> Result<(), DbError> {
    session.execute(LINK, args![repo_id, digest, now]).await.map(drop)
}

/// `false` when it was not linked.
pub async fn unlink(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
) -> Result<bool, DbError> {
    Ok(session.execute(UNLINK, args![repo_id, digest]).await? == 1)
}

pub async fn is_linked(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
) -> Result<bool, DbError> {
    Ok(session.fetch_optional(IS_LINKED, args![repo_id, digest]).await?.is_some())
}

/// The blob when the repository may serve it.
pub async fn find_in_repo(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
) -> Result<Option<Blob>, DbError> {
    let row = session.fetch_optional(FIND_IN_REPO, args![repo_id, digest]).await?;
    row.as_ref().map(read).transpose()
}

/// Blobs older than `before` that no repository links and no converted layer needs.
pub async fn unused(
    session: &mut Session,
    before: Millis,
    limit: i64,
) -> Result<Vec<Blob>, DbError> {
    session.fetch_all(UNUSED, args![before, limit]).await?.iter().map(read).collect()
}

/// Whether a blob's bytes are stored under the key.
pub async fn is_key_used(session: &mut Session, storage_key: &str) -> Result<bool, DbError> {
    Ok(session.fetch_optional(IS_KEY_USED, args![storage_key]).await?.is_some())
}

/// `false` when there was none.
///
/// # Errors
/// A conflict while a repository links it or a converted layer needs it.
pub async fn delete(session: &mut Session, digest: &Digest) -> Result<bool, DbError> {
    Ok(session.execute(DELETE, args![digest]).await? == 1)
}

/// Puts a new copy of the bytes in the place of a damaged one; `false` when the row no longer has
/// the key `damaged`.
pub async fn replace(session: &mut Session, blob: &Blob, damaged: &str) -> Result<bool, DbError> {
    let args = args![&blob.digest, damaged, &blob.storage_key, blob.size];
    Ok(session.execute(REPLACE, args).await? == 1)
}
