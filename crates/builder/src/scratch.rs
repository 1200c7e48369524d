//! The folder for layers in the making. Every process has a sub-folder of its own, held by a file
//! lock, so that what a killed process left is known and removed by the next one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

/// A process's own part of the scratch folder; removed when dropped.
#[derive(Clone)]
pub struct Scratch {
    inner: Arc<Inner>,
}

struct Inner {
    folder: TempDir,
    // Held open for its lock.
    _lock: File,
}

const LOCK: &str = "lock";

impl Scratch {
    /// Opens the scratch folder and clears what dead processes left in it.
    ///
    /// # Errors
    /// When the folder cannot be made or locked.
    pub fn open(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        remove_abandoned(parent)?;
        let folder = tempfile::Builder::new().prefix("process-").tempdir_in(parent)?;
        let lock = File::create(folder.path().join(LOCK))?;
        lock.lock()?;
        Ok(Self { inner: Arc::new(Inner { folder, _lock: lock }) })
    }

    /// A fresh folder for one build; removed when dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn build_folder(&self) -> io::Result<TempDir> {
        tempfile::Builder::new().prefix("build-").tempdir_in(self.inner.folder.path())
    }
}

fn remove_abandoned(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let folder = entry?.path();
        if is_abandoned(&folder) {
            tracing::info!(folder = %folder.display(), "removing what a dead process left");
            fs::remove_dir_all(&folder)?;
        }
    }
    Ok(())
}

fn is_abandoned(folder: &Path) -> bool {
    match OpenOptions::new().write(true).open(folder.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_only_what_the_dead_left() {
        let parent = tempfile::tempdir().expect("temp folder");
        let alive = Scratch::open(parent.path()).expect("opens");
        let build = alive.build_folder().expect("folder");
        let dead = parent.path().join("process-dead");
        fs::create_dir_all(dead.join("build-x")).expect("folder");
        fs::write(dead.join(LOCK), b"").expect("file");
        let second = Scratch::open(parent.path()).expect("opens");
        assert!(!dead.exists());
        assert!(build.path().exists());
        drop(second);
        assert_eq!(fs::read_dir(parent.path()).expect("lists").count(), 1);
    }
}
