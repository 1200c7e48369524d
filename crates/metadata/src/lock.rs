//! Who may have a SQLite file open: one process that writes alone, or several that know of each
//! other.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::Access;

/// A process that ends keeps its lock until the kernel has put its files away.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

/// The file beside the database that is locked. (Not the database itself: SQLite locks that, and
/// closing any handle of it would drop SQLite's locks.)
fn lock_file(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Takes the lock; it is held as long as the file is open. `None` when none is needed.
///
/// # Errors
/// [`LockError`].
pub(crate) fn take(database: &Path, access: Access) -> Result<Option<File>, LockError> {
    let operation = match access {
        Access::ReadOnly => return Ok(None),
        Access::Shared => FlockOperation::NonBlockingLockShared,
        Access::SoleWriter => FlockOperation::NonBlockingLockExclusive,
    };
    let path = lock_file(database);
    let failed = |error: io::Error| LockError::File { path: path.clone(), error };
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    let start = Instant::now();
    loop {
        match flock(&file, operation) {
            Ok(()) => break,
            Err(rustix::io::Errno::WOULDBLOCK) if start.elapsed() < PATIENCE => {
                std::thread::sleep(PAUSE);
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockError::InUse { holder: holder(&mut file) });
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
    if access == Access::SoleWriter {
        let name = |mut file: &File| {
            file.set_len(0)?;
            file.write_all(format!("{}\n", std::process::id()).as_bytes())
        };
        name(&file).map_err(failed)?;
    }
    Ok(Some(file))
}

/// The process that the lock's file names.
fn holder(file: &mut File) -> Option<u32> {
    let mut holder = String::new();
    file.read_to_string(&mut holder).ok()?;
    holder.trim().parse().ok()
}

/// Why a database file cannot be had; for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error("its folder cannot be made: {0}")]
    Folder(io::Error),
    #[error("its lock {} cannot be taken: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error(
        "another process{} has it open, and a SQLite database belongs to one server. \
         Stop that process, or let several servers share PostgreSQL: set database.url to \
         postgres://user@host/database",
        holder.map_or_else(String::new, |number| format!(" (process {number})"))
    )]
    InUse { holder: Option<u32> },
}
