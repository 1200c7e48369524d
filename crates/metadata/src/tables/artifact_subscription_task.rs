//! Rows of `subscription_task`: one run of a rule, with the rule as it stood. State, times and log
//! are those of the `task` of the same id, so they are read joined and never stored twice.

use berth_types::Millis;

use super::list_count::{self, List, next_part};
use super::task::TaskStatus;
use crate::page::page_keys;
use crate::{DbError, Page, Row, Session, args};

/// What is stored when a run is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionTask {
    pub task_id: String,
    pub instance_id: String,
    /// The rule may be gone or changed since.
    pub rule_id: String,
    /// `AUTO` or `MANUAL`.
    pub task_type: String,
    /// JSON of the rule as it stood.
    pub rule: String,
    pub namespace_name: String,
    pub repo_name: String,
    pub source_provider: String,
    pub source_namespace_name: String,
    pub source_repo_name: String,
    pub created_at: Millis,
}

/// A run with its outcome and the state of its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionTaskRow {
    pub task: SubscriptionTask,
    /// Tags at the source; known once they were listed.
    pub tag_total_count: Option<i64>,
    /// Tags that the rule selected.
    pub tag_subscription_count: Option<i64>,
    /// `SUCCESS` or `FAILED` once it ended.
    pub result: Option<String>,
    pub message: Option<String>,
    pub status: TaskStatus,
    pub progress: String,
    /// Why the last attempt failed.
    pub error: Option<String>,
    pub started_at: Option<Millis>,
    pub finished_at: Option<Millis>,
}

macro_rules! row {
    ($rest:literal) => {
        concat!(
            "SELECT s.*, t.state, t.attempt, t.progress, t.error, t.started_at, t.finished_at FROM ",
            $rest
        )
    };
}
macro_rules! joined {
    ($condition:literal) => {
        concat!(row!("subscription_task s JOIN task t ON t.task_id = s.task_id "), $condition)
    };
}
/// $4 is the part to begin with.
macro_rules! page {
    ($condition:expr, $order:literal) => {
        concat!(
            page_keys!("task_id", "subscription_task", $condition, $order),
            row!(
                "page p CROSS JOIN subscription_task s CROSS JOIN task t \
                 WHERE s.task_id = p.task_id AND t.task_id = p.task_id \
                 ORDER BY s.part DESC, s.created_at DESC, s.task_id DESC"
            )
        )
    };
}
macro_rules! newest {
    ($condition:literal) => {
        page!(concat!($condition, " AND part <= $4"), "part DESC, created_at DESC, task_id DESC")
    };
}
macro_rules! oldest {
    ($condition:literal) => {
        page!(concat!($condition, " AND part >= $4"), "part, created_at, task_id")
    };
}

const INSERT: &str = concat!(
    "INSERT INTO subscription_task (task_id, instance_id, rule_id, task_type, rule, namespace_name, \
     repo_name, source_provider, source_namespace_name, source_repo_name, created_at, part) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, ",
    next_part!("subscription_task"),
    ")"
);
const FIND: &str = joined!("WHERE s.instance_id = $1 AND s.task_id = $2");
const FIND_BY_ID: &str = joined!("WHERE s.task_id = $1");
const LIST: &str = newest!("instance_id = $1");
const LIST_FROM_END: &str = oldest!("instance_id = $1");
const OF_RULE: &str = newest!("instance_id = $1 AND rule_id = $5");
const OF_RULE_FROM_END: &str = oldest!("instance_id = $1 AND rule_id = $5");
const RULES_OF_TARGET: &str = "SELECT rule FROM subscription_task WHERE instance_id = $1 \
    AND namespace_name = $2 AND repo_name = $3 ORDER BY created_at DESC, task_id DESC LIMIT $4";
const SET_COUNTS: &str = "UPDATE subscription_task SET tag_total_count = $2, \
    tag_subscription_count = $3 WHERE task_id = $1";
const SET_RESULT: &str =
    "UPDATE subscription_task SET result = $2, message = $3 WHERE task_id = $1";

/// Every statement of this file.
pub const STATEMENTS: &[&str] = &[
    INSERT,
    FIND,
    FIND_BY_ID,
    LIST,
    LIST_FROM_END,
    OF_RULE,
    OF_RULE_FROM_END,
    RULES_OF_TARGET,
    SET_COUNTS,
    SET_RESULT,
];

/// Inserts the row beside its `task` row, in the same transaction.
pub async fn insert(session: &mut Session, task: &SubscriptionTask) -> Result<(), DbError> {
    let values = args![
        &task.task_id,
        &task.instance_id,
        &task.rule_id,
        &task.task_type,
        &task.rule,
        &task.namespace_name,
        &task.repo_name,
        &task.source_provider,
        &task.source_namespace_name,
        &task.source_repo_name,
        task.created_at
    ];
    session.execute(INSERT, values).await.map(drop)
}

/// The run of this id in this instance.
pub async fn find(
    session: &mut Session,
    instance_id: &str,
    task_id: &str,
) -> Result<Option<SubscriptionTaskRow>, DbError> {
    let row = session.fetch_optional(FIND, args![instance_id, task_id]).await?;
    row.as_ref().map(read).transpose()
}

/// The run of this id in whatever instance.
pub async fn find_by_id(
    session: &mut Session,
    task_id: &str,
) -> Result<Option<SubscriptionTaskRow>, DbError> {
    session.fetch_optional(FIND_BY_ID, args![task_id]).await?.as_ref().map(read).transpose()
}

/// A page of runs, newest first, of one rule or (empty) of all, and how many there are.
pub async fn list(
    session: &mut Session,
    instance_id: &str,
    rule_id: &str,
    page: Page,
) -> Result<(Vec<SubscriptionTaskRow>, i64), DbError> {
    let owner = format!("{instance_id} {rule_id}");
    let total = list_count::total(session, List::ArtifactSubscriptionTask, &owner, "").await?;
    let Some(reach) = page.reach(total) else { return Ok((Vec::new(), total)) };
    let reach =
        list_count::approach(session, List::ArtifactSubscriptionTask, &owner, "", reach).await?;
    let mut values = args![instance_id, reach.limit, reach.offset, reach.part];
    let statement = if rule_id.is_empty() {
        reach.pick([LIST, LIST_FROM_END])
    } else {
        values.push(rule_id.into());
        reach.pick([OF_RULE, OF_RULE_FROM_END])
    };
    let rows = session.fetch_all(statement, values).await?;
    Ok((rows.iter().map(read).collect::<Result<_, _>>()?, total))
}

/// Records how many tags the source has, when they were listed, and how many of them were selected.
pub async fn set_counts(
    session: &mut Session,
    task_id: &str,
    total: Option<i64>,
    selected: i64,
) -> Result<(), DbError> {
    session.execute(SET_COUNTS, args![task_id, total, selected]).await.map(drop)
}

/// Records the outcome: `SUCCESS` or `FAILED`, and words.
pub async fn set_result(
    session: &mut Session,
    task_id: &str,
    result: &str,
    message: &str,
) -> Result<(), DbError> {
    session.execute(SET_RESULT, args![task_id, result, message]).await.map(drop)
}

fn read(row: &Row) -> Result<SubscriptionTaskRow, DbError> {
    Ok(SubscriptionTaskRow {
        task: SubscriptionTask {
            task_id: row.text("task_id")?,
            instance_id: row.text("instance_id")?,
            rule_id: row.text("rule_id")?,
            task_type: row.text("task_type")?,
            rule: row.text("rule")?,
            namespace_name: row.text("namespace_name")?,
            repo_name: row.text("repo_name")?,
            source_provider: row.text("source_provider")?,
            source_namespace_name: row.text("source_namespace_name")?,
            source_repo_name: row.text("source_repo_name")?,
            created_at: row.int("created_at")?,
        },
        tag_total_count: row.opt_int("tag_total_count")?,
        tag_subscription_count: row.opt_int("tag_subscription_count")?,
        result: row.opt_text("result")?,
        message: row.opt_text("message")?,
        status: TaskStatus::of(row.parse("state")?, row.int("attempt")?),
        progress: row.text("progress")?,
        error: row.opt_text("error")?,
        started_at: row.opt_int("started_at")?,
        finished_at: row.opt_int("finished_at")?,
    })
}

/// The rules, as JSON, of at most `limit` runs that filled a repository, newest first: also of rules
/// that are gone.
pub async fn rules_of_target(
    session: &mut Session,
    instance_id: &str,
    namespace_name: &str,
    repo_name: &str,
    limit: i64,
) -> Result<Vec<String>, DbError> {
    let values = args![instance_id, namespace_name, repo_name, limit];
    let rows = session.fetch_all(RULES_OF_TARGET, values).await?;
    rows.iter().map(|row| row.text("rule")).collect()
}
