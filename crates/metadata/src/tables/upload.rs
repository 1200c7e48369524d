//! Blob uploads that are under way.

use berth_types::Millis;

use crate::{DbError, Row, Session, args};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    pub upload_id: String,
    pub repo_id: String,
    /// Whose upload it is: the identity's key.
    pub principal: String,
    /// JSON of the storage crate's partial object.
    pub partial: String,
    /// Bytes received and durable.
    pub received: i64,
    /// State of the digest over the received bytes.
    pub hash_state: Vec<u8>,
    pub created_at: Millis,
    /// When it last moved. Later at each writing, so that it tells one state from another.
    pub updated_at: Millis,
}

macro_rules! columns {
    () => {
        "upload_id, repo_id, principal, partial, received, hash_state, created_at, updated_at"
    };
}

const INSERT: &str =
    concat!("INSERT INTO upload (", columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)");
const FIND: &str = concat!("SELECT ", columns!(), " FROM upload WHERE upload_id = $1");
const UPDATE: &str = "UPDATE upload SET partial = $3, received = $4, hash_state = $5, \
    updated_at = $6 WHERE upload_id = $1 AND updated_at = $2";
const DELETE: &str = "DELETE FROM upload WHERE upload_id = $1 AND updated_at = $2";
const STALE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM upload WHERE updated_at < $1 ORDER BY updated_at, upload_id LIMIT $2"
);
const BY_REPOSITORY: &str =
    concat!("SELECT ", columns!(), " FROM upload WHERE repo_id = $1 ORDER BY upload_id LIMIT $2");

pub const STATEMENTS: &[&str] = &[INSERT, FIND, UPDATE, DELETE, STALE, BY_REPOSITORY];

fn read(row: &Row) -> Result<Upload, DbError> {
    Ok(Upload {
        upload_id: row.text("upload_id")?,
        repo_id: row.text("repo_id")?,
        principal: row.text("principal")?,
        partial: row.text("partial")?,
        received: row.int("received")?,
        hash_state: row.bytes("hash_state")?,
        created_at: row.int("created_at")?,
        updated_at: row.int("updated_at")?,
    })
}

pub async fn insert(session: &mut Session, upload: &Upload) -> Result<(), DbError> {
    let args = args![
        &upload.upload_id,
        &upload.repo_id,
        &upload.principal,
        &upload.partial,
        upload.received,
        &upload.hash_state,
        upload.created_at,
        upload.updated_at,
    ];
    session.execute(INSERT, args).await.map(drop)
}

pub async fn find(session: &mut Session, upload_id: &str) -> Result<Option<Upload>, DbError> {
    session.fetch_optional(FIND, args![upload_id]).await?.as_ref().map(read).transpose()
}

/// Writes the new state of an upload that last moved at `moved_before`; `false` when it is gone or
/// another request moved it meanwhile.
pub async fn update(
    session: &mut Session,
    upload: &Upload,
    moved_before: Millis,
) -> Result<bool, DbError> {
    let args = args![
        &upload.upload_id,
        moved_before,
        &upload.partial,
        upload.received,
        &upload.hash_state,
        upload.updated_at,
    ];
    Ok(session.execute(UPDATE, args).await? == 1)
}

/// Deletes an upload that is as it was read; `false` when it is not: somebody else moved, finished
/// or cancelled it.
pub async fn delete(session: &mut Session, upload: &Upload) -> Result<bool, DbError> {
    Ok(session.execute(DELETE, args![&upload.upload_id, upload.updated_at]).await? == 1)
}

/// At most `limit` uploads that last moved before `before`, oldest first.
pub async fn stale(
    session: &mut Session,
    before: Millis,
    limit: i64,
) -> Result<Vec<Upload>, DbError> {
    session.fetch_all(STALE, args![before, limit]).await?.iter().map(read).collect()
}

/// Deletes at most `limit` uploads that last moved before `before` and returns them, so that their
/// partial objects can be aborted.
pub async fn delete_stale(
    session: &mut Session,
    before: Millis,
    limit: i64,
) -> Result<Vec<Upload>, DbError> {
    let mut deleted = Vec::new();
    for upload in stale(session, before, limit).await? {
        if delete(session, &upload).await? {
            deleted.push(upload);
        }
    }
    Ok(deleted)
}

/// At most `limit` uploads into a repository.
pub async fn by_repository(
    session: &mut Session,
    repo_id: &str,
    limit: i64,
) -> Result<Vec<Upload>, DbError> {
    session.fetch_all(BY_REPOSITORY, args![repo_id, limit]).await?.iter().map(read).collect()
}
