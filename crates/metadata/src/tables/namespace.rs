//! Namespaces of an instance.

use berth_types::Millis;

use super::list_count::{self, List};
use crate::page::page_keys;
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
macro_rules! page {
    ($condition:literal, $order:literal) => {
        concat!(
            page_keys!("name", "namespace", $condition, $order),
            "SELECT n.* FROM page p CROSS JOIN namespace n WHERE n.instance_id = $1 AND n.name = p.name \
             ORDER BY n.name"
        )
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
const LIST: &str = page!("instance_id = $1", "name");
const LIST_FROM_END: &str = page!("instance_id = $1", "name DESC");
const OF_STATUS: &str = page!("instance_id = $1 AND status = $4", "name");
const OF_STATUS_FROM_END: &str = page!("instance_id = $1 AND status = $4", "name DESC");
// A part of a name is looked for in all of them, in the index.
const COUNT_CONTAINING: &str = "SELECT COUNT(*) AS total FROM namespace \
    WHERE instance_id = $1 AND name LIKE $2 ESCAPE '\\' AND ($3 = '' OR status = $3)";
const CONTAINING: &str =
    page!("instance_id = $1 AND name LIKE $4 ESCAPE '\\' AND ($5 = '' OR status = $5)", "name");
const UPDATE: &str = "UPDATE namespace SET status = $2, auto_create_repo = $3, \
    default_repo_type = $4, default_tag_immutability = $5, build_rule_parameters = $6, \
    modified_at = $7 WHERE namespace_id = $1";
const DELETE: &str = "DELETE FROM namespace WHERE namespace_id = $1";

pub const STATEMENTS: &[&str] = &[
    INSERT,
    FIND_BY_ID,
    FIND_BY_NAME,
    LIST,
    LIST_FROM_END,
    OF_STATUS,
    OF_STATUS_FROM_END,
    COUNT_CONTAINING,
    CONTAINING,
    UPDATE,
    DELETE,
];

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
    let NamespaceFilter { instance_id, name_contains, status } = filter;
    if !name_contains.is_empty() {
        let name = contains_pattern(name_contains);
        let values = args![instance_id, &name, status];
        let total = session.fetch_one(COUNT_CONTAINING, values).await?.int("total")?;
        let values = args![instance_id, page.limit(), page.offset(), name, status];
        let rows = session.fetch_all(CONTAINING, values).await?;
        return Ok((rows.iter().map(read).collect::<Result<_, _>>()?, total));
    }
    let total = list_count::total(session, List::Namespace, instance_id, status).await?;
    let Some(reach) = page.reach(total) else { return Ok((Vec::new(), total)) };
    let mut values = args![instance_id, reach.limit, reach.offset];
    let statement = if status.is_empty() {
        reach.pick([LIST, LIST_FROM_END])
    } else {
        values.push(status.into());
        reach.pick([OF_STATUS, OF_STATUS_FROM_END])
    };
    let rows = session.fetch_all(statement, values).await?;
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
