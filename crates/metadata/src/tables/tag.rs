//! Tags of a repository.

use berth_types::{Digest, Millis, Tag};

use super::list_count::{self, List};
use crate::page::page_keys;
use crate::{Change, DbError, Page, Row, Session, args};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagRow {
    pub repo_id: String,
    pub name: Tag,
    pub digest: Digest,
    /// The tag that this one was derived from by a build.
    pub derived_from: Option<String>,
    pub created_at: Millis,
    pub updated_at: Millis,
}

/// A tag with what a list shows of its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagDetail {
    pub tag: TagRow,
    pub media_type: String,
    pub config_digest: Option<Digest>,
    /// Bytes.
    pub image_size: i64,
    pub layer_count: i64,
}

macro_rules! columns {
    () => {
        "t.repo_id, t.name, t.digest, t.derived_from, t.created_at, t.updated_at"
    };
}
macro_rules! detail {
    ($($rest:tt)*) => {
        concat!(
            "SELECT ",
            columns!(),
            ", m.media_type, m.config_digest, m.image_size, m.layer_count FROM ",
            $($rest)*
        )
    };
}
/// The keys of a page, and the rows to them.
macro_rules! page {
    ($keys:expr) => {
        concat!(
            $keys,
            detail!(
                "page p CROSS JOIN tag t CROSS JOIN manifest m \
                 WHERE t.repo_id = $1 AND t.name = p.name \
                 AND m.repo_id = t.repo_id AND m.digest = t.digest \
                 ORDER BY t.updated_at DESC, t.name"
            )
        )
    };
}

const UPSERT: &str = "INSERT INTO tag (repo_id, name, digest, derived_from, created_at, updated_at) \
    VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (repo_id, name) DO UPDATE SET \
    digest = excluded.digest, derived_from = excluded.derived_from, \
    updated_at = excluded.updated_at";
/// $4 is where the tag points afterwards, empty for nowhere.
const REVIEW_OLD: &str = "UPDATE manifest SET review_after = \
    CASE WHEN review_after > $3 THEN review_after ELSE $3 END WHERE repo_id = $1 AND digest = \
    (SELECT t.digest FROM tag t WHERE t.repo_id = $1 AND t.name = $2) AND digest <> $4";
const FIND: &str =
    concat!("SELECT ", columns!(), " FROM tag t WHERE t.repo_id = $1 AND t.name = $2");
const DETAIL: &str = detail!(
    "tag t JOIN manifest m ON m.repo_id = t.repo_id AND m.digest = t.digest \
     WHERE t.repo_id = $1 AND t.name = $2"
);
const LIST: &str = "SELECT name FROM tag WHERE repo_id = $1 AND name > $2 ORDER BY name LIMIT $3";
const PAGE: &str = page!(page_keys!("name", "tag", "repo_id = $1", "updated_at DESC, name"));
const PAGE_FROM_END: &str =
    page!(page_keys!("name", "tag", "repo_id = $1", "updated_at, name DESC"));
// $3 is 0 here: what comes after a row is two ranges of the index.
const OF_TIME: &str =
    page!(page_keys!("name", "tag", "repo_id = $1 AND updated_at = $4 AND name > $5", "name"));
const BEFORE: &str =
    page!(page_keys!("name", "tag", "repo_id = $1 AND updated_at < $4", "updated_at DESC, name"));
const BY_DIGEST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM tag t WHERE t.repo_id = $1 AND t.digest = $2 ORDER BY t.name"
);
const DELETE: &str = "DELETE FROM tag WHERE repo_id = $1 AND name = $2";
const DELETE_BY_DIGEST: &str = "DELETE FROM tag WHERE repo_id = $1 AND digest = $2";

pub const STATEMENTS: &[&str] = &[
    UPSERT,
    REVIEW_OLD,
    FIND,
    DETAIL,
    LIST,
    PAGE,
    PAGE_FROM_END,
    OF_TIME,
    BEFORE,
    BY_DIGEST,
    DELETE,
    DELETE_BY_DIGEST,
];

fn read(row: &Row) -> Result<TagRow, DbError> {
    Ok(TagRow {
        repo_id: row.text("repo_id")?,
        name: row.parse("name")?,
        digest: row.parse("digest")?,
        derived_from: row.opt_text("derived_from")?,
        created_at: row.int("created_at")?,
        updated_at: row.int("updated_at")?,
    })
}

fn read_detail(row: &Row) -> Result<TagDetail, DbError> {
    Ok(TagDetail {
        tag: read(row)?,
        media_type: row.text("media_type")?,
        config_digest: row.opt_parse("config_digest")?,
        image_size: row.int("image_size")?,
        layer_count: row.int("layer_count")?,
    })
}

/// Makes the tag or moves it; the time of its birth stays. The collector looks at the manifest that
/// had it after `review_after`. The caller holds the repository's lock.
pub async fn upsert(
    session: &mut Session,
    repo_id: &str,
    name: &Tag,
    digest: &Digest,
    derived_from: Option<&str>,
    now: Millis,
    review_after: Millis,
) -> Result<(), DbError> {
    session.touch(Change::Tag(repo_id, name));
    review_old(session, repo_id, name, Some(digest), review_after).await?;
    session.execute(UPSERT, args![repo_id, name, digest, derived_from, now]).await.map(drop)
}

pub async fn find(
    session: &mut Session,
    repo_id: &str,
    name: &Tag,
) -> Result<Option<TagRow>, DbError> {
    session.fetch_optional(FIND, args![repo_id, name]).await?.as_ref().map(read).transpose()
}

pub async fn find_detail(
    session: &mut Session,
    repo_id: &str,
    name: &Tag,
) -> Result<Option<TagDetail>, DbError> {
    let row = session.fetch_optional(DETAIL, args![repo_id, name]).await?;
    row.as_ref().map(read_detail).transpose()
}

/// At most `limit` names after `after`, in byte order (OCI distribution-spec, "Listing Tags").
pub async fn list(
    session: &mut Session,
    repo_id: &str,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Tag>, DbError> {
    let rows = session.fetch_all(LIST, args![repo_id, after.unwrap_or(""), limit]).await?;
    rows.iter().map(|row| row.parse("name")).collect()
}

/// A page, last moved first, and the number of all tags.
pub async fn page(
    session: &mut Session,
    repo_id: &str,
    page: Page,
) -> Result<(Vec<TagDetail>, i64), DbError> {
    let total = count(session, repo_id).await?;
    let Some(reach) = page.reach(total) else { return Ok((Vec::new(), total)) };
    let values = args![repo_id, reach.limit, reach.offset];
    let rows = session.fetch_all(reach.pick([PAGE, PAGE_FROM_END]), values).await?;
    Ok((rows.iter().map(read_detail).collect::<Result<_, _>>()?, total))
}

/// At most `limit` tags, last moved first, after the one that was moved last at `moved` and has the
/// name: as fast wherever that is. Empty and [`Millis::MAX`] begin with the first.
pub async fn page_after(
    session: &mut Session,
    repo_id: &str,
    (moved, name): (Millis, &str),
    limit: i64,
) -> Result<Vec<TagDetail>, DbError> {
    let start: i64 = 0;
    let values = args![repo_id, limit, start, moved, name];
    let mut rows = session.fetch_all(OF_TIME, values).await?;
    let rest = limit.saturating_sub(i64::try_from(rows.len()).unwrap_or(i64::MAX));
    if rest > 0 {
        rows.extend(session.fetch_all(BEFORE, args![repo_id, rest, start, moved]).await?);
    }
    rows.iter().map(read_detail).collect()
}

/// The tags on a manifest, by name.
pub async fn by_digest(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
) -> Result<Vec<TagRow>, DbError> {
    session.fetch_all(BY_DIGEST, args![repo_id, digest]).await?.iter().map(read).collect()
}

pub async fn count(session: &mut Session, repo_id: &str) -> Result<i64, DbError> {
    list_count::total(session, List::Tag, repo_id, "").await
}

/// `false` when there was none. The collector looks at its manifest after `review_after`. The caller
/// holds the repository's lock.
pub async fn delete(
    session: &mut Session,
    repo_id: &str,
    name: &Tag,
    review_after: Millis,
) -> Result<bool, DbError> {
    session.touch(Change::Tag(repo_id, name));
    review_old(session, repo_id, name, None, review_after).await?;
    Ok(session.execute(DELETE, args![repo_id, name]).await? == 1)
}

/// Has the collector look at the manifest that the tag leaves for another, or for none.
async fn review_old(
    session: &mut Session,
    repo_id: &str,
    name: &Tag,
    target: Option<&Digest>,
    review_after: Millis,
) -> Result<(), DbError> {
    let args = args![repo_id, name, review_after, target.map_or("", Digest::as_str)];
    if session.execute(REVIEW_OLD, args).await? > 0 {
        session.touch(Change::Contents(repo_id));
    } else {
        session.touch(Change::ManifestReviews);
    }
    Ok(())
}

/// Deletes the tags on a manifest that is deleted with them, and tells how many there were.
pub async fn delete_by_digest(
    session: &mut Session,
    repo_id: &str,
    digest: &Digest,
) -> Result<u64, DbError> {
    session.touch(Change::Contents(repo_id));
    session.execute(DELETE_BY_DIGEST, args![repo_id, digest]).await
}
