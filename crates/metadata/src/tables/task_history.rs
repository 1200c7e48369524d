//! Finished build and subscription tasks, as the history that is kept of a repository or a rule.

use berth_types::Millis;

use crate::{Change, DbError, Row, Session, args};

/// What a history is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// Builds, by repository. The newest of a tag stays.
    Builds,
    /// Runs of subscription rules, by rule. The newest of a rule stays.
    Subscriptions,
}

macro_rules! next_owner {
    ($table:literal, $owner:literal, $condition:literal) => {
        concat!(
            "SELECT MIN(",
            $owner,
            ") AS owner FROM ",
            $table,
            " WHERE ",
            $owner,
            " > $1",
            $condition
        )
    };
}

macro_rules! beyond {
    ($table:literal, $owner:literal) => {
        concat!(
            "SELECT created_at, task_id FROM ",
            $table,
            " WHERE ",
            $owner,
            " = $1 \
             ORDER BY created_at DESC, task_id DESC LIMIT 1 OFFSET $2"
        )
    };
}

macro_rules! page {
    ($table:literal, $owner:literal, $same:literal) => {
        concat!(
            "SELECT h.task_id, h.created_at, t.finished_at, EXISTS (SELECT 1 FROM ",
            $table,
            " n WHERE n.",
            $owner,
            " = h.",
            $owner,
            $same,
            " AND n.created_at >= h.created_at \
             AND (n.created_at > h.created_at OR n.task_id > h.task_id)) AS has_newer \
             FROM ",
            $table,
            " h JOIN task t ON t.task_id = h.task_id \
             WHERE h.",
            $owner,
            " = $1 AND h.created_at >= $2 \
             AND (h.created_at > $2 OR h.task_id > $3) AND h.created_at <= $4 \
             ORDER BY h.created_at, h.task_id LIMIT $5"
        )
    };
}

const NEXT_REPOSITORY: &str = next_owner!("build_task", "repo_id", "");
const NEXT_REPOSITORY_OF: &str = next_owner!("build_task", "repo_id", " AND instance_id = $2");
const NEXT_RULE: &str = next_owner!("subscription_task", "rule_id", "");
const NEXT_RULE_OF: &str = next_owner!("subscription_task", "rule_id", " AND instance_id = $2");
const BEYOND_BUILDS: &str = beyond!("build_task", "repo_id");
const BEYOND_RUNS: &str = beyond!("subscription_task", "rule_id");
const BUILDS: &str = page!("build_task", "repo_id", " AND n.source_tag = h.source_tag");
const RUNS: &str = page!("subscription_task", "rule_id", "");
const FORGET_BUILD: &str = "DELETE FROM build_task WHERE task_id = $1 AND EXISTS \
     (SELECT 1 FROM task t WHERE t.task_id = $1 AND t.finished_at IS NOT NULL)";
const FORGET_RUN: &str = "DELETE FROM subscription_task WHERE task_id = $1 AND EXISTS \
     (SELECT 1 FROM task t WHERE t.task_id = $1 AND t.finished_at IS NOT NULL)";
const FORGET_TASK: &str = "DELETE FROM task WHERE task_id = $1 AND finished_at IS NOT NULL";

pub const STATEMENTS: &[&str] = &[
    NEXT_REPOSITORY,
    NEXT_REPOSITORY_OF,
    NEXT_RULE,
    NEXT_RULE_OF,
    BEYOND_BUILDS,
    BEYOND_RUNS,
    BUILDS,
    RUNS,
    FORGET_BUILD,
    FORGET_RUN,
    FORGET_TASK,
];

/// A place in a history: time and id.
pub type Place = (Millis, String);

/// A task of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    pub task_id: String,
    pub created_at: Millis,
    pub finished_at: Option<Millis>,
    /// Whether there is a newer one of the same tag, or of the same rule.
    pub has_newer: bool,
}

/// The repository or rule after this one, of one instance or of all, that has a history, by id.
pub async fn next_owner(
    session: &mut Session,
    history: History,
    instance_id: Option<&str>,
    after: &str,
) -> Result<Option<String>, DbError> {
    let (of_all, of_one) = match history {
        History::Builds => (NEXT_REPOSITORY, NEXT_REPOSITORY_OF),
        History::Subscriptions => (NEXT_RULE, NEXT_RULE_OF),
    };
    let row = match instance_id {
        Some(instance_id) => session.fetch_one(of_one, args![after, instance_id]).await?,
        None => session.fetch_one(of_all, args![after]).await?,
    };
    row.opt_text("owner")
}

/// The newest task of an owner that has `count` newer ones.
pub async fn beyond(
    session: &mut Session,
    history: History,
    owner: &str,
    count: i64,
) -> Result<Option<Place>, DbError> {
    let statement = match history {
        History::Builds => BEYOND_BUILDS,
        History::Subscriptions => BEYOND_RUNS,
    };
    let row = session.fetch_optional(statement, args![owner, count]).await?;
    row.map(|row| Ok((row.int("created_at")?, row.text("task_id")?))).transpose()
}

/// Up to `limit` tasks of an owner after a place and made no later than `until`, oldest first.
pub async fn page(
    session: &mut Session,
    history: History,
    owner: &str,
    after: &Place,
    until: Millis,
    limit: i64,
) -> Result<Vec<Remembered>, DbError> {
    let statement = match history {
        History::Builds => BUILDS,
        History::Subscriptions => RUNS,
    };
    let values = args![owner, after.0, &after.1, until, limit];
    let rows = session.fetch_all(statement, values).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Remembered, DbError> {
    Ok(Remembered {
        task_id: row.text("task_id")?,
        created_at: row.int("created_at")?,
        finished_at: row.opt_int("finished_at")?,
        has_newer: row.boolean("has_newer")?,
    })
}

/// Deletes a finished task with its results and log; `false` when it is not there or not finished.
pub async fn forget(
    session: &mut Session,
    history: History,
    task_id: &str,
) -> Result<bool, DbError> {
    let statement = match history {
        History::Builds => FORGET_BUILD,
        History::Subscriptions => FORGET_RUN,
    };
    session.touch(Change::Task(task_id));
    session.execute(statement, args![task_id]).await?;
    Ok(session.execute(FORGET_TASK, args![task_id]).await? == 1)
}
