//! How many rows a list has, for each filter that it knows, in all and in each of its parts. Triggers
//! keep the sums in the transaction that changes the rows (migrations 4 and 9), so nothing here writes
//! them.

use crate::page::Reach;
use crate::{DbError, Session, args};

const TOTAL: &str = "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) AS total FROM list_count \
    WHERE list = $1 AND owner = $2";
const FILTERED: &str = "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) AS total FROM list_count \
    WHERE list = $1 AND owner = $2 AND filter = $3";

/// The part that has the row with $4 others before it, and how many rows the parts before it have.
macro_rules! part_of {
    ($order:literal) => {
        concat!(
            "WITH parts AS (SELECT part, CAST(SUM(amount) AS BIGINT) AS amount FROM list_part \
             WHERE list = $1 AND owner = $2 AND ($3 = '' OR filter = $3) GROUP BY part), \
             sums AS (SELECT part, amount, CAST(SUM(amount) OVER (ORDER BY part ",
            $order,
            ") AS BIGINT) AS so_far FROM parts) SELECT part, so_far - amount AS passed \
             FROM sums WHERE so_far > $4 ORDER BY part ",
            $order,
            " LIMIT 1"
        )
    };
}
const PART: &str = part_of!("DESC");
const PART_FROM_END: &str = part_of!("ASC");

/// The part of a new row, for an INSERT: the last one, or the next when that is full.
macro_rules! next_part {
    ($list:literal) => {
        concat!(
            "COALESCE((SELECT part + CASE WHEN SUM(amount) < 4096 THEN 0 ELSE 1 END \
             FROM list_part WHERE list = '",
            $list,
            "' AND owner = '' GROUP BY part ORDER BY part DESC LIMIT 1), 0)"
        )
    };
}
pub(crate) use next_part;

/// Every statement of this file.
pub const STATEMENTS: &[&str] = &[TOTAL, FILTERED, PART, PART_FROM_END];

/// Rows that are passed over one by one rather than by their part.
const NEAR: i64 = 2048;

/// A list that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    ArtifactBuildTask,
    ArtifactSubscriptionResult,
    ArtifactSubscriptionRule,
    ArtifactSubscriptionTask,
    Namespace,
    Repository,
    Tag,
    /// Of a queue.
    Task,
}

impl List {
    /// As the triggers write it.
    fn as_str(self) -> &'static str {
        match self {
            Self::ArtifactBuildTask => "build_task",
            Self::ArtifactSubscriptionResult => "subscription_result",
            Self::ArtifactSubscriptionRule => "subscription_rule",
            Self::ArtifactSubscriptionTask => "subscription_task",
            Self::Namespace => "namespace",
            Self::Repository => "repository",
            Self::Tag => "tag",
            Self::Task => "task",
        }
    }
}

/// Rows of the owner's list: those of one state or kind, or (empty) of all. The owner is written as
/// the list's own triggers do.
pub(crate) async fn total(
    session: &mut Session,
    list: List,
    owner: &str,
    filter: &str,
) -> Result<i64, DbError> {
    let row = if filter.is_empty() {
        session.fetch_one(TOTAL, args![list.as_str(), owner]).await?
    } else {
        session.fetch_one(FILTERED, args![list.as_str(), owner, filter]).await?
    };
    row.int("total")
}

/// Begins with the part that has the first row of the page. The owner and the filter as in [`total`]; only
/// lists whose rows have a part may ask.
pub(crate) async fn approach(
    session: &mut Session,
    list: List,
    owner: &str,
    filter: &str,
    reach: Reach,
) -> Result<Reach, DbError> {
    if reach.offset < NEAR {
        return Ok(reach);
    }
    let values = args![list.as_str(), owner, filter, reach.offset];
    let Some(row) = session.fetch_optional(reach.pick([PART, PART_FROM_END]), values).await? else {
        return Ok(reach);
    };
    Ok(Reach { part: row.int("part")?, offset: reach.offset - row.int("passed")?, ..reach })
}
