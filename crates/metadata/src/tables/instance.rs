//! Registry instances.

use berth_types::Millis;

use super::list_count::{self, List};
use crate::{Change, DbError, Engine, Page, Row, Session, args};

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

/// What an instance may hold; `None` takes the server's default, 0 is without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of the blobs of all repositories.
    pub storage: Option<i64>,
    pub namespaces: Option<i64>,
    pub repositories: Option<i64>,
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

const FIND_QUOTA: &str = "SELECT storage_quota, namespace_quota, repository_quota \
    FROM instance WHERE instance_id = $1";
const FIND_STORAGE_QUOTA: &str = "SELECT i.instance_id, i.storage_quota FROM repository r \
    JOIN instance i ON i.instance_id = r.instance_id WHERE r.repo_id = $1";
const SET_QUOTA: &str = "UPDATE instance SET storage_quota = $2, namespace_quota = $3, \
    repository_quota = $4 WHERE instance_id = $1";
// Not FOR UPDATE: that would keep every row waiting that refers to the instance.
const LOCK_COUNTS: &str = "SELECT 1 AS one FROM instance WHERE instance_id = $1 FOR NO KEY UPDATE";

pub const STATEMENTS: &[&str] =
    &[INSERT, FIND, FIND_BY_NAME, COUNT, LIST, FIND_QUOTA, FIND_STORAGE_QUOTA, SET_QUOTA];
/// Statements that only PostgreSQL knows.
pub const POSTGRES_STATEMENTS: &[&str] = &[LOCK_COUNTS];

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
    session.touch(Change::Instances);
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

/// `None` when there is no such instance.
pub async fn find_quota(
    session: &mut Session,
    instance_id: &str,
) -> Result<Option<Quota>, DbError> {
    let Some(row) = session.fetch_optional(FIND_QUOTA, args![instance_id]).await? else {
        return Ok(None);
    };
    Ok(Some(Quota {
        storage: row.opt_int("storage_quota")?,
        namespaces: row.opt_int("namespace_quota")?,
        repositories: row.opt_int("repository_quota")?,
    }))
}

/// A repository's instance and its quota of bytes.
pub async fn find_storage_quota(
    session: &mut Session,
    repo_id: &str,
) -> Result<Option<(String, Option<i64>)>, DbError> {
    let Some(row) = session.fetch_optional(FIND_STORAGE_QUOTA, args![repo_id]).await? else {
        return Ok(None);
    };
    Ok(Some((row.text("instance_id")?, row.opt_int("storage_quota")?)))
}

/// `false` when there is no such instance.
pub async fn set_quota(
    session: &mut Session,
    instance_id: &str,
    quota: Quota,
) -> Result<bool, DbError> {
    session.touch(Change::Instances);
    let args = args![instance_id, quota.storage, quota.namespaces, quota.repositories];
    Ok(session.execute(SET_QUOTA, args).await? == 1)
}

/// Until the transaction ends nobody else decides by the instance's counts. Pushes go on.
pub async fn lock_counts(session: &mut Session, instance_id: &str) -> Result<(), DbError> {
    match session.engine() {
        Engine::Sqlite => Ok(()),
        Engine::Postgres => session.fetch_optional(LOCK_COUNTS, args![instance_id]).await.map(drop),
    }
}

pub async fn count_namespaces(session: &mut Session, instance_id: &str) -> Result<i64, DbError> {
    list_count::total(session, List::Namespace, instance_id, "").await
}

pub async fn count_repositories(session: &mut Session, instance_id: &str) -> Result<i64, DbError> {
    list_count::total(session, List::Repository, &format!("{instance_id} "), "").await
}
