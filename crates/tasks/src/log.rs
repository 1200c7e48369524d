//! Log lines: buffered in the worker, written with contiguous numbers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use berth_metadata::tables::{task, task_log};
use berth_metadata::{DbError, Session};
use berth_types::Millis;

/// Lines that may wait to be written; more are counted and dropped.
const MOST_BUFFERED: usize = 10_000;

/// Longest stored message in bytes.
const LONGEST_MESSAGE: usize = 16 * 1024;

/// A line before it has a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) message: String,
    pub(crate) created_at: Millis,
}

#[derive(Debug)]
struct Lines {
    waiting: Vec<Entry>,
    dropped: u64,
    /// Lines that the log has before the first one that waits.
    before: i64,
}

/// The lines of one attempt that are not known to be written yet.
#[derive(Debug)]
pub(crate) struct Buffer(Mutex<Lines>);

impl Buffer {
    /// For an attempt that begins when the log has `before` lines. Until it ends, nobody else adds
    /// any.
    pub(crate) fn after(before: i64) -> Self {
        Self(Mutex::new(Lines { waiting: Vec::new(), dropped: 0, before }))
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, message: &str, created_at: Millis) {
        let mut lines = self.lines();
        if lines.waiting.len() < MOST_BUFFERED {
            lines.waiting.push(Entry { message: storable(message), created_at });
        } else {
            lines.dropped += 1;
        }
    }

    /// Takes what waits, while the caller holds the task's row. It returns to the buffer unless
    /// [`Taken::written`] is called.
    pub(crate) fn take(&self, now: Millis) -> Taken<'_> {
        let mut lines = self.lines();
        let mut entries = std::mem::take(&mut lines.waiting);
        if lines.dropped > 0 {
            let message = format!("{} further lines were dropped", lines.dropped);
            entries.push(Entry { message, created_at: now });
            lines.dropped = 0;
        }
        Taken { buffer: self, before: lines.before, entries }
    }
}

/// Lines on their way into the database.
pub(crate) struct Taken<'a> {
    buffer: &'a Buffer,
    before: i64,
    entries: Vec<Entry>,
}

impl Taken<'_> {
    /// Appends the lines in the caller's transaction, which holds the task's row. Those that an
    /// earlier transaction wrote whose commit was never heard of are left out.
    pub(crate) async fn append(&self, session: &mut Session, task_id: &str) -> Result<(), DbError> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let known = task::take_log_lines(session, task_id, 0).await?;
        let written = usize::try_from(known.saturating_sub(self.before)).unwrap_or(0);
        append(session, task_id, self.entries.get(written..).unwrap_or_default()).await
    }

    /// The transaction that has them is committed.
    pub(crate) fn written(mut self) {
        let count = i64::try_from(self.entries.len()).unwrap_or(0);
        self.buffer.lines().before += count;
        self.entries.clear();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.entries.is_empty() {
            let mut lines = self.buffer.lines();
            let newer = std::mem::replace(&mut lines.waiting, std::mem::take(&mut self.entries));
            lines.waiting.extend(newer);
        }
    }
}

/// Appends lines to a task's log. The caller holds the task's row.
pub(crate) async fn append(
    session: &mut Session,
    task_id: &str,
    entries: &[Entry],
) -> Result<(), DbError> {
    let Ok(count) = i64::try_from(entries.len()) else { return Ok(()) };
    if count == 0 {
        return Ok(());
    }
    let last = task::take_log_lines(session, task_id, count).await?;
    for (line_number, entry) in (last - count + 1..).zip(entries) {
        let line = task_log::TaskLogLine {
            task_id: task_id.to_owned(),
            line_number,
            message: entry.message.clone(),
            created_at: entry.created_at,
        };
        task_log::insert(session, &line).await?;
    }
    Ok(())
}

/// A text that both engines store: without NUL, which PostgreSQL refuses, and of bounded length.
pub(crate) fn storable(text: &str) -> String {
    let mut text = text.replace('\0', "\u{fffd}");
    if text.len() > LONGEST_MESSAGE {
        let mut end = LONGEST_MESSAGE;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_returns_in_order() {
        let buffer = Buffer::after(0);
        buffer.push("one", 1);
        let taken = buffer.take(2);
        buffer.push("two", 2);
        drop(taken);
        let taken = buffer.take(3);
        let messages: Vec<_> = taken.entries.iter().map(|entry| entry.message.as_str()).collect();
        assert_eq!(messages, ["one", "two"]);
        taken.written();
        assert!(buffer.take(4).entries.is_empty());
    }

    #[tokio::test]
    async fn lines_of_an_unheard_commit_are_not_repeated() {
        let folder = tempfile::tempdir().expect("folder");
        let url = format!("sqlite:{}", folder.path().join("berth.db").display());
        let db = berth_metadata::Db::open(&url).await.expect("database");
        let task = crate::NewTask {
            task_id: "t".to_owned(),
            queue: "q",
            kind: "k",
            payload: serde_json::Value::Null,
            tenant: "-".to_owned(),
            share: "-".to_owned(),
            priority: 3,
            max_attempts: 1,
            dedup_key: None,
            run_at: None,
        };
        let mut session = db.begin().await.expect("session");
        crate::enqueue(&mut session, task, 1).await.expect("enqueued");
        session.commit().await.expect("commit");

        let buffer = Buffer::after(0);
        buffer.push("one", 1);
        buffer.push("two", 1);
        for heard in [false, true] {
            let mut session = db.begin().await.expect("session");
            let taken = buffer.take(2);
            taken.append(&mut session, "t").await.expect("append");
            session.commit().await.expect("commit");
            if heard {
                taken.written();
            } else {
                drop(taken);
                buffer.push("three", 2);
            }
        }
        let mut session = db.read().await.expect("session");
        let page = berth_metadata::Page { number: 1, size: 10 };
        let (lines, total) = crate::ask::log(&mut session, "t", page).await.expect("log");
        let messages: Vec<_> = lines.iter().map(|line| line.message.as_str()).collect();
        assert_eq!((messages, total), (vec!["one", "two", "three"], 3));
    }

    #[test]
    fn a_flood_is_counted() {
        let buffer = Buffer::after(0);
        for _ in 0..MOST_BUFFERED + 3 {
            buffer.push("line", 1);
        }
        let taken = buffer.take(2);
        let last = taken.entries.last().map(|entry| entry.message.clone());
        assert_eq!(last.as_deref(), Some("3 further lines were dropped"));
        assert_eq!(taken.entries.len(), MOST_BUFFERED + 1);
    }

    #[test]
    fn hostile_texts_become_storable() {
        assert_eq!(storable("a\0b"), "a\u{fffd}b");
        assert!(storable(&"é".repeat(LONGEST_MESSAGE)).len() <= LONGEST_MESSAGE + '…'.len_utf8());
    }
}
