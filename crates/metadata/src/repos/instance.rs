//! Registry instances.

use berth_types::Millis;

use crate::{DbError, Page, Row, Session, args};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub instance_id: String,
    pub account_id: String,
    pub name: String,
    pub region: String,
    pub specification: String,
    /// `RUNNING` and ACR's other instance states.
    pub status: String,
    pub created_at: Millis,
    pub modified_at: Millis,
}

macro_rules! columns {
    () => {
        "instance_id, account_id, name, region, specification, status, created_at, modified_at"
    };
}

const INSERT: &str =
    concat!("INSERT INTO instance (", columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)");
const FIND: &str = concat!("SELECT ", columns!(), " FROM instance WHERE instance_id = $1");
const FIND_BY_NAME: &str = concat!("SELECT ", columns!(), " FROM instance WHERE name = $1");
const COUNT: &str =
    "SELECT COUNT(*) AS total FROM instance WHERE account_id = $1 AND ($2 = '' OR name = $2)";
const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM instance WHERE account_id = $1 AND ($2 = '' OR name = $2) \
     ORDER BY created_at, instance_id LIMIT $3 OFFSET $4"
);

pub const STATEMENTS: &[&str] = &[INSERT, FIND, FIND_BY_NAME, COUNT, LIST];

fn read(row: &Row) -> Result<Instance, DbError> {
    Ok(Instance {
        instance_id: row.text("instance_id")?,
        account_id: row.text("account_id")?,
        name: row.text("name")?,
        region: row.text("region")?,
        specification: row.text("specification")?,
        status: row.text("status")?,
        created_at: row.int("created_at")?,
        modified_at: row.int("modified_at")?,
    })
}

pub async fn insert(session: &mut Session, instance: &Instance) -> Result<(), DbError> {
    let args = args![
        &instance.instance_id,
        &instance.account_id,
        &instance.name,
        &instance.region,
        &instance.specification,
        &instance.status,
        instance.created_at,
        instance.modified_at,
    ];
    session.execute(INSERT, args).await.map(drop)
}

pub async fn find(session: &mut Session, instance_id: &str) -> Result<Option<Instance>, DbError> {
    session.fetch_optional(FIND, args![instance_id]).await?.as_ref().map(read).transpose()
}

pub async fn find_by_name(session: &mut Session, name: &str) -> Result<Option<Instance>, DbError> {
    session.fetch_optional(FIND_BY_NAME, args![name]).await?.as_ref().map(read).transpose()
}

/// A page of an account's instances, oldest first, and their number; `name` filters exactly,
/// empty takes all.
pub async fn list(
    session: &mut Session,
    account_id: &str,
    name: &str,
    page: Page,
) -> Result<(Vec<Instance>, i64), DbError> {
    let total = session.fetch_one(COUNT, args![account_id, name]).await?.int("total")?;
    let args = args![account_id, name, page.limit(), page.offset()];
    let rows = session.fetch_all(LIST, args).await?;
    Ok((rows.iter().map(read).collect::<Result<_, _>>()?, total))
}
