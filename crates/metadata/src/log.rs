//! The file of SQLite's write-ahead log: its space, and its sync.
//!
//! The log's space is allocated ahead of what transactions write, so that a full disk refuses a
//! statement, which is undone, and not the sync of what is committed already. SQLite starts the file
//! over after a checkpoint and never makes it shorter (`journal_size_limit` is -1), so that space
//! stays the log's own; the last connection to be closed would remove the file, so the database keeps
//! one open ([`crate::open`]).
//!
//! The file stays open from the start, since the kernel tells a failed write once to each open file:
//! one that was opened later would not hear of what SQLite's own sync, in a checkpoint, has heard.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::durable::Unsynced;

/// Space that the log has beyond its end, in bytes: more than a transaction writes between two syncs.
const AHEAD: u64 = 8 << 20;
/// A longer log gets no space ahead: it was that long once, and is started over from time to time.
const MOST: u64 = 32 << 20;

/// Where the space of a log of this length should end.
fn end_of(length: u64) -> u64 {
    length.saturating_add(AHEAD).min(MOST).max(length)
}

pub(crate) struct Log {
    file: File,
    /// Bytes from the start whose space is allocated.
    reserved: AtomicU64,
    /// The file system cannot allocate ahead.
    unreserved: AtomicBool,
}

impl Log {
    /// Opens the log of the database file, which must be open, and allocates space as far as there
    /// is some. (The handle may be closed again: SQLite's locks are on other files.)
    pub(crate) fn open(database: &Path) -> io::Result<Self> {
        let mut path = database.as_os_str().to_owned();
        path.push("-wal");
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let (reserved, unreserved) = (AtomicU64::new(0), AtomicBool::new(false));
        let log = Self { file, reserved, unreserved };
        let length = log.file.metadata()?.len();
        if let Err(error) = log.reserve(end_of(length)) {
            tracing::warn!(%error, "no space can be kept for the database's log");
        }
        Ok(log)
    }

    /// Makes every COMMIT before it durable. Runs alone.
    pub(crate) fn sync(&self) -> Result<(), Unsynced> {
        let length = self.file.metadata().map_err(Unsynced::Failed)?.len();
        if length > self.reserved.load(Ordering::Acquire) {
            self.reserve(end_of(length)).or_else(|_| self.reserve(length)).map_err(|error| {
                match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        Unsynced::NoSpace(error)
                    }
                    _ => Unsynced::Failed(error),
                }
            })?;
        }
        self.file.sync_data().map_err(Unsynced::Failed)?;
        // While there is room; the next sync sees whether what was written then has its space.
        if end_of(length) > self.reserved.load(Ordering::Acquire) + AHEAD / 2
            && let Err(error) = self.reserve(end_of(length))
        {
            tracing::debug!(%error, "no more space can be kept for the database's log");
        }
        Ok(())
    }

    fn reserve(&self, end: u64) -> io::Result<()> {
        let reserved = self.reserved.load(Ordering::Acquire);
        if end <= reserved || self.unreserved.load(Ordering::Acquire) {
            return Ok(());
        }
        loop {
            match fallocate(&self.file, FallocateFlags::KEEP_SIZE, reserved, end - reserved) {
                Ok(()) => {
                    self.reserved.store(end, Ordering::Release);
                    return Ok(());
                }
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    tracing::warn!("this file system cannot keep space for the database's log");
                    self.unreserved.store(true, Ordering::Release);
                    return Ok(());
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
