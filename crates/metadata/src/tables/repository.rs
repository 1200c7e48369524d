//! Repositories of a namespace.

use berth_types::{Millis, RepoName};

use crate::tables::instance_usage;
use crate::{Change, DbError, Engine, Page, Row, Session, args, contains_pattern};

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
macro_rules! filter {
    () => {
        " FROM repository WHERE instance_id = $1 AND ($2 = '' OR namespace_name = $2) \
         AND ($3 = '' OR name LIKE $3 ESCAPE '\\') AND ($4 = '' OR status = $4)"
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
const COUNT: &str = concat!("SELECT COUNT(*) AS total", filter!());
const LIST: &str =
    concat!("SELECT ", columns!(), filter!(), " ORDER BY namespace_name, name LIMIT $5 OFFSET $6");
const CATALOG: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM repository WHERE instance_id = $1 \
     AND (namespace_name > $2 OR (namespace_name = $2 AND name > $3)) \
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
    COUNT,
    LIST,
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
    let name = contains_pattern(&filter.name_contains);
    let args = args![&filter.instance_id, &filter.namespace_name, &name, &filter.status];
    let total = session.fetch_one(COUNT, args).await?.int("total")?;
    let args = args![
        &filter.instance_id,
        &filter.namespace_name,
        name,
        &filter.status,
        page.limit(),
        page.offset(),
    ];
    let rows = session.fetch_all(LIST, args).await?;
    Ok((rows.iter().map(read).collect::<Result<_, _>>()?, total))
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
