//! What is known about the bytes of blobs: when they were found whole or damaged.
//!
//! Every statement that judges a blob names the storage key that was read: meanwhile the blob may
//! have got other bytes, or be gone.

use berth_types::{Digest, Millis};

use crate::{Change, DbError, Session, args};

/// Blobs that a repository of the instance has, which is the parameter.
macro_rules! of_instance {
    ($parameter:literal) => {
        concat!(
            " AND EXISTS (SELECT 1 FROM repository_blob l JOIN repository r \
             ON r.repo_id = l.repo_id WHERE l.digest = blob.digest AND r.instance_id = ",
            $parameter,
            ")"
        )
    };
}
macro_rules! page {
    ($condition:expr) => {
        concat!(
            "SELECT digest FROM blob WHERE digest > $1",
            $condition,
            " ORDER BY digest LIMIT $2"
        )
    };
}
macro_rules! ahead {
    ($condition:expr) => {
        concat!(
            "SELECT COUNT(*) AS blobs, CAST(COALESCE(SUM(size), 0) AS BIGINT) AS bytes \
             FROM blob WHERE digest > $1",
            $condition
        )
    };
}
const PAGE: &str = page!("");
const PAGE_OF_INSTANCE: &str = page!(of_instance!("$3"));
const AHEAD: &str = ahead!("");
const AHEAD_OF_INSTANCE: &str = ahead!(of_instance!("$2"));
const SET_STAMP: &str = "UPDATE blob SET stamp = $3 WHERE digest = $1 AND storage_key = $2";
const SET_WHOLE: &str = "UPDATE blob SET stamp = $3, scrubbed_at = $4, damaged_at = NULL \
    WHERE digest = $1 AND storage_key = $2";
const SET_DAMAGED: &str = "UPDATE blob SET damaged_at = $3 \
    WHERE digest = $1 AND storage_key = $2 AND damaged_at IS NULL";
const SCRUBBED_AT: &str = "SELECT scrubbed_at FROM blob WHERE digest = $1";
const COUNT_DAMAGED: &str = "SELECT COUNT(*) AS total FROM blob WHERE damaged_at IS NOT NULL";
const REPOSITORIES: &str =
    "SELECT repo_id FROM repository_blob WHERE digest = $1 ORDER BY repo_id LIMIT $2";
const REPOSITORIES_OF_INSTANCE: &str = "SELECT l.repo_id FROM repository_blob l \
    JOIN repository r ON r.repo_id = l.repo_id WHERE l.digest = $1 AND r.instance_id = $3 \
    ORDER BY l.repo_id LIMIT $2";

pub const STATEMENTS: &[&str] = &[
    PAGE,
    PAGE_OF_INSTANCE,
    AHEAD,
    AHEAD_OF_INSTANCE,
    SET_STAMP,
    SET_WHOLE,
    SET_DAMAGED,
    SCRUBBED_AT,
    COUNT_DAMAGED,
    REPOSITORIES,
    REPOSITORIES_OF_INSTANCE,
];

/// Blobs that a scrub has still to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ahead {
    pub blobs: i64,
    pub bytes: i64,
}

/// At most `limit` digests in order, of one instance's blobs or of all, after `after`, which may be
/// empty.
pub async fn page(
    session: &mut Session,
    instance_id: Option<&str>,
    after: &str,
    limit: i64,
) -> Result<Vec<Digest>, DbError> {
    let rows = match instance_id {
        Some(id) => session.fetch_all(PAGE_OF_INSTANCE, args![after, limit, id]).await?,
        None => session.fetch_all(PAGE, args![after, limit]).await?,
    };
    rows.iter().map(|row| row.parse("digest")).collect()
}

/// What comes after `after`, of one instance's blobs or of all.
pub async fn ahead(
    session: &mut Session,
    instance_id: Option<&str>,
    after: &str,
) -> Result<Ahead, DbError> {
    let row = match instance_id {
        Some(id) => session.fetch_one(AHEAD_OF_INSTANCE, args![after, id]).await?,
        None => session.fetch_one(AHEAD, args![after]).await?,
    };
    Ok(Ahead { blobs: row.int("blobs")?, bytes: row.int("bytes")? })
}

/// Takes the object as it is now for the one that was written, of a blob that had no stamp.
pub async fn set_stamp(
    session: &mut Session,
    digest: &Digest,
    storage_key: &str,
    stamp: &str,
) -> Result<bool, DbError> {
    session.touch(Change::Blob(digest));
    let args = args![digest, storage_key, stamp];
    Ok(session.execute(SET_STAMP, args).await? == 1)
}

/// The bytes under the key, in the object that has the stamp, were read and are whole: that ends a
/// quarantine.
pub async fn set_whole(
    session: &mut Session,
    digest: &Digest,
    storage_key: &str,
    stamp: &str,
    now: Millis,
) -> Result<bool, DbError> {
    session.touch(Change::Blob(digest));
    let args = args![digest, storage_key, stamp, now];
    Ok(session.execute(SET_WHOLE, args).await? == 1)
}

/// Puts the blob in quarantine; `false` when it is there, or has other bytes.
pub async fn set_damaged(
    session: &mut Session,
    digest: &Digest,
    storage_key: &str,
    now: Millis,
) -> Result<bool, DbError> {
    session.touch(Change::Blob(digest));
    let args = args![digest, storage_key, now];
    Ok(session.execute(SET_DAMAGED, args).await? == 1)
}

/// When the bytes were last read and found whole.
pub async fn scrubbed_at(
    session: &mut Session,
    digest: &Digest,
) -> Result<Option<Millis>, DbError> {
    let row = session.fetch_optional(SCRUBBED_AT, args![digest]).await?;
    row.map_or(Ok(None), |row| row.opt_int("scrubbed_at"))
}

/// Blobs in quarantine.
pub async fn count_damaged(session: &mut Session) -> Result<i64, DbError> {
    session.fetch_one(COUNT_DAMAGED, args![]).await?.int("total")
}

/// At most `limit` of the repositories, of one instance or of all, that have the blob.
pub async fn repositories(
    session: &mut Session,
    instance_id: Option<&str>,
    digest: &Digest,
    limit: i64,
) -> Result<Vec<String>, DbError> {
    let rows = match instance_id {
        Some(id) => session.fetch_all(REPOSITORIES_OF_INSTANCE, args![digest, limit, id]).await?,
        None => session.fetch_all(REPOSITORIES, args![digest, limit]).await?,
    };
    rows.iter().map(|row| row.text("repo_id")).collect()
}
