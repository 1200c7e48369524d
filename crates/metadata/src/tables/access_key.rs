//! Access keys, whose secrets are stored encrypted.

use berth_types::Millis;

use crate::{Change, DbError, Row, Session, args};

#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    pub access_key_id: String,
    pub account_id: String,
    /// AES-256-GCM under the master key: nonce, ciphertext, tag.
    pub secret: Vec<u8>,
    /// `Active` or `Inactive`, as in RAM.
    pub status: String,
    pub created_at: Millis,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey")
            .field("access_key_id", &self.access_key_id)
            .field("account_id", &self.account_id)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

macro_rules! columns {
    () => {
        "access_key_id, account_id, secret, status, created_at"
    };
}

const INSERT: &str =
    concat!("INSERT INTO access_key (", columns!(), ") VALUES ($1, $2, $3, $4, $5)");
const FIND: &str = concat!("SELECT ", columns!(), " FROM access_key WHERE access_key_id = $1");
const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM access_key WHERE account_id = $1 ORDER BY created_at, access_key_id LIMIT 1000"
);
const UPDATE: &str = "UPDATE access_key SET secret = $2, status = $3 WHERE access_key_id = $1";
const DELETE: &str = "DELETE FROM access_key WHERE access_key_id = $1";

pub const STATEMENTS: &[&str] = &[INSERT, FIND, LIST, UPDATE, DELETE];

fn read(row: &Row) -> Result<AccessKey, DbError> {
    Ok(AccessKey {
        access_key_id: row.text("access_key_id")?,
        account_id: row.text("account_id")?,
        secret: row.bytes("secret")?,
        status: row.text("status")?,
        created_at: row.int("created_at")?,
    })
}

pub async fn insert(session: &mut Session, key: &AccessKey) -> Result<(), DbError> {
    let args = args![&key.access_key_id, &key.account_id, &key.secret, &key.status, key.created_at];
    session.touch(Change::AccessKey(&key.access_key_id));
    session.execute(INSERT, args).await.map(drop)
}

pub async fn find(
    session: &mut Session,
    access_key_id: &str,
) -> Result<Option<AccessKey>, DbError> {
    session.fetch_optional(FIND, args![access_key_id]).await?.as_ref().map(read).transpose()
}

/// The keys of an account, oldest first, 1000 at most.
pub async fn list(session: &mut Session, account_id: &str) -> Result<Vec<AccessKey>, DbError> {
    session.fetch_all(LIST, args![account_id]).await?.iter().map(read).collect()
}

/// Replaces secret and status; `false` when there is no such key.
pub async fn update(session: &mut Session, key: &AccessKey) -> Result<bool, DbError> {
    let args = args![&key.access_key_id, &key.secret, &key.status];
    session.touch(Change::AccessKey(&key.access_key_id));
    Ok(session.execute(UPDATE, args).await? == 1)
}

pub async fn delete(session: &mut Session, access_key_id: &str) -> Result<bool, DbError> {
    session.touch(Change::AccessKey(access_key_id));
    Ok(session.execute(DELETE, args![access_key_id]).await? == 1)
}
