//! What the garbage collector asks: which rows wait for its review, and what still uses them.
//!
//! The queue is the column `review_after`: NULL where a use was found. Every statement that ends a
//! use sets it in the same transaction, and a review that finds a use clears it, so that nothing
//! unused is ever forgotten. The caller holds the lock of the repository whose manifests or links
//! it reviews; a row that somebody else is changing at the moment is left for the next time.

use berth_types::{Digest, Millis};

use crate::{Change, DbError, Engine, Row, Session, Value, args};

/// A blob, or the link of a repository to it, that waits for review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueBlob {
    pub digest: Digest,
    pub storage_key: String,
    /// Bytes.
    pub size: i64,
    pub review_after: Millis,
}

const MANIFEST_REPOSITORIES: &str = "SELECT DISTINCT repo_id FROM manifest \
    WHERE review_after <= $1 AND repo_id > $2 ORDER BY repo_id LIMIT $3";
const MANIFEST_REPOSITORIES_OF: &str = "SELECT r.repo_id FROM repository r \
    WHERE r.instance_id = $4 AND r.repo_id > $2 AND EXISTS (SELECT 1 FROM manifest m \
    WHERE m.repo_id = r.repo_id AND m.review_after <= $1) ORDER BY r.repo_id LIMIT $3";
const LINK_REPOSITORIES_OF: &str = "SELECT r.repo_id FROM repository r \
    WHERE r.instance_id = $4 AND r.repo_id > $2 AND EXISTS (SELECT 1 FROM repository_blob l \
    WHERE l.repo_id = r.repo_id AND l.review_after <= $1) ORDER BY r.repo_id LIMIT $3";
const LINK_REPOSITORIES: &str = "SELECT DISTINCT repo_id FROM repository_blob \
    WHERE review_after <= $1 AND repo_id > $2 ORDER BY repo_id LIMIT $3";

macro_rules! due_manifests {
    () => {
        "SELECT m.digest FROM manifest m WHERE m.repo_id = $1 AND m.review_after <= $2 \
         AND m.digest > $3 ORDER BY m.digest LIMIT $4"
    };
}
macro_rules! due_links {
    () => {
        "SELECT l.digest, b.storage_key, b.size, l.review_after FROM repository_blob l \
         JOIN blob b ON b.digest = l.digest WHERE l.repo_id = $1 AND l.review_after <= $2 \
         AND l.digest > $3 ORDER BY l.digest LIMIT $4"
    };
}
macro_rules! due_blob {
    () => {
        "SELECT b.digest, b.storage_key, b.size, b.review_after FROM blob b \
         WHERE b.digest = $1 AND b.review_after <= $2"
    };
}
macro_rules! due_blobs {
    () => {
        "SELECT b.digest, b.storage_key, b.size, b.review_after FROM blob b \
         WHERE b.review_after <= $1 AND (b.review_after, b.digest) > ($2, $3) \
         ORDER BY b.review_after, b.digest LIMIT $4"
    };
}

const DUE_MANIFESTS: &str = due_manifests!();
const DUE_MANIFESTS_LOCKED: &str = concat!(due_manifests!(), " FOR UPDATE SKIP LOCKED");
const DUE_LINKS: &str = due_links!();
const DUE_LINKS_LOCKED: &str = concat!(due_links!(), " FOR UPDATE OF l SKIP LOCKED");
const DUE_BLOB: &str = due_blob!();
const DUE_BLOB_LOCKED: &str = concat!(due_blob!(), " FOR UPDATE SKIP LOCKED");
const DUE_BLOBS: &str = due_blobs!();
const DUE_BLOBS_LOCKED: &str = concat!(due_blobs!(), " FOR UPDATE SKIP LOCKED");

const IS_DUE: &str = "SELECT 1 AS one FROM manifest m \
    WHERE m.repo_id = $1 AND m.digest = $2 AND m.review_after <= $3";
const TAGGED: &str = "SELECT 1 AS one FROM tag WHERE repo_id = $1 AND digest = $2 LIMIT 1";
const INDEXES: &str = "SELECT n.digest FROM manifest_reference n \
    WHERE n.repo_id = $1 AND n.child = $2 AND n.kind = 'MANIFEST'";
const SUBJECT: &str = "SELECT s.digest FROM manifest m \
    JOIN manifest s ON s.repo_id = m.repo_id AND s.digest = m.subject \
    WHERE m.repo_id = $1 AND m.digest = $2";
const REFERRERS: &str = "SELECT m.digest FROM manifest m WHERE m.repo_id = $1 AND m.subject = $2";
const NAMED: &str = "SELECT 1 AS one FROM manifest_reference \
    WHERE repo_id = $1 AND child = $2 LIMIT 1";
const NAMING: &str = "SELECT DISTINCT n.digest FROM manifest_reference n \
    WHERE n.repo_id = $1 AND n.child = $2";
const NAMES: &str = "SELECT DISTINCT n.child FROM manifest_reference n \
    WHERE n.repo_id = $1 AND n.digest = $2";
const LINKED: &str = "SELECT 1 AS one FROM repository_blob WHERE digest = $1 LIMIT 1";
const LINKS: &str = "SELECT l.repo_id FROM repository_blob l WHERE l.digest = $1";
const LAYER_USED_AT: &str = "SELECT MAX(used_at) AS used_at FROM converted_layer WHERE digest = $1";
const FORGET_LAYERS: &str = "DELETE FROM converted_layer WHERE digest = $1 AND used_at <= $2";

const KEEP_MANIFEST: &str =
    "UPDATE manifest SET review_after = NULL WHERE repo_id = $1 AND digest = $2";
const KEEP_LINK: &str =
    "UPDATE repository_blob SET review_after = NULL WHERE repo_id = $1 AND digest = $2";
const KEEP_BLOB: &str = "UPDATE blob SET review_after = $2 WHERE digest = $1";

const STALE_UPLOADS: &str = "SELECT COUNT(*) AS total FROM upload WHERE updated_at < $1";

/// $1 is a JSON array of texts.
const USED_KEYS_SQLITE: &str = "SELECT b.storage_key FROM json_each($1) k \
    JOIN blob b ON b.storage_key = k.value";
const USED_KEYS_POSTGRES: &str = "SELECT b.storage_key \
    FROM json_array_elements_text(CAST(CAST($1 AS TEXT) AS JSON)) k (value) \
    JOIN blob b ON b.storage_key = k.value";

pub const STATEMENTS: &[&str] = &[
    MANIFEST_REPOSITORIES,
    LINK_REPOSITORIES,
    MANIFEST_REPOSITORIES_OF,
    LINK_REPOSITORIES_OF,
    DUE_MANIFESTS,
    DUE_LINKS,
    DUE_BLOB,
    DUE_BLOBS,
    IS_DUE,
    TAGGED,
    INDEXES,
    SUBJECT,
    REFERRERS,
    NAMED,
    NAMING,
    NAMES,
    LINKED,
    LINKS,
    LAYER_USED_AT,
    FORGET_LAYERS,
    KEEP_MANIFEST,
    KEEP_LINK,
    KEEP_BLOB,
    STALE_UPLOADS,
];
/// Statements that only SQLite knows.
pub const SQLITE_STATEMENTS: &[&str] = &[USED_KEYS_SQLITE];
/// Statements that only PostgreSQL knows.
pub const POSTGRES_STATEMENTS: &[&str] = &[
    DUE_MANIFESTS_LOCKED,
    DUE_LINKS_LOCKED,
    DUE_BLOB_LOCKED,
    DUE_BLOBS_LOCKED,
    USED_KEYS_POSTGRES,
];

/// Whether the rows of an answer are kept from others until the transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// For a look only.
    No,
    /// For a decision. (On SQLite the whole transaction is exclusive already.)
    Yes,
}

fn choose(
    session: &Session,
    hold: Hold,
    plain: &'static str,
    locked: &'static str,
) -> &'static str {
    match (session.engine(), hold) {
        (Engine::Postgres, Hold::Yes) => locked,
        _ => plain,
    }
}

fn digests(rows: &[Row], column: &str) -> Result<Vec<Digest>, DbError> {
    rows.iter().map(|row| row.parse(column)).collect()
}

fn repositories(rows: &[Row]) -> Result<Vec<String>, DbError> {
    rows.iter().map(|row| row.text("repo_id")).collect()
}

fn due(rows: &[Row]) -> Result<Vec<DueBlob>, DbError> {
    let read = |row: &Row| {
        Ok(DueBlob {
            digest: row.parse("digest")?,
            storage_key: row.text("storage_key")?,
            size: row.int("size")?,
            review_after: row.int("review_after")?,
        })
    };
    rows.iter().map(read).collect()
}

/// Repositories, of one instance or of all, with manifests to review, by id, after `after`.
pub async fn manifest_repositories(
    session: &mut Session,
    instance_id: Option<&str>,
    until: Millis,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, DbError> {
    let statements = [MANIFEST_REPOSITORIES, MANIFEST_REPOSITORIES_OF];
    repositories_with(session, statements, instance_id, args![until, after, limit]).await
}

async fn repositories_with(
    session: &mut Session,
    [of_all, of_one]: [&'static str; 2],
    instance_id: Option<&str>,
    mut values: Vec<Value>,
) -> Result<Vec<String>, DbError> {
    let statement = match instance_id {
        Some(instance_id) => {
            values.push(instance_id.into());
            of_one
        }
        None => of_all,
    };
    repositories(&session.fetch_all(statement, values).await?)
}

/// Repositories, of one instance or of all, with links to review, by id, after `after`.
pub async fn link_repositories(
    session: &mut Session,
    instance_id: Option<&str>,
    until: Millis,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, DbError> {
    let statements = [LINK_REPOSITORIES, LINK_REPOSITORIES_OF];
    repositories_with(session, statements, instance_id, args![until, after, limit]).await
}

/// Manifests of a repository whose review is due, by digest, after `after`.
pub async fn due_manifests(
    session: &mut Session,
    repo_id: &str,
    until: Millis,
    after: &str,
    limit: i64,
    hold: Hold,
) -> Result<Vec<Digest>, DbError> {
    let statement = choose(session, hold, DUE_MANIFESTS, DUE_MANIFESTS_LOCKED);
    let rows = session.fetch_all(statement, args![repo_id, until, after, limit]).await?;
    digests(&rows, "digest")
}

/// Links of a repository whose review is due, by digest, after `after`.
pub async fn due_links(
    session: &mut Session,
    repo_id: &str,
    until: Millis,
    after: &str,
    limit: i64,
    hold: Hold,
) -> Result<Vec<DueBlob>, DbError> {
    let statement = choose(session, hold, DUE_LINKS, DUE_LINKS_LOCKED);
    due(&session.fetch_all(statement, args![repo_id, until, after, limit]).await?)
}

/// Blobs whose review is due, the longest due first, after `after`.
pub async fn due_blobs(
    session: &mut Session,
    until: Millis,
    after: Option<&DueBlob>,
    limit: i64,
    hold: Hold,
) -> Result<Vec<DueBlob>, DbError> {
    let statement = choose(session, hold, DUE_BLOBS, DUE_BLOBS_LOCKED);
    let (time, digest) =
        after.map_or((Millis::MIN, ""), |after| (after.review_after, after.digest.as_str()));
    due(&session.fetch_all(statement, args![until, time, digest, limit]).await?)
}

/// The blob, held for a decision, if its review is due.
pub async fn due_blob(
    session: &mut Session,
    digest: &Digest,
    until: Millis,
) -> Result<Option<DueBlob>, DbError> {
    let statement = choose(session, Hold::Yes, DUE_BLOB, DUE_BLOB_LOCKED);
    let row = session.fetch_optional(statement, args![digest, until]).await?;
    Ok(due(&row.into_iter().collect::<Vec<_>>())?.pop())
}

/// Whether the manifest's review is still due.
pub async fn is_due(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
    until: Millis,
) -> Result<bool, DbError> {
    Ok(session.fetch_optional(IS_DUE, args![repo_id, digest, until]).await?.is_some())
}

pub async fn is_tagged(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
) -> Result<bool, DbError> {
    Ok(session.fetch_optional(TAGGED, args![repo_id, digest]).await?.is_some())
}

/// The manifests that keep a manifest without a tag: indexes that name it, and its subject when
/// that is here.
pub async fn keepers(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
) -> Result<Vec<Digest>, DbError> {
    let mut keepers = Vec::new();
    for statement in [INDEXES, SUBJECT] {
        let rows = session.fetch_all(statement, args![repo_id, digest]).await?;
        keepers.extend(digests(&rows, "digest")?);
    }
    Ok(keepers)
}

/// What loses a keeper when the manifest goes: everything that it names, and its referrers.
pub async fn kept_by(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
) -> Result<Vec<Digest>, DbError> {
    let named = session.fetch_all(NAMES, args![repo_id, digest]).await?;
    let mut kept = digests(&named, "child")?;
    let referrers = session.fetch_all(REFERRERS, args![repo_id, digest]).await?;
    kept.extend(digests(&referrers, "digest")?);
    Ok(kept)
}

/// Whether a manifest of the repository names the blob.
pub async fn is_named(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
) -> Result<bool, DbError> {
    Ok(session.fetch_optional(NAMED, args![repo_id, digest]).await?.is_some())
}

/// The manifests of the repository that name the blob.
pub async fn naming(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
) -> Result<Vec<Digest>, DbError> {
    digests(&session.fetch_all(NAMING, args![repo_id, digest]).await?, "digest")
}

/// Whether any repository links the blob.
pub async fn is_linked_anywhere(session: &mut Session, digest: &Digest) -> Result<bool, DbError> {
    Ok(session.fetch_optional(LINKED, args![digest]).await?.is_some())
}

/// The repositories that link the blob.
pub async fn links(session: &mut Session, digest: &Digest) -> Result<Vec<String>, DbError> {
    repositories(&session.fetch_all(LINKS, args![digest]).await?)
}

/// When a build last took the blob as a layer that was converted before.
pub async fn layer_used_at(
    session: &mut Session,
    digest: &Digest,
) -> Result<Option<Millis>, DbError> {
    session.fetch_one(LAYER_USED_AT, args![digest]).await?.opt_int("used_at")
}

/// Forgets that the blob is a converted layer, unless a build took it after `used_before`.
pub async fn forget_layers(
    session: &mut Session,
    digest: &Digest,
    used_before: Millis,
) -> Result<u64, DbError> {
    session.execute(FORGET_LAYERS, args![digest, used_before]).await
}

/// The manifest is in use.
pub async fn keep_manifest(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
) -> Result<(), DbError> {
    session.touch(Change::Manifest(repo_id, digest));
    session.execute(KEEP_MANIFEST, args![repo_id, digest]).await.map(drop)
}

/// The link is in use.
pub async fn keep_link(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
) -> Result<(), DbError> {
    session.touch(Change::Link(repo_id, digest));
    session.execute(KEEP_LINK, args![repo_id, digest]).await.map(drop)
}

/// The blob is in use, or will be looked at again after `review_after`.
pub async fn keep_blob(
    session: &mut Session,
    digest: &Digest,
    review_after: Option<Millis>,
) -> Result<(), DbError> {
    session.touch(Change::BlobReviews);
    session.execute(KEEP_BLOB, args![digest, review_after]).await.map(drop)
}

/// Uploads that nobody continued since `before`.
pub async fn count_stale_uploads(session: &mut Session, before: Millis) -> Result<i64, DbError> {
    session.fetch_one(STALE_UPLOADS, args![before]).await?.int("total")
}

/// Which of the keys, in one query, are those of blobs' objects.
pub async fn used_keys(session: &mut Session, keys: &[String]) -> Result<Vec<String>, DbError> {
    let statement = match session.engine() {
        Engine::Sqlite => USED_KEYS_SQLITE,
        Engine::Postgres => USED_KEYS_POSTGRES,
    };
    // Keys are hexadecimal digits: nothing is to be escaped.
    let list = format!("[\"{}\"]", keys.join("\",\""));
    let rows = session.fetch_all(statement, args![list]).await?;
    rows.iter().map(|row| row.text("storage_key")).collect()
}
