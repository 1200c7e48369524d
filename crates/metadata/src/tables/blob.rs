//! Blobs, and which repository may serve them.
//!
//! `review_after` of blob and link is the collector's queue ([`crate::tables::collection`]): every
//! statement here that ends a use sets it.

use berth_types::{Digest, Millis};

use crate::tables::instance_usage::{self, Change};
use crate::{DbError, Engine, Row, Session, args};

/// A digest whose bytes are whole, verified and durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    pub digest: Digest,
    pub storage_key: String,
    /// Bytes.
    pub size: i64,
    /// The store's mark of the object as it was written.
    pub stamp: Option<String>,
    pub created_at: Millis,
    /// When the collector looks at it again; read through a repository, at the link.
    pub review_after: Option<Millis>,
    /// When its bytes were found not to be whole.
    pub damaged_at: Option<Millis>,
}

/// What became of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Linked {
    New,
    /// It was there; its review is put off.
    Again,
    /// There is no such blob, or it is damaged: nothing was done.
    NoBlob,
}

macro_rules! columns {
    () => {
        "b.digest, b.storage_key, b.size, b.stamp, b.created_at, b.damaged_at"
    };
}

const FIND: &str =
    concat!("SELECT ", columns!(), ", b.review_after FROM blob b WHERE b.digest = $1");
const LOCK: &str =
    concat!("SELECT ", columns!(), ", b.review_after FROM blob b WHERE b.digest = $1 FOR UPDATE");
const INSERT: &str = "INSERT INTO blob \
    (digest, storage_key, size, stamp, created_at, review_after, damaged_at) \
    SELECT $1, $2, $3, $4, $5, $6, $7 \
    WHERE NOT EXISTS (SELECT 1 FROM object_removal o WHERE o.storage_key = $2) \
    ON CONFLICT (digest) DO NOTHING";
const USABLE: &str = "SELECT 1 AS one FROM blob WHERE digest = $1 AND damaged_at IS NULL";
const HOLD: &str =
    "SELECT 1 AS one FROM blob WHERE digest = $1 AND damaged_at IS NULL FOR KEY SHARE";
const LINK: &str = "INSERT INTO repository_blob (repo_id, digest, created_at, review_after) \
    VALUES ($1, $2, $3, $4) ON CONFLICT (repo_id, digest) DO NOTHING";
const RELINK: &str = "UPDATE repository_blob SET review_after = \
    CASE WHEN review_after > $3 THEN review_after ELSE $3 END WHERE repo_id = $1 AND digest = $2";
const LEASE: &str = "UPDATE repository_blob SET review_after = $3 \
    WHERE repo_id = $1 AND digest = $2 AND review_after < $3";
const UNLINK: &str = "DELETE FROM repository_blob WHERE repo_id = $1 AND digest = $2";
const REVIEW: &str = "UPDATE blob SET review_after = \
    CASE WHEN review_after > $2 THEN review_after ELSE $2 END WHERE digest = $1";
const IS_LINKED: &str = "SELECT 1 AS one FROM repository_blob WHERE repo_id = $1 AND digest = $2";
const FIND_IN_REPO: &str = concat!(
    "SELECT ",
    columns!(),
    ", r.review_after FROM repository_blob r JOIN blob b ON b.digest = r.digest \
     WHERE r.repo_id = $1 AND r.digest = $2 AND b.damaged_at IS NULL"
);
/// An upload names the object that it becomes: whoever finishes it may die before the blob's row.
const IS_KEY_USED: &str = "SELECT 1 AS one FROM blob WHERE storage_key = $1 \
    UNION ALL SELECT 1 AS one FROM upload WHERE partial LIKE '%' || $1 || '%' LIMIT 1";
const DELETE: &str = "DELETE FROM blob WHERE digest = $1";
const REPLACE: &str = "UPDATE blob SET storage_key = $3, size = $4, stamp = $5, \
    damaged_at = NULL, scrubbed_at = NULL WHERE digest = $1 AND storage_key = $2 \
    AND NOT EXISTS (SELECT 1 FROM object_removal o WHERE o.storage_key = $3)";

pub const STATEMENTS: &[&str] = &[
    FIND,
    INSERT,
    USABLE,
    LINK,
    RELINK,
    LEASE,
    UNLINK,
    REVIEW,
    IS_LINKED,
    FIND_IN_REPO,
    IS_KEY_USED,
    DELETE,
    REPLACE,
];
/// Statements that only PostgreSQL knows.
pub const POSTGRES_STATEMENTS: &[&str] = &[HOLD, LOCK];

pub(super) fn read(row: &Row) -> Result<Blob, DbError> {
    Ok(Blob {
        digest: row.parse("digest")?,
        storage_key: row.text("storage_key")?,
        size: row.int("size")?,
        stamp: row.opt_text("stamp")?,
        created_at: row.int("created_at")?,
        review_after: row.opt_int("review_after")?,
        damaged_at: row.opt_int("damaged_at")?,
    })
}

/// The blob, damaged or not.
pub async fn find(session: &mut Session, digest: &Digest) -> Result<Option<Blob>, DbError> {
    session.fetch_optional(FIND, args![digest]).await?.as_ref().map(read).transpose()
}

/// [`find`], and the row is kept from everybody until the transaction ends. (On SQLite the whole
/// transaction is exclusive already.)
pub async fn lock(session: &mut Session, digest: &Digest) -> Result<Option<Blob>, DbError> {
    let statement = match session.engine() {
        Engine::Sqlite => FIND,
        Engine::Postgres => LOCK,
    };
    session.fetch_optional(statement, args![digest]).await?.as_ref().map(read).transpose()
}

/// `false` when the digest has a row already, or the object under the key is on its way out
/// ([`crate::tables::object_removal::hold`] first): the caller then deletes its own copy.
pub async fn insert(session: &mut Session, blob: &Blob) -> Result<bool, DbError> {
    let args = args![
        &blob.digest,
        &blob.storage_key,
        blob.size,
        &blob.stamp,
        blob.created_at,
        blob.review_after,
        blob.damaged_at,
    ];
    session.touch(crate::Change::Blob(&blob.digest));
    Ok(session.execute(INSERT, args).await? == 1)
}

/// Lets the repository serve the blob, which stays until the transaction ends. A link that is
/// there already has its review put off to `review_after`, so that the collector leaves it to the
/// manifest that is to come.
///
/// # Errors
/// A conflict when there is no such repository.
pub async fn link(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
    now: Millis,
    review_after: Millis,
) -> Result<Linked, DbError> {
    let hold = match session.engine() {
        Engine::Sqlite => USABLE,
        Engine::Postgres => HOLD,
    };
    if session.fetch_optional(hold, args![digest]).await?.is_none() {
        return Ok(Linked::NoBlob);
    }
    session.touch(crate::Change::Link(repo_id, digest));
    loop {
        if session.execute(LINK, args![repo_id, digest, now, review_after]).await? == 1 {
            instance_usage::record(session, repo_id, digest, Change::Added).await?;
            return Ok(Linked::New);
        }
        // Between the two the link may vanish, and another insert must make it.
        if session.execute(RELINK, args![repo_id, digest, review_after]).await? == 1 {
            return Ok(Linked::Again);
        }
    }
}

/// Puts off the review of a link that waits for one; `false` when it is gone, waits for none or
/// waits longer already.
pub async fn lease(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
    review_after: Millis,
) -> Result<bool, DbError> {
    session.touch(crate::Change::Link(repo_id, digest));
    Ok(session.execute(LEASE, args![repo_id, digest, review_after]).await? == 1)
}

/// `false` when it was not linked. The collector looks at the blob after `review_after`.
pub async fn unlink(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
    review_after: Millis,
) -> Result<bool, DbError> {
    session.touch(crate::Change::Link(repo_id, digest));
    if session.execute(UNLINK, args![repo_id, digest]).await? == 0 {
        return Ok(false);
    }
    instance_usage::record(session, repo_id, digest, Change::Removed).await?;
    review(session, digest, review_after).await?;
    Ok(true)
}

/// Has the collector look at the blob after `review_after`, or later when it is to wait longer;
/// `false` when it is gone.
pub async fn review(
    session: &mut Session,
    digest: &Digest,
    review_after: Millis,
) -> Result<bool, DbError> {
    session.touch(crate::Change::BlobReviews);
    Ok(session.execute(REVIEW, args![digest, review_after]).await? == 1)
}

pub async fn is_linked(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
) -> Result<bool, DbError> {
    Ok(session.fetch_optional(IS_LINKED, args![repo_id, digest]).await?.is_some())
}

/// The blob when the repository may serve it and it is whole, with the `review_after` of the link.
pub async fn find_in_repo(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
) -> Result<Option<Blob>, DbError> {
    let row = session.fetch_optional(FIND_IN_REPO, args![repo_id, digest]).await?;
    row.as_ref().map(read).transpose()
}

/// Whether a blob's bytes are stored under the key.
pub async fn is_key_used(session: &mut Session, storage_key: &str) -> Result<bool, DbError> {
    Ok(session.fetch_optional(IS_KEY_USED, args![storage_key]).await?.is_some())
}

/// `false` when there was none. Its object is the caller's to remove.
///
/// # Errors
/// A conflict while a repository links it or a converted layer needs it.
pub async fn delete(session: &mut Session, digest: &Digest) -> Result<bool, DbError> {
    session.touch(crate::Change::Blob(digest));
    Ok(session.execute(DELETE, args![digest]).await? == 1)
}

/// Puts a new copy of the bytes in the place of a damaged one, whose object is the caller's to
/// remove; `false` when the row no longer has the key `damaged`, or the new object is on its way
/// out.
pub async fn replace(session: &mut Session, blob: &Blob, damaged: &str) -> Result<bool, DbError> {
    let args = args![&blob.digest, damaged, &blob.storage_key, blob.size, &blob.stamp];
    session.touch(crate::Change::Blob(&blob.digest));
    Ok(session.execute(REPLACE, args).await? == 1)
}
