//! Settings of the installation that are made once, such as which account is the root.

use crate::{Change, DbError, Session, args};

const FIND: &str = "SELECT value FROM setting WHERE name = $1";
const PUT: &str = "INSERT INTO setting (name, value) VALUES ($1, $2) \
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";
const PUT_NEW: &str = "INSERT INTO setting (name, value) VALUES ($1, $2) \
    ON CONFLICT (name) DO NOTHING";
const DELETE: &str = "DELETE FROM setting WHERE name = $1";

pub const STATEMENTS: &[&str] = &[FIND, PUT, PUT_NEW, DELETE];

pub async fn find(session: &mut Session, name: &str) -> Result<Option<String>, DbError> {
    let row = session.fetch_optional(FIND, args![name]).await?;
    row.map(|row| row.text("value")).transpose()
}

/// Sets or replaces the value.
pub async fn put(session: &mut Session, name: &str, value: &str) -> Result<(), DbError> {
    session.touch(Change::Instances);
    session.execute(PUT, args![name, value]).await.map(drop)
}

/// Sets the value unless there is one; `false` when there was.
pub async fn put_new(session: &mut Session, name: &str, value: &str) -> Result<bool, DbError> {
    session.touch(Change::Instances);
    Ok(session.execute(PUT_NEW, args![name, value]).await? == 1)
}

/// `false` when there was none.
pub async fn delete(session: &mut Session, name: &str) -> Result<bool, DbError> {
    session.touch(Change::Instances);
    Ok(session.execute(DELETE, args![name]).await? == 1)
}
