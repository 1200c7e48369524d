//! Rows of `build_task`: what a build makes out of what. State, times and log are those of the
//! `task` of the same id, so they are read joined and never stored twice.

use berth_types::{Digest, Millis};

use super::list_count::{self, List, next_part};
use super::task::TaskStatus;
use crate::page::page_keys;
use crate::{Change, DbError, Page, Row, Session, Value, args};

macro_rules! row {
    ($($rest:tt)*) => {
        concat!(
            "SELECT b.*, t.state, t.attempt, t.progress, t.error, t.started_at, t.finished_at FROM ",
            $($rest)*
        )
    };
}

/// $1 is the instance, $4 the part to begin with, the filters begin at $5.
macro_rules! page {
    ($condition:expr, $order:literal) => {
        concat!(
            page_keys!("task_id", "build_task", $condition, $order),
            row!(
                "page p CROSS JOIN build_task b CROSS JOIN task t \
                 WHERE b.task_id = p.task_id AND t.task_id = p.task_id \
                 ORDER BY b.part DESC, b.created_at DESC, b.task_id DESC"
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
    "INSERT INTO build_task (task_id, instance_id, repo_id, build_type, rule_id, parameters, \
     priority, source_tag, source_digest, source_size, source_layer_count, target_tag, created_at, \
     part) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, ",
    next_part!("build_task"),
    ")"
);
const FIND: &str = row!(
    "build_task b JOIN task t ON t.task_id = b.task_id WHERE b.instance_id = $1 AND b.task_id = $2"
);
const ALL: &str = newest!("instance_id = $1");
const ALL_FROM_END: &str = oldest!("instance_id = $1");
const REPO: &str = newest!("instance_id = $1 AND repo_id = $5");
const REPO_FROM_END: &str = oldest!("instance_id = $1 AND repo_id = $5");
const TAG: &str = newest!("instance_id = $1 AND source_tag = $5");
const TAG_FROM_END: &str = oldest!("instance_id = $1 AND source_tag = $5");
const REPO_TAG: &str = newest!("instance_id = $1 AND repo_id = $5 AND source_tag = $6");
const REPO_TAG_FROM_END: &str = oldest!("instance_id = $1 AND repo_id = $5 AND source_tag = $6");
const STATUS: &str = newest!("instance_id = $1 AND listed_status = $5");
const STATUS_FROM_END: &str = oldest!("instance_id = $1 AND listed_status = $5");
const REPO_STATUS: &str = newest!("instance_id = $1 AND repo_id = $5 AND listed_status = $6");
const REPO_STATUS_FROM_END: &str =
    oldest!("instance_id = $1 AND repo_id = $5 AND listed_status = $6");
const TAG_STATUS: &str = newest!("instance_id = $1 AND source_tag = $5 AND listed_status = $6");
const TAG_STATUS_FROM_END: &str =
    oldest!("instance_id = $1 AND source_tag = $5 AND listed_status = $6");
const REPO_TAG_STATUS: &str =
    newest!("instance_id = $1 AND repo_id = $5 AND source_tag = $6 AND listed_status = $7");
const REPO_TAG_STATUS_FROM_END: &str =
    oldest!("instance_id = $1 AND repo_id = $5 AND source_tag = $6 AND listed_status = $7");
const SET_TARGET: &str = "UPDATE build_task SET target_digest = $2, target_size = $3, \
    target_layer_count = $4 WHERE task_id = $1";

const SET_PRIORITY: &str = "UPDATE build_task SET priority = $2 WHERE task_id = $1";
pub const STATEMENTS: &[&str] = &[
    INSERT,
    FIND,
    SET_TARGET,
    SET_PRIORITY,
    ALL,
    ALL_FROM_END,
    REPO,
    REPO_FROM_END,
    TAG,
    TAG_FROM_END,
    REPO_TAG,
    REPO_TAG_FROM_END,
    STATUS,
    STATUS_FROM_END,
    REPO_STATUS,
    REPO_STATUS_FROM_END,
    TAG_STATUS,
    TAG_STATUS_FROM_END,
    REPO_TAG_STATUS,
    REPO_TAG_STATUS_FROM_END,
];

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

impl BuildTaskRow {
    /// About how many bytes it takes in memory.
    pub fn weight(&self) -> usize {
        let texts = [&self.task.parameters, &self.task.source_tag, &self.task.target_tag];
        let long = texts.iter().map(|text| text.len()).sum::<usize>();
        // The others are ids, digests and words.
        size_of::<Self>()
            + long
            + self.progress.len()
            + self.error.as_ref().map_or(0, String::len)
            + 400
    }
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
    session.touch(Change::Task(&task.task_id));
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
    let Filter { repo_id, source_tag, status } = filter;
    let status = status.map_or("", TaskStatus::as_filter);
    let owner = format!("{instance_id} {repo_id} {source_tag}");
    let total = list_count::total(session, List::ArtifactBuildTask, &owner, status).await?;
    let Some(reach) = page.reach(total) else { return Ok((Vec::new(), total)) };
    let reach = match (repo_id.as_str(), source_tag.as_str()) {
        ("", _) | (_, "") => {
            list_count::approach(session, List::ArtifactBuildTask, &owner, status, reach).await?
        }
        // Such lists are short, and not counted by parts.
        _ => reach,
    };
    let statement =
        reach.pick(match (!repo_id.is_empty(), !source_tag.is_empty(), !status.is_empty()) {
            (false, false, false) => [ALL, ALL_FROM_END],
            (true, false, false) => [REPO, REPO_FROM_END],
            (false, true, false) => [TAG, TAG_FROM_END],
            (true, true, false) => [REPO_TAG, REPO_TAG_FROM_END],
            (false, false, true) => [STATUS, STATUS_FROM_END],
            (true, false, true) => [REPO_STATUS, REPO_STATUS_FROM_END],
            (false, true, true) => [TAG_STATUS, TAG_STATUS_FROM_END],
            (true, true, true) => [REPO_TAG_STATUS, REPO_TAG_STATUS_FROM_END],
        });
    let mut values = args![instance_id, reach.limit, reach.offset, reach.part];
    let filters =
        [repo_id.as_str(), source_tag, status].into_iter().filter(|text| !text.is_empty());
    values.extend(filters.map(Value::from));
    let rows = session.fetch_all(statement, values).await?;
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
    session.touch(Change::Task(task_id));
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
    session.touch(Change::Task(task_id));
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
