//! Repositories of a namespace.

use berth_types::{Millis, RepoName};

use crate::page::{Reach, page_keys};
use crate::tables::instance_usage;
use crate::tables::list_count::{self, List};
use crate::{Change, DbError, Engine, Page, Row, Session, Value, args, contains_pattern};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    pub repo_id: String,
    pub instance_id: String,
    pub namespace_id: String,
    pub namespace_name: String,
    pub name: String,
    /// `NORMAL` or `DELETING`.
    pub status: String,
    /// `PUBLIC` or `PRIVATE`.
    pub repo_type: String,
    pub tag_immutability: bool,
    pub summary: String,
    pub detail: String,
    /// `MANUAL` or `AUTO`, as ACR's RepoBuildType.
    pub build_type: String,
    /// Days that a manifest without a tag is kept; `None` keeps it for ever.
    pub untagged_days: Option<i64>,
    pub created_at: Millis,
    pub modified_at: Millis,
}

impl Repository {
    /// `namespace/name`.
    ///
    /// # Errors
    /// Corrupt when the stored names break the grammar.
    pub fn full_name(&self) -> Result<RepoName, DbError> {
        RepoName::new(&self.namespace_name, &self.name)
            .map_err(|error| DbError::corrupt("repository.name", error))
    }
}

/// Which repositories a list takes. Empty texts take all.
#[derive(Debug, Clone, Default)]
pub struct RepositoryFilter {
    pub instance_id: String,
    /// Exact.
    pub namespace_name: String,
    /// Part of the name.
    pub name_contains: String,
    /// Exact.
    pub status: String,
}

macro_rules! columns {
    () => {
        "repo_id, instance_id, namespace_id, namespace_name, name, status, repo_type, \
         tag_immutability, summary, detail, build_type, untagged_days, created_at, modified_at"
    };
}
macro_rules! page {
    ($condition:literal, $order:literal) => {
        concat!(
            page_keys!("namespace_name, name", "repository", $condition, $order),
            "SELECT r.* FROM page p CROSS JOIN repository r WHERE r.instance_id = $1 \
             AND r.namespace_name = p.namespace_name AND r.name = p.name \
             ORDER BY r.namespace_name, r.name"
        )
    };
}

const INSERT: &str = concat!(
    "INSERT INTO repository (",
    columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
);
const FIND: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM repository WHERE instance_id = $1 AND namespace_name = $2 AND name = $3"
);
const FIND_BY_ID: &str = concat!("SELECT ", columns!(), " FROM repository WHERE repo_id = $1");
const LOCK: &str =
    concat!("SELECT ", columns!(), " FROM repository WHERE repo_id = $1 FOR NO KEY UPDATE");
const LOCK_OUT: &str = "SELECT 1 AS one FROM repository WHERE repo_id = $1 FOR UPDATE";
// Forward, a page may also begin after a name ($4 and $5, or $5 alone); from the end it never does.
const LIST: &str =
    page!("instance_id = $1 AND (namespace_name, name) > ($4, $5)", "namespace_name, name");
const LIST_FROM_END: &str = page!("instance_id = $1", "namespace_name DESC, name DESC");
const OF_NAMESPACE: &str = page!("instance_id = $1 AND namespace_name = $4 AND name > $5", "name");
const OF_NAMESPACE_FROM_END: &str = page!("instance_id = $1 AND namespace_name = $4", "name DESC");
const OF_STATUS: &str = page!(
    "instance_id = $1 AND status = $6 AND (namespace_name, name) > ($4, $5)",
    "namespace_name, name"
);
const OF_STATUS_FROM_END: &str =
    page!("instance_id = $1 AND status = $4", "namespace_name DESC, name DESC");
const OF_NAMESPACE_AND_STATUS: &str =
    page!("instance_id = $1 AND namespace_name = $4 AND status = $6 AND name > $5", "name");
const OF_NAMESPACE_AND_STATUS_FROM_END: &str =
    page!("instance_id = $1 AND namespace_name = $4 AND status = $5", "name DESC");
// A part of a name is looked for in all of them, in the index.
const COUNT_CONTAINING: &str = "SELECT COUNT(*) AS total FROM repository \
    WHERE instance_id = $1 AND ($2 = '' OR namespace_name = $2) \
    AND name LIKE $3 ESCAPE '\\' AND ($4 = '' OR status = $4)";
const CONTAINING: &str = page!(
    "instance_id = $1 AND (namespace_name, name) > ($4, $5) AND ($6 = '' OR namespace_name = $6) \
     AND name LIKE $7 ESCAPE '\\' AND ($8 = '' OR status = $8)",
    "namespace_name, name"
);
const CATALOG: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM repository WHERE instance_id = $1 AND (namespace_name, name) > ($2, $3) \
     ORDER BY namespace_name, name LIMIT $4"
);
const COUNT_IN_NAMESPACE: &str = "SELECT COUNT(*) AS total FROM repository WHERE namespace_id = $1";
const UPDATE: &str = "UPDATE repository SET status = $2, repo_type = $3, tag_immutability = $4, \
    summary = $5, detail = $6, build_type = $7, untagged_days = $8, modified_at = $9 WHERE repo_id = $1";
const REVIEW_BLOBS: &str = "UPDATE blob SET review_after = \
    CASE WHEN review_after > $2 THEN review_after ELSE $2 END \
    WHERE digest IN (SELECT l.digest FROM repository_blob l WHERE l.repo_id = $1)";
const LOCK_BLOBS: &str = "SELECT 1 AS one FROM blob b \
    WHERE b.digest IN (SELECT l.digest FROM repository_blob l WHERE l.repo_id = $1) \
    ORDER BY b.digest FOR NO KEY UPDATE";
const DELETE: &str = "DELETE FROM repository WHERE repo_id = $1";

pub const STATEMENTS: &[&str] = &[
    INSERT,
    FIND,
    FIND_BY_ID,
    LIST,
    LIST_FROM_END,
    OF_NAMESPACE,
    OF_NAMESPACE_FROM_END,
    OF_STATUS,
    OF_STATUS_FROM_END,
    OF_NAMESPACE_AND_STATUS,
    OF_NAMESPACE_AND_STATUS_FROM_END,
    COUNT_CONTAINING,
    CONTAINING,
    CATALOG,
    COUNT_IN_NAMESPACE,
    UPDATE,
    REVIEW_BLOBS,
    DELETE,
];
/// Statements that only PostgreSQL knows.
pub const POSTGRES_STATEMENTS: &[&str] = &[LOCK, LOCK_OUT, LOCK_BLOBS];

fn read(row: &Row) -> Result<Repository, DbError> {
    Ok(Repository {
        repo_id: row.text("repo_id")?,
        instance_id: row.text("instance_id")?,
        namespace_id: row.text("namespace_id")?,
        namespace_name: row.text("namespace_name")?,
        name: row.text("name")?,
        status: row.text("status")?,
        repo_type: row.text("repo_type")?,
        tag_immutability: row.boolean("tag_immutability")?,
        summary: row.text("summary")?,
        detail: row.text("detail")?,
        build_type: row.text("build_type")?,
        untagged_days: row.opt_int("untagged_days")?,
        created_at: row.int("created_at")?,
        modified_at: row.int("modified_at")?,
    })
}

/// # Errors
/// A conflict when the namespace has a repository of this name, or is gone.
pub async fn insert(session: &mut Session, repository: &Repository) -> Result<(), DbError> {
    let args = args![
        &repository.repo_id,
        &repository.instance_id,
        &repository.namespace_id,
        &repository.namespace_name,
        &repository.name,
        &repository.status,
        &repository.repo_type,
        repository.tag_immutability,
        &repository.summary,
        &repository.detail,
        &repository.build_type,
        repository.untagged_days,
        repository.created_at,
        repository.modified_at,
    ];
    session.touch(Change::Repository(&repository.repo_id));
    session.execute(INSERT, args).await.map(drop)
}

pub async fn find(
    session: &mut Session,
    instance_id: &str,
    name: &RepoName,
) -> Result<Option<Repository>, DbError> {
    let args = args![instance_id, name.namespace(), name.name()];
    session.fetch_optional(FIND, args).await?.as_ref().map(read).transpose()
}

pub async fn find_by_id(
    session: &mut Session,
    repo_id: &str,
) -> Result<Option<Repository>, DbError> {
    session.fetch_optional(FIND_BY_ID, args![repo_id]).await?.as_ref().map(read).transpose()
}

/// Reads the row and holds it until the transaction ends, so that what is decided about the
/// repository's tags and manifests stays true until it is written. Every push of a manifest, delete
/// and collection takes it first; new links of blobs and uploads do not wait for it. (On SQLite the whole transaction is exclusive already.)
pub async fn lock(session: &mut Session, repo_id: &str) -> Result<Option<Repository>, DbError> {
    let statement = match session.engine() {
        Engine::Sqlite => FIND_BY_ID,
        Engine::Postgres => LOCK,
    };
    session.fetch_optional(statement, args![repo_id]).await?.as_ref().map(read).transpose()
}

/// A page by namespace and name, and the number of all that match.
pub async fn list(
    session: &mut Session,
    filter: &RepositoryFilter,
    page: Page,
) -> Result<(Vec<Repository>, i64), DbError> {
    let total = count(session, filter).await?;
    let reach = match page.reach(total) {
        Some(_) if !filter.name_contains.is_empty() => Some(page.forward()),
        reach => reach,
    };
    match reach {
        Some(reach) => Ok((read_page(session, filter, None, reach).await?, total)),
        None => Ok((Vec::new(), total)),
    }
}

/// At most `limit` of those that match after `after` (none: from the start), as fast wherever that
/// is, and the number of all that match.
pub async fn list_after(
    session: &mut Session,
    filter: &RepositoryFilter,
    after: Option<&RepoName>,
    limit: i64,
) -> Result<(Vec<Repository>, i64), DbError> {
    let total = count(session, filter).await?;
    let reach = Page::new(1, limit).forward();
    Ok((read_page(session, filter, after, reach).await?, total))
}

async fn count(session: &mut Session, filter: &RepositoryFilter) -> Result<i64, DbError> {
    let RepositoryFilter { instance_id, namespace_name, name_contains, status } = filter;
    if name_contains.is_empty() {
        let owner = format!("{instance_id} {namespace_name}");
        return list_count::total(session, List::Repository, &owner, status).await;
    }
    let name = contains_pattern(name_contains);
    let values = args![instance_id, namespace_name, name, status];
    session.fetch_one(COUNT_CONTAINING, values).await?.int("total")
}

async fn read_page(
    session: &mut Session,
    filter: &RepositoryFilter,
    after: Option<&RepoName>,
    reach: Reach,
) -> Result<Vec<Repository>, DbError> {
    let RepositoryFilter { instance_id, namespace_name, name_contains, status } = filter;
    let one_namespace = !namespace_name.is_empty();
    let (after_namespace, after_name) =
        after.map_or(("", ""), |after| (after.namespace(), after.name()));
    let mut values = args![instance_id, reach.limit, reach.offset];
    let statement = if !name_contains.is_empty() {
        let name = contains_pattern(name_contains);
        values.extend(args![after_namespace, after_name, namespace_name, name, status]);
        CONTAINING
    } else if reach.from_end {
        let filters = [namespace_name, status].into_iter().filter(|text| !text.is_empty());
        values.extend(filters.map(Value::from));
        match (one_namespace, status.is_empty()) {
            (false, true) => LIST_FROM_END,
            (true, true) => OF_NAMESPACE_FROM_END,
            (false, false) => OF_STATUS_FROM_END,
            (true, false) => OF_NAMESPACE_AND_STATUS_FROM_END,
        }
    } else {
        let first = if one_namespace { namespace_name.as_str() } else { after_namespace };
        values.extend(args![first, after_name]);
        if !status.is_empty() {
            values.push(status.into());
        }
        match (one_namespace, status.is_empty()) {
            (false, true) => LIST,
            (true, true) => OF_NAMESPACE,
            (false, false) => OF_STATUS,
            (true, false) => OF_NAMESPACE_AND_STATUS,
        }
    };
    session.fetch_all(statement, values).await?.iter().map(read).collect()
}

/// At most `limit` repositories after `after` (none: from the start), by namespace, then name.
pub async fn catalog(
    session: &mut Session,
    instance_id: &str,
    after: Option<&RepoName>,
    limit: i64,
) -> Result<Vec<Repository>, DbError> {
    let (namespace, name) = after.map_or(("", ""), |after| (after.namespace(), after.name()));
    let args = args![instance_id, namespace, name, limit];
    session.fetch_all(CATALOG, args).await?.iter().map(read).collect()
}

pub async fn count_in_namespace(session: &mut Session, namespace_id: &str) -> Result<i64, DbError> {
    session.fetch_one(COUNT_IN_NAMESPACE, args![namespace_id]).await?.int("total")
}

/// Writes everything that may change (not ids, names, birth); `false` when it is gone.
pub async fn update(session: &mut Session, repository: &Repository) -> Result<bool, DbError> {
    let args = args![
        &repository.repo_id,
        &repository.status,
        &repository.repo_type,
        repository.tag_immutability,
        &repository.summary,
        &repository.detail,
        &repository.build_type,
        repository.untagged_days,
        repository.modified_at,
    ];
    session.touch(Change::Repository(&repository.repo_id));
    Ok(session.execute(UPDATE, args).await? == 1)
}

/// Deletes the repository with its tags, manifests, blob links and uploads; `false` when there was
/// none. The partial objects of its uploads are left to the collector, which looks at its blobs
/// after `review_after`.
pub async fn delete(
    session: &mut Session,
    repo_id: &str,
    review_after: Millis,
) -> Result<bool, DbError> {
    if session.engine() == Engine::Postgres {
        // No link may come between the look at the blobs and the end of the repository; and two
        // that lock the same blobs do it in the same order.
        session.fetch_optional(LOCK_OUT, args![repo_id]).await?;
        session.execute(LOCK_BLOBS, args![repo_id]).await?;
    }
    session.touch(Change::Repository(repo_id));
    session.touch(Change::BlobReviews);
    session.execute(REVIEW_BLOBS, args![repo_id, review_after]).await?;
    instance_usage::record_gone(session, repo_id).await?;
    Ok(session.execute(DELETE, args![repo_id]).await? == 1)
}
