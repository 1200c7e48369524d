//! Rows of `build_task`: what a build makes out of what. State, times and log are those of the
//! `task` of the same id, so they are read joined and never stored twice.

use berth_types::{Digest, Millis};

use super::task::{TaskStatus, status_of};
use crate::{DbError, Page, Row, Session, args};

pub const STATEMENTS: &[&str] = &[INSERT, FIND, LIST, COUNT, SET_TARGET, SET_PRIORITY];

macro_rules! selected {
    () => {
        concat!(
            "WHERE b.instance_id = $1 AND ($2 = '' OR b.repo_id = $2) \
             AND ($3 = '' OR b.source_tag = $3) AND ($4 = '' OR ",
            status_of!(),
            " = $4)"
        )
    };
}

macro_rules! joined {
    ($($rest:tt)*) => {
        concat!(
            "SELECT b.*, t.state, t.attempt, t.progress, t.error, t.started_at, t.finished_at \
             FROM build_task b JOIN task t ON t.task_id = b.task_id ",
            $($rest)*
        )
    };
}

const INSERT: &str = "INSERT INTO build_task (task_id, instance_id, repo_id, build_type, rule_id, \
    parameters, priority, source_tag, source_digest, source_size, source_layer_count, target_tag, \
    created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
const FIND: &str = joined!("WHERE b.instance_id = $1 AND b.task_id = $2");
const LIST: &str =
    joined!(selected!(), " ORDER BY b.created_at DESC, b.task_id DESC LIMIT $5 OFFSET $6");
const COUNT: &str = concat!(
    "SELECT COUNT(*) AS total FROM build_task b JOIN task t ON t.task_id = b.task_id ",
    selected!()
);
const SET_TARGET: &str = "UPDATE build_task SET target_digest = $2, target_size = $3, \
    target_layer_count = $4 WHERE task_id = $1";

const SET_PRIORITY: &str = "UPDATE build_task SET priority = $2 WHERE task_id = $1";

/// What is stored when a build is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildTask {
    pub task_id: String,
    pub instance_id: String,
    pub repo_id: String,
    pub build_type: String,
    pub rule_id: Option<String>,
    pub parameters: String,
    pub priority: i64,
    pub source_tag: String,
    pub source_digest: Digest,
    /// Bytes of config and layers.
    pub source_size: i64,
    pub source_layer_count: i64,
    pub target_tag: String,
    pub created_at: Millis,
}

/// A build with the state of its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildTaskRow {
    pub task: BuildTask,
    pub target_digest: Option<Digest>,
    pub target_size: Option<i64>,
    pub target_layer_count: Option<i64>,
    pub status: TaskStatus,
    pub progress: String,
    pub error: Option<String>,
    pub started_at: Option<Millis>,
    pub finished_at: Option<Millis>,
}

/// Which builds to list; empty texts and `None` select everything.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub repo_id: String,
    pub source_tag: String,
    /// `Failed` selects the cancelled ones too.
    pub status: Option<TaskStatus>,
}

/// Inserts the row beside its `task` row, in the same transaction.
///
/// # Errors
/// [`DbError`] when the database fails.
pub async fn insert(session: &mut Session, task: &BuildTask) -> Result<(), DbError> {
    let values = args![
        &task.task_id,
        &task.instance_id,
        &task.repo_id,
        &task.build_type,
        task.rule_id.clone(),
        &task.parameters,
        task.priority,
        &task.source_tag,
        &task.source_digest,
        task.source_size,
        task.source_layer_count,
        &task.target_tag,
        task.created_at
    ];
    session.execute(INSERT, values).await.map(drop)
}

/// The build of this id in this instance.
///
/// # Errors
/// [`DbError`] when the database fails.
pub async fn find(
    session: &mut Session,
    instance_id: &str,
    task_id: &str,
) -> Result<Option<BuildTaskRow>, DbError> {
    let row = session.fetch_optional(FIND, args![instance_id, task_id]).await?;
    row.map(|row| read(&row)).transpose()
}

/// A page of builds, newest first, and how many there are in all.
///
/// # Errors
/// [`DbError`] when the database fails.
pub async fn list(
    session: &mut Session,
    instance_id: &str,
    filter: &Filter,
    page: Page,
) -> Result<(Vec<BuildTaskRow>, i64), DbError> {
    let status = filter.status.map_or("", TaskStatus::as_filter);
    let filters = || args![instance_id, &filter.repo_id, &filter.source_tag, status];
    let mut values = filters();
    values.extend(args![page.size, page.offset()]);
    let rows = session.fetch_all(LIST, values).await?;
    let total = session.fetch_one(COUNT, filters()).await?.int("total")?;
    let rows = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok((rows, total))
}

/// Records what was built.
///
/// # Errors
/// [`DbError`] when the database fails.
pub async fn set_target(
    session: &mut Session,
    task_id: &str,
    digest: &Digest,
    size: i64,
    layer_count: i64,
) -> Result<(), DbError> {
    session.execute(SET_TARGET, args![task_id, digest, size, layer_count]).await.map(drop)
}

/// Shows another priority.
///
/// # Errors
/// [`DbError`] when the database fails.
pub async fn set_priority(
    session: &mut Session,
    task_id: &str,
    priority: i64,
) -> Result<(), DbError> {
    session.execute(SET_PRIORITY, args![task_id, priority]).await.map(drop)
}

fn read(row: &Row) -> Result<BuildTaskRow, DbError> {
    Ok(BuildTaskRow {
        task: BuildTask {
            task_id: row.text("task_id")?,
            instance_id: row.text("instance_id")?,
            repo_id: row.text("repo_id")?,
            build_type: row.text("build_type")?,
            rule_id: row.opt_text("rule_id")?,
            parameters: row.text("parameters")?,
            priority: row.int("priority")?,
            source_tag: row.text("source_tag")?,
            source_digest: row.parse("source_digest")?,
            source_size: row.int("source_size")?,
            source_layer_count: row.int("source_layer_count")?,
            target_tag: row.text("target_tag")?,
            created_at: row.int("created_at")?,
        },
        target_digest: match row.opt_text("target_digest")? {
            Some(_) => Some(row.parse("target_digest")?),
            None => None,
        },
        target_size: row.opt_int("target_size")?,
        target_layer_count: row.opt_int("target_layer_count")?,
        status: TaskStatus::of(row.parse("state")?, row.int("attempt")?),
        progress: row.text("progress")?,
        error: row.opt_text("error")?,
        started_at: row.opt_int("started_at")?,
        finished_at: row.opt_int("finished_at")?,
    })
}
