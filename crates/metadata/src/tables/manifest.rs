//! Manifests, as received, and what they name.
//!
//! `review_after` is the collector's queue ([`crate::tables::collection`]); the caller holds the
//! repository's lock wherever it changes.

use std::fmt;
use std::str::FromStr;

use berth_types::{Digest, Millis, Tag};

use crate::{Change, DbError, Row, Session, args};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub repo_id: String,
    pub digest: Digest,
    pub media_type: String,
    pub artifact_type: Option<String>,
    pub subject: Option<Digest>,
    pub config_digest: Option<Digest>,
    /// Exactly as received.
    pub content: Vec<u8>,
    /// Bytes of config and layers; of an index, of its children here.
    pub image_size: i64,
    pub layer_count: i64,
    pub created_at: Millis,
    /// When the collector looks at it again.
    pub review_after: Option<Millis>,
}

/// Something that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestReference {
    pub child: Digest,
    pub kind: ReferenceKind,
}

/// What is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceKind {
    Config,
    Layer,
    Manifest,
}

impl ReferenceKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "CONFIG",
            Self::Layer => "LAYER",
            Self::Manifest => "MANIFEST",
        }
    }
}

impl FromStr for ReferenceKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        match text {
            "CONFIG" => Ok(Self::Config),
            "LAYER" => Ok(Self::Layer),
            "MANIFEST" => Ok(Self::Manifest),
            _ => Err(UnknownKind(text.to_owned())),
        }
    }
}

/// A stored kind that this version does not know.
#[derive(Debug)]
pub struct UnknownKind(String);

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a kind of manifest reference", self.0)
    }
}

macro_rules! columns {
    () => {
        "m.repo_id, m.digest, m.media_type, m.artifact_type, m.subject, m.config_digest, \
         m.content, m.image_size, m.layer_count, m.created_at, m.review_after"
    };
}

const INSERT: &str = "INSERT INTO manifest (repo_id, digest, media_type, artifact_type, subject, \
    config_digest, content, image_size, layer_count, created_at, review_after) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (repo_id, digest) DO NOTHING";
const INSERT_REFERENCE: &str = "INSERT INTO manifest_reference (repo_id, digest, child, kind) \
    VALUES ($1, $2, $3, $4) ON CONFLICT (repo_id, digest, child, kind) DO NOTHING";
const FIND: &str =
    concat!("SELECT ", columns!(), " FROM manifest m WHERE m.repo_id = $1 AND m.digest = $2");
const FIND_BY_TAG: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM tag t JOIN manifest m ON m.repo_id = t.repo_id AND m.digest = t.digest \
     WHERE t.repo_id = $1 AND t.name = $2"
);
const EXISTS: &str = "SELECT 1 AS one FROM manifest WHERE repo_id = $1 AND digest = $2";
const ABSENT_CHILDREN: &str = "SELECT n.child FROM manifest_reference n \
    WHERE n.repo_id = $1 AND n.digest = $2 AND n.kind = 'MANIFEST' AND NOT EXISTS \
    (SELECT 1 FROM manifest m WHERE m.repo_id = n.repo_id AND m.digest = n.child)";
const REFERENCES: &str = "SELECT child, kind FROM manifest_reference \
    WHERE repo_id = $1 AND digest = $2 ORDER BY kind, child";
const PARENTS: &str = "SELECT DISTINCT digest FROM manifest_reference \
    WHERE repo_id = $1 AND child = $2 ORDER BY digest LIMIT $3";
const REVIEW: &str = "UPDATE manifest SET review_after = \
    CASE WHEN review_after > $3 THEN review_after ELSE $3 END WHERE repo_id = $1 AND digest = $2";
const LEASE: &str = "UPDATE manifest SET review_after = $3 \
    WHERE repo_id = $1 AND digest = $2 AND review_after < $3";
const REVIEW_CHILDREN: &str = "UPDATE manifest SET review_after = \
    CASE WHEN review_after > $3 THEN review_after ELSE $3 END WHERE repo_id = $1 AND digest IN \
    (SELECT n.child FROM manifest_reference n WHERE n.repo_id = $1 AND n.digest = $2)";
const REVIEW_REFERRERS: &str = "UPDATE manifest SET review_after = \
    CASE WHEN review_after > $3 THEN review_after ELSE $3 END WHERE repo_id = $1 AND subject = $2";
const REVIEW_LINKS: &str = "UPDATE repository_blob SET review_after = \
    CASE WHEN review_after > $3 THEN review_after ELSE $3 END WHERE repo_id = $1 AND digest IN \
    (SELECT n.child FROM manifest_reference n WHERE n.repo_id = $1 AND n.digest = $2)";
const REVIEW_ALL: &str = "UPDATE manifest SET review_after = $2 WHERE repo_id = $1";
const DELETE: &str = "DELETE FROM manifest WHERE repo_id = $1 AND digest = $2";
const COUNT: &str = "SELECT COUNT(*) AS total FROM manifest WHERE repo_id = $1";
const MEASURES: &str = "SELECT media_type, image_size, layer_count FROM manifest \
    WHERE repo_id = $1 AND digest = $2";
const SET_MEASURES: &str = "UPDATE manifest SET image_size = $3, layer_count = $4 \
    WHERE repo_id = $1 AND digest = $2";

pub const STATEMENTS: &[&str] = &[
    INSERT,
    INSERT_REFERENCE,
    FIND,
    FIND_BY_TAG,
    EXISTS,
    ABSENT_CHILDREN,
    REFERENCES,
    PARENTS,
    REVIEW,
    LEASE,
    REVIEW_CHILDREN,
    REVIEW_REFERRERS,
    REVIEW_LINKS,
    REVIEW_ALL,
    DELETE,
    COUNT,
    MEASURES,
    SET_MEASURES,
];

fn read(row: &Row) -> Result<Manifest, DbError> {
    Ok(Manifest {
        repo_id: row.text("repo_id")?,
        digest: row.parse("digest")?,
        media_type: row.text("media_type")?,
        artifact_type: row.opt_text("artifact_type")?,
        subject: row.opt_parse("subject")?,
        config_digest: row.opt_parse("config_digest")?,
        content: row.bytes("content")?,
        image_size: row.int("image_size")?,
        layer_count: row.int("layer_count")?,
        created_at: row.int("created_at")?,
        review_after: row.opt_int("review_after")?,
    })
}

/// Stores the manifest and what it names; `false` when the repository has it already, and then
/// only its review is put off: equal digests are equal bytes.
pub async fn insert(
    session: &mut Session,
    manifest: &Manifest,
    references: &[ManifestReference],
) -> Result<bool, DbError> {
    let args = args![
        &manifest.repo_id,
        &manifest.digest,
        &manifest.media_type,
        &manifest.artifact_type,
        &manifest.subject,
        &manifest.config_digest,
        &manifest.content,
        manifest.image_size,
        manifest.layer_count,
        manifest.created_at,
        manifest.review_after,
    ];
    session.touch(Change::Manifest(&manifest.repo_id, &manifest.digest));
    if session.execute(INSERT, args).await? == 0 {
        if let Some(review_after) = manifest.review_after {
            review(session, &manifest.repo_id, &manifest.digest, review_after).await?;
        }
        return Ok(false);
    }
    for reference in references {
        let kind = reference.kind.as_str();
        let args = args![&manifest.repo_id, &manifest.digest, &reference.child, kind];
        session.execute(INSERT_REFERENCE, args).await?;
    }
    Ok(true)
}

pub async fn find(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
) -> Result<Option<Manifest>, DbError> {
    session.fetch_optional(FIND, args![repo_id, digest]).await?.as_ref().map(read).transpose()
}

pub async fn find_by_tag(
    session: &mut Session,
    repo_id: &str,
    tag: &Tag,
) -> Result<Option<Manifest>, DbError> {
    let row = session.fetch_optional(FIND_BY_TAG, args![repo_id, tag]).await?;
    row.as_ref().map(read).transpose()
}

pub async fn exists(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
) -> Result<bool, DbError> {
    Ok(session.fetch_optional(EXISTS, args![repo_id, digest]).await?.is_some())
}

/// The children of an index that the repository does not have.
///
/// # Errors
/// [`DbError`] when the database fails.
pub async fn absent_children(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
) -> Result<Vec<Digest>, DbError> {
    let rows = session.fetch_all(ABSENT_CHILDREN, args![repo_id, digest]).await?;
    rows.iter().map(|row| row.parse("child")).collect()
}

/// What the manifest names.
pub async fn references(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
) -> Result<Vec<ManifestReference>, DbError> {
    let rows = session.fetch_all(REFERENCES, args![repo_id, digest]).await?;
    let read =
        |row: &Row| Ok(ManifestReference { child: row.parse("child")?, kind: row.parse("kind")? });
    rows.iter().map(read).collect()
}

/// At most `limit` digests of manifests in the repository that name `child`.
pub async fn parents(
    session: &mut Session,
    repo_id: &str,
    child: &Digest,
    limit: i64,
) -> Result<Vec<Digest>, DbError> {
    let rows = session.fetch_all(PARENTS, args![repo_id, child, limit]).await?;
    rows.iter().map(|row| row.parse("digest")).collect()
}

/// Has the collector look at the manifest after `review_after`, or later when it is to wait longer.
pub async fn review(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
    review_after: Millis,
) -> Result<(), DbError> {
    session.touch(Change::Manifest(repo_id, digest));
    session.execute(REVIEW, args![repo_id, digest, review_after]).await.map(drop)
}

/// Has the collector look at every manifest of the repository after `review_after`: what becomes
/// of those without a tag has changed.
pub async fn review_all(
    session: &mut Session,
    repo_id: &str,
    review_after: Millis,
) -> Result<(), DbError> {
    session.touch(Change::Contents(repo_id));
    session.execute(REVIEW_ALL, args![repo_id, review_after]).await.map(drop)
}

/// Puts off the review of a manifest that waits for one; `false` when it is gone, waits for none
/// or waits longer already.
pub async fn lease(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
    review_after: Millis,
) -> Result<bool, DbError> {
    session.touch(Change::Manifest(repo_id, digest));
    Ok(session.execute(LEASE, args![repo_id, digest, review_after]).await? == 1)
}

/// Deletes the manifest and its references, not the tags on it; `false` when there was none. The
/// collector looks at what it named and what refers to it after `review_after`.
pub async fn delete(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
    review_after: Millis,
) -> Result<bool, DbError> {
    session.touch(Change::Contents(repo_id));
    for statement in [REVIEW_CHILDREN, REVIEW_REFERRERS, REVIEW_LINKS] {
        session.execute(statement, args![repo_id, digest, review_after]).await?;
    }
    Ok(session.execute(DELETE, args![repo_id, digest]).await? == 1)
}

pub async fn count(session: &mut Session, repo_id: &str) -> Result<i64, DbError> {
    session.fetch_one(COUNT, args![repo_id]).await?.int("total")
}

/// What is known of a manifest without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measures {
    pub media_type: String,
    pub image_size: i64,
    pub layer_count: i64,
}

/// [`find`] without the bytes.
pub async fn find_measures(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
) -> Result<Option<Measures>, DbError> {
    let row = session.fetch_optional(MEASURES, args![repo_id, digest]).await?;
    row.map(|row| {
        Ok(Measures {
            media_type: row.text("media_type")?,
            image_size: row.int("image_size")?,
            layer_count: row.int("layer_count")?,
        })
    })
    .transpose()
}

/// Writes size and layer count anew: those of an index change when more of its children arrive.
pub async fn set_measures(session: &mut Session, manifest: &Manifest) -> Result<(), DbError> {
    let args =
        args![&manifest.repo_id, &manifest.digest, manifest.image_size, manifest.layer_count];
    session.touch(Change::Manifest(&manifest.repo_id, &manifest.digest));
    session.execute(SET_MEASURES, args).await.map(drop)
}
