//! Manifests that refer to another: those that one answer to "who refers to it?" has room for.

use berth_types::Digest;

use crate::{DbError, Row, Session, args};

/// A manifest that refers to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    pub digest: Digest,
    pub media_type: String,
    pub artifact_type: Option<String>,
    /// Exactly as received.
    pub content: Vec<u8>,
}

/// Which referrers are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Referring<'a> {
    pub repo_id: &'a str,
    pub subject: &'a Digest,
    /// Only those of this type.
    pub artifact_type: Option<&'a str>,
    /// Only those whose digests come after it.
    pub after: Option<&'a Digest>,
}

const SIZES: &str = "SELECT digest, CAST(LENGTH(content) AS BIGINT) AS bytes FROM manifest \
    WHERE repo_id = $1 AND subject = $2 AND digest > $3 AND ($4 = '' OR artifact_type = $4) \
    ORDER BY digest LIMIT $5";
const UNTIL: &str = "SELECT digest, media_type, artifact_type, content FROM manifest \
    WHERE repo_id = $1 AND subject = $2 AND digest > $3 AND ($4 = '' OR artifact_type = $4) \
    AND digest <= $5 ORDER BY digest";

pub const STATEMENTS: &[&str] = &[SIZES, UNTIL];

/// Digests and sizes in bytes of at most `limit` referrers, by digest.
pub async fn sizes(
    session: &mut Session,
    referring: Referring<'_>,
    limit: i64,
) -> Result<Vec<(Digest, i64)>, DbError> {
    let Referring { repo_id, subject, artifact_type, after } = referring;
    let (kind, after) = (artifact_type.unwrap_or(""), after.map_or("", Digest::as_str));
    let rows = session.fetch_all(SIZES, args![repo_id, subject, after, kind, limit]).await?;
    rows.iter().map(|row: &Row| Ok((row.parse("digest")?, row.int("bytes")?))).collect()
}

/// The referrers up to the digest `last`, by digest.
pub async fn until(
    session: &mut Session,
    referring: Referring<'_>,
    last: &Digest,
) -> Result<Vec<Referrer>, DbError> {
    let Referring { repo_id, subject, artifact_type, after } = referring;
    let (kind, after) = (artifact_type.unwrap_or(""), after.map_or("", Digest::as_str));
    let rows = session.fetch_all(UNTIL, args![repo_id, subject, after, kind, last]).await?;
    let read = |row: &Row| {
        Ok(Referrer {
            digest: row.parse("digest")?,
            media_type: row.text("media_type")?,
            artifact_type: row.opt_text("artifact_type")?,
            content: row.bytes("content")?,
        })
    };
    rows.iter().map(read).collect()
}
