//! Log lines of tasks. Numbers are reserved on the task's row
//! ([`crate::tables::task::take_log_lines`]) in the same transaction, so they have no gaps.

use berth_types::Millis;

use crate::{DbError, Page, Session, args};

/// A row of `task_log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskLogLine {
    pub task_id: String,
    /// From 1.
    pub line_number: i64,
    pub message: String,
    pub created_at: Millis,
}

const INSERT: &str =
    "INSERT INTO task_log (task_id, line_number, message, created_at) VALUES ($1, $2, $3, $4)";

const LIST: &str = "SELECT task_id, line_number, message, created_at FROM task_log \
     WHERE task_id = $1 AND line_number > $2 ORDER BY line_number LIMIT $3";

const COUNT: &str = "SELECT log_lines FROM task WHERE task_id = $1";

/// Every statement of this file.
pub const STATEMENTS: &[&str] = &[INSERT, LIST, COUNT];

pub async fn insert(session: &mut Session, line: &TaskLogLine) -> Result<(), DbError> {
    let values = args![&line.task_id, line.line_number, &line.message, line.created_at];
    session.execute(INSERT, values).await?;
    Ok(())
}

/// A page of a task's lines by number, and how many there are in all; empty for an unknown task.
pub async fn list(
    session: &mut Session,
    task_id: &str,
    page: Page,
) -> Result<(Vec<TaskLogLine>, i64), DbError> {
    let total = match session.fetch_optional(COUNT, args![task_id]).await? {
        Some(row) => row.int("log_lines")?,
        None => return Ok((Vec::new(), 0)),
    };
    // Numbers are contiguous from 1, so a page is a range of them.
    let rows = session.fetch_all(LIST, args![task_id, page.offset(), page.limit()]).await?;
    let lines = rows
        .iter()
        .map(|row| {
            Ok(TaskLogLine {
                task_id: row.text("task_id")?,
                line_number: row.int("line_number")?,
                message: row.text("message")?,
                created_at: row.int("created_at")?,
            })
        })
        .collect::<Result<Vec<_>, DbError>>()?;
    Ok((lines, total))
}
