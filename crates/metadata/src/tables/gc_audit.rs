//! Whether the collector's queue is whole: what should be in it and is not.

use berth_types::Digest;

use crate::{DbError, Row, Session, args};

/// A blob that a manifest names and its repository has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub repo_id: String,
    pub manifest: Digest,
    pub blob: Digest,
}

const FORGOTTEN: &str = "SELECT 'blob ' || b.digest AS what FROM blob b \
    WHERE b.review_after IS NULL \
    AND NOT EXISTS (SELECT 1 FROM repository_blob l WHERE l.digest = b.digest) \
    UNION ALL SELECT 'blob ' || l.digest || ' of ' || l.repo_id FROM repository_blob l \
    WHERE l.review_after IS NULL AND NOT EXISTS (SELECT 1 FROM manifest_reference n \
    WHERE n.repo_id = l.repo_id AND n.child = l.digest) \
    UNION ALL SELECT 'manifest ' || m.digest || ' of ' || m.repo_id FROM manifest m \
    JOIN repository r ON r.repo_id = m.repo_id \
    WHERE m.review_after IS NULL AND r.untagged_days IS NOT NULL \
    AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.repo_id = m.repo_id AND t.digest = m.digest) \
    AND NOT EXISTS (SELECT 1 FROM manifest_reference n \
    WHERE n.repo_id = m.repo_id AND n.child = m.digest AND n.kind = 'MANIFEST') \
    AND NOT EXISTS (SELECT 1 FROM manifest s \
    WHERE s.repo_id = m.repo_id AND s.digest = m.subject) LIMIT $1";
const MISSING_BLOBS: &str = "SELECT DISTINCT n.repo_id, n.digest, n.child \
    FROM manifest_reference n WHERE n.kind <> 'MANIFEST' \
    AND (n.repo_id, n.digest, n.child) > ($1, $2, $3) AND NOT EXISTS \
    (SELECT 1 FROM repository_blob l WHERE l.repo_id = n.repo_id AND l.digest = n.child) \
    ORDER BY n.repo_id, n.digest, n.child LIMIT $4";
const STORAGE_KEYS: &str =
    "SELECT storage_key FROM blob WHERE storage_key > $1 ORDER BY storage_key LIMIT $2";

pub const STATEMENTS: &[&str] = &[FORGOTTEN, MISSING_BLOBS, STORAGE_KEYS];

/// Blobs, links and manifests that nothing uses and that wait for no review: there are none unless
/// something went wrong.
pub async fn forgotten(session: &mut Session, limit: i64) -> Result<Vec<String>, DbError> {
    let rows = session.fetch_all(FORGOTTEN, args![limit]).await?;
    rows.iter().map(|row| row.text("what")).collect()
}

/// Blobs that manifests name and their repositories have not, in order, after `after`. Layers that
/// may be elsewhere are among them.
pub async fn missing_blobs(
    session: &mut Session,
    after: Option<&Missing>,
    limit: i64,
) -> Result<Vec<Missing>, DbError> {
    let (repo_id, manifest, blob) = after.map_or(("", "", ""), |after| {
        (after.repo_id.as_str(), after.manifest.as_str(), after.blob.as_str())
    });
    let rows = session.fetch_all(MISSING_BLOBS, args![repo_id, manifest, blob, limit]).await?;
    let read = |row: &Row| {
        Ok(Missing {
            repo_id: row.text("repo_id")?,
            manifest: row.parse("digest")?,
            blob: row.parse("child")?,
        })
    };
    rows.iter().map(read).collect()
}

/// Keys under which blobs lie, in order, after `after`.
pub async fn storage_keys(
    session: &mut Session,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, DbError> {
    let rows = session.fetch_all(STORAGE_KEYS, args![after, limit]).await?;
    rows.iter().map(|row| row.text("storage_key")).collect()
}
