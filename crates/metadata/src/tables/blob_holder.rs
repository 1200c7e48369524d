//! Who holds a blob: the repositories of an instance that may serve it.

use berth_types::{Digest, RepoName};

use crate::{DbError, Row, Session, args};

/// A repository that holds a blob, with what decides on who may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobHolder {
    pub repo_id: String,
    pub name: RepoName,
    pub repo_type: String,
}

const LIST: &str = "SELECT r.repo_id, r.namespace_name, r.name, r.repo_type \
    FROM repository_blob l JOIN repository r ON r.repo_id = l.repo_id \
    WHERE l.digest = $1 AND r.instance_id = $2 AND l.repo_id > $3 ORDER BY l.repo_id LIMIT $4";

pub const STATEMENTS: &[&str] = &[LIST];

/// At most `limit` holders by id, after the id `after`.
pub async fn list(
    session: &mut Session,
    instance_id: &str,
    digest: &Digest,
    after: &str,
    limit: i64,
) -> Result<Vec<BlobHolder>, DbError> {
    let rows = session.fetch_all(LIST, args![digest, instance_id, after, limit]).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<BlobHolder, DbError> {
    let (namespace, name) = (row.text("namespace_name")?, row.text("name")?);
    let name = RepoName::new(&namespace, &name).map_err(|error| DbError::corrupt("name", error))?;
    Ok(BlobHolder { repo_id: row.text("repo_id")?, name, repo_type: row.text("repo_type")? })
}
