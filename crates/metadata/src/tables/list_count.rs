//! How many rows a list has, for each filter that it knows. Triggers keep the sums in the transaction
//! that changes the rows (migration 4), so nothing here writes them.

use crate::{DbError, Session, args};

const TOTAL: &str = "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) AS total FROM list_count \
    WHERE list = $1 AND owner = $2";
const FILTERED: &str = "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) AS total FROM list_count \
    WHERE list = $1 AND owner = $2 AND filter = $3";

/// Every statement of this file.
pub const STATEMENTS: &[&str] = &[TOTAL, FILTERED];

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
