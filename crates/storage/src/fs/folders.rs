//! Making the entries of folders durable, once for all who wait for the same folder.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::layout::at;
use crate::StorageError;

/// The folders that somebody makes durable now.
#[derive(Default)]
pub(super) struct Folders(Mutex<HashMap<PathBuf, Arc<Folder>>>);

#[derive(Default)]
struct Folder {
    turns: Mutex<Turns>,
    ended: Condvar,
}

/// Syncs of one folder, counted.
#[derive(Default)]
struct Turns {
    begun: u64,
    /// The last that went well.
    done: u64,
    running: bool,
}

impl Folders {
    /// Returns when every entry made before the call is durable: after a sync of its own, or after
    /// one of somebody else's that began later than the call.
    pub(super) fn sync(&self, path: &Path) -> Result<(), StorageError> {
        let folder = {
            let mut folders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(folders.entry(path.to_owned()).or_default())
        };
        let synced = folder.sync(path);
        let mut folders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One of them is in the map, one is here.
        if Arc::strong_count(&folder) <= 2 {
            folders.remove(path);
        }
        synced
    }
}

impl Folder {
    fn sync(&self, path: &Path) -> Result<(), StorageError> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = turns.begun + 1;
        while turns.running && turns.done < enough {
            turns = self.ended.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
        if turns.done >= enough {
            return Ok(());
        }
        turns.begun += 1;
        turns.running = true;
        let mine = turns.begun;
        drop(turns);
        let synced = sync_folder(path);
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.running = false;
        if synced.is_ok() {
            turns.done = mine;
        }
        drop(turns);
        self.ended.notify_all();
        synced
    }
}

/// Makes the entries of a folder durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), StorageError> {
    File::open(path)
        .and_then(|opened| opened.sync_all())
        .map_err(at("make durable the folder", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_returns_and_nothing_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let folders = Folders::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        folders.sync(folder.path()).expect("synced");
                    }
                });
            }
        });
        assert!(folders.0.lock().expect("whole").is_empty());
        assert!(folders.sync(&folder.path().join("absent")).is_err());
    }

    #[test]
    fn a_sync_that_began_before_is_not_enough() {
        let path = tempfile::tempdir().expect("a folder");
        let folder = Folder::default();
        let turns = || folder.turns.lock().expect("whole");
        // Somebody is at it.
        *turns() = Turns { begun: 1, done: 0, running: true };
        std::thread::scope(|scope| {
            let late = scope.spawn(|| folder.sync(path.path()));
            *turns() = Turns { begun: 1, done: 1, running: false };
            folder.ended.notify_all();
            late.join().expect("ended").expect("synced");
        });
        assert_eq!(turns().done, 2);
    }
}
