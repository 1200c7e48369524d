//! Accounts.

use berth_types::Millis;

use crate::{DbError, Row, Session, args};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub account_id: String,
    pub name: String,
    pub created_at: Millis,
}

const INSERT: &str = "INSERT INTO account (account_id, name, created_at) VALUES ($1, $2, $3)";
const FIND: &str = "SELECT account_id, name, created_at FROM account WHERE account_id = $1";
const FIRST: &str = "SELECT account_id, name, created_at FROM account \
    ORDER BY created_at, account_id LIMIT 1";

pub const STATEMENTS: &[&str] = &[INSERT, FIND, FIRST];

fn read(row: &Row) -> Result<Account, DbError> {
    Ok(Account {
        account_id: row.text("account_id")?,
        name: row.text("name")?,
        created_at: row.int("created_at")?,
    })
}

pub async fn insert(session: &mut Session, account: &Account) -> Result<(), DbError> {
    let args = args![&account.account_id, &account.name, account.created_at];
    session.execute(INSERT, args).await.map(drop)
}

pub async fn find(session: &mut Session, account_id: &str) -> Result<Option<Account>, DbError> {
    session.fetch_optional(FIND, args![account_id]).await?.as_ref().map(read).transpose()
}

/// The oldest account: the one made at the first start.
pub async fn first(session: &mut Session) -> Result<Option<Account>, DbError> {
    session.fetch_optional(FIRST, args![]).await?.as_ref().map(read).transpose()
}
