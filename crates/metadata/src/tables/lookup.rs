//! What a client asks for by names, in one statement: the repository and what is wanted of it.

use berth_types::{Digest, Millis, RepoName, Tag};

use super::blob::{self, Blob};
use crate::{DbError, Row, Session, args};

/// A repository as far as a reader needs it, and what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    pub repo_id: String,
    /// `PUBLIC` or `PRIVATE`.
    pub repo_type: String,
    /// `None` when the repository has it not.
    pub content: Option<T>,
}

impl<T> Located<T> {
    /// The same with another form of what was found.
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Located<U> {
        let Self { repo_id, repo_type, content } = self;
        Located { repo_id, repo_type, content: content.map(form) }
    }
}

/// A manifest without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestHead {
    pub digest: Digest,
    pub media_type: String,
    pub review_after: Option<Millis>,
}

macro_rules! repository {
    ($columns:expr, $joins:expr) => {
        concat!(
            "SELECT r.repo_id, r.repo_type, ",
            $columns,
            " FROM repository r ",
            $joins,
            " WHERE r.instance_id = $1 AND r.namespace_name = $2 AND r.name = $3"
        )
    };
}

const BY_TAG: &str = repository!(
    "m.digest, m.media_type, m.review_after",
    "LEFT JOIN tag t ON t.repo_id = r.repo_id AND t.name = $4 \
     LEFT JOIN manifest m ON m.repo_id = t.repo_id AND m.digest = t.digest"
);
const BY_DIGEST: &str = repository!(
    "m.digest, m.media_type, m.review_after",
    "LEFT JOIN manifest m ON m.repo_id = r.repo_id AND m.digest = $4"
);
const BLOB: &str = repository!(
    "b.digest, b.storage_key, b.size, b.stamp, b.created_at, b.damaged_at, l.review_after",
    "LEFT JOIN repository_blob l ON l.repo_id = r.repo_id AND l.digest = $4 \
     LEFT JOIN blob b ON b.digest = l.digest AND b.damaged_at IS NULL"
);

pub const STATEMENTS: &[&str] = &[BY_TAG, BY_DIGEST, BLOB];

fn located<T>(
    row: &Row,
    content: impl FnOnce(&Row) -> Result<T, DbError>,
) -> Result<Located<T>, DbError> {
    let found = row.opt_text("digest")?.is_some();
    Ok(Located {
        repo_id: row.text("repo_id")?,
        repo_type: row.text("repo_type")?,
        content: found.then(|| content(row)).transpose()?,
    })
}

fn head(row: &Row) -> Result<ManifestHead, DbError> {
    Ok(ManifestHead {
        digest: row.parse("digest")?,
        media_type: row.text("media_type")?,
        review_after: row.opt_int("review_after")?,
    })
}

/// The manifest that a tag points to.
pub async fn manifest_by_tag(
    session: &mut Session,
    instance_id: &str,
    name: &RepoName,
    tag: &Tag,
) -> Result<Option<Located<ManifestHead>>, DbError> {
    let args = args![instance_id, name.namespace(), name.name(), tag];
    let row = session.fetch_optional(BY_TAG, args).await?;
    row.map(|row| located(&row, head)).transpose()
}

/// The manifest of a digest.
pub async fn manifest_by_digest(
    session: &mut Session,
    instance_id: &str,
    name: &RepoName,
    digest: &Digest,
) -> Result<Option<Located<ManifestHead>>, DbError> {
    let args = args![instance_id, name.namespace(), name.name(), digest];
    let row = session.fetch_optional(BY_DIGEST, args).await?;
    row.map(|row| located(&row, head)).transpose()
}

/// The blob of a digest, when the repository may serve it and it is not damaged.
pub async fn blob(
    session: &mut Session,
    instance_id: &str,
    name: &RepoName,
    digest: &Digest,
) -> Result<Option<Located<Blob>>, DbError> {
    let args = args![instance_id, name.namespace(), name.name(), digest];
    let row = session.fetch_optional(BLOB, args).await?;
    row.map(|row| located(&row, blob::read)).transpose()
}
