//! Log lines: buffered in the worker, written with contiguous numbers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use berth_metadata::repos::{task, task_log};
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

#[derive(Debug, Default)]
struct Lines {
    waiting: Vec<Entry>,
    dropped: u64,
}

/// The lines of one attempt that are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Buffer(Mutex<Lines>);

impl Buffer {
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

    /// Takes what waits. It returns to the buffer unless [`Taken::written`] is called.
    pub(crate) fn take(&self, now: Millis) -> Taken<'_> {
        let mut lines = self.lines();
        let mut entries = std::mem::take(&mut lines.waiting);
        if lines.dropped > 0 {
            let message = format!("{} further lines were dropped", lines.dropped);
            entries.push(Entry { message, created_at: now });
            lines.dropped = 0;
        }
        Taken { buffer: self, entries }
    }
}

/// Lines on their way into the database.
pub(crate) struct Taken<'a> {
    buffer: &'a Buffer,
    pub(crate) entries: Vec<Entry>,
}

impl Taken<'_> {
    /// The transaction that has them is committed.
    pub(crate) fn written(mut self) {
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
        let buffer = Buffer::default();
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

    #[test]
    fn a_flood_is_counted() {
        let buffer = Buffer::default();
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
