//! Namespaces of an instance.

use berth_types::Millis;

use crate::{DbError, Page, Row, Session, args, contains_pattern};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    pub namespace_id: String,
    pub instance_id: String,
    pub name: String,
    /// `NORMAL` or `DELETING`.
    pub status: String,
    pub auto_create_repo: bool,
    /// `PUBLIC` or `PRIVATE`.
    pub default_repo_type: String,
    pub default_tag_immutability: bool,
    /// JSON of the build rule that new repositories get; none when they get no rule.
    pub build_rule_parameters: Option<String>,
    pub created_at: Millis,
    pub modified_at: Millis,
}

/// Which namespaces a list takes.
#[derive(Debug, Clone, Default)]
pub struct NamespaceFilter {
    pub instance_id: String,
    /// Part of the name; empty takes all.
    pub name_contains: String,
    /// Exact; empty takes all.
    pub status: String,
}

macro_rules! columns {
    () => {
        "namespace_id, instance_id, name, status, auto_create_repo, default_repo_type, \
         default_tag_immutability, build_rule_parameters, created_at, modified_at"
    };
}
macro_rules! filter {
    () => {
        " FROM namespace WHERE instance_id = $1 AND ($2 = '' OR name LIKE $2 ESCAPE '\\') \
         AND ($3 = '' OR status = $3)"
    };
}

const INSERT: &str = concat!(
    "INSERT INTO namespace (",
    columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
);
const FIND_BY_ID: &str = concat!("SELECT ", columns!(), " FROM namespace WHERE namespace_id = $1");
const FIND_BY_NAME: &str =
    concat!("SELECT ", columns!(), " FROM namespace WHERE instance_id = $1 AND name = $2");
const COUNT: &str = concat!("SELECT COUNT(*) AS total", filter!());
const LIST: &str = concat!("SELECT ", columns!(), filter!(), " ORDER BY name LIMIT $4 OFFSET $5");
const UPDATE: &str = "UPDATE namespace SET status = $2, auto_create_repo = $3, \
    default_repo_type = $4, default_tag_immutability = $5, build_rule_parameters = $6, \
    modified_at = $7 WHERE namespace_id = $1";
const DELETE: &str = "DELETE FROM namespace WHERE namespace_id = $1";

pub const STATEMENTS: &[&str] = &[INSERT, FIND_BY_ID, FIND_BY_NAME, COUNT, LIST, UPDATE, DELETE];

fn read(row: &Row) -> Result<Namespace, DbError> {
    Ok(Namespace {
        namespace_id: row.text("namespace_id")?,
        instance_id: row.text("instance_id")?,
        name: row.text("name")?,
        status: row.text("status")?,
        auto_create_repo: row.boolean("auto_create_repo")?,
        default_repo_type: row.text("default_repo_type")?,
        default_tag_immutability: row.boolean("default_tag_immutability")?,
        build_rule_parameters: row.opt_text("build_rule_parameters")?,
        created_at: row.int("created_at")?,
        modified_at: row.int("modified_at")?,
    })
}

/// # Errors
/// A conflict when the instance has a namespace of this name.
pub async fn insert(session: &mut Session, namespace: &Namespace) -> Result<(), DbError> {
    let args = args![
        &namespace.namespace_id,
        &namespace.instance_id,
        &namespace.name,
        &namespace.status,
        namespace.auto_create_repo,
        &namespace.default_repo_type,
        namespace.default_tag_immutability,
        &namespace.build_rule_parameters,
        namespace.created_at,
        namespace.modified_at,
    ];
    session.execute(INSERT, args).await.map(drop)
}

pub async fn find_by_id(
    session: &mut Session,
    namespace_id: &str,
) -> Result<Option<Namespace>, DbError> {
    session.fetch_optional(FIND_BY_ID, args![namespace_id]).await?.as_ref().map(read).transpose()
}

pub async fn find_by_name(
    session: &mut Session,
    instance_id: &str,
    name: &str,
) -> Result<Option<Namespace>, DbError> {
    let row = session.fetch_optional(FIND_BY_NAME, args![instance_id, name]).await?;
    row.as_ref().map(read).transpose()
}

/// A page by name, and the number of all that match.
pub async fn list(
    session: &mut Session,
    filter: &NamespaceFilter,
    page: Page,
) -> Result<(Vec<Namespace>, i64), DbError> {
    let name = contains_pattern(&filter.name_contains);
    let args = args![&filter.instance_id, &name, &filter.status];
    let total = session.fetch_one(COUNT, args).await?.int("total")?;
    let args = args![&filter.instance_id, name, &filter.status, page.limit(), page.offset()];
    let rows = session.fetch_all(LIST, args).await?;
    Ok((rows.iter().map(read).collect::<Result<_, _>>()?, total))
}

/// Writes everything that may change (not id, instance, name, birth); `false` when it is gone.
pub async fn update(session: &mut Session, namespace: &Namespace) -> Result<bool, DbError> {
    let args = args![
        &namespace.namespace_id,
        &namespace.status,
        namespace.auto_create_repo,
        &namespace.default_repo_type,
        namespace.default_tag_immutability,
        &namespace.build_rule_parameters,
        namespace.modified_at,
    ];
    Ok(session.execute(UPDATE, args).await? == 1)
}

/// `false` when there was none.
///
/// # Errors
/// A conflict while it has repositories.
pub async fn delete(session: &mut Session, namespace_id: &str) -> Result<bool, DbError> {
    Ok(session.execute(DELETE, args![namespace_id]).await? == 1)
}
