//! File systems mounted by the kernel: an image, read-only, over a loop device, and small ones in
//! memory that can be filled.

use crate::process::{as_root, run};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use tempfile::TempDir;

/// A mount that is undone when dropped.
#[derive(Debug)]
pub struct Mounted {
    point: TempDir,
}

impl Mounted {
    /// Mounts the ext4 file system in `image`.
    ///
    /// # Panics
    /// When the kernel refuses it.
    #[must_use]
    pub fn ext4(image: &Path) -> Mounted {
        let point = tempfile::Builder::new()
            .prefix("berth-mount-")
            .tempdir()
            .expect("a temporary folder can be made");
        let options = ["-t", "ext4", "-o", "ro,loop,noload"];
        run(as_root("mount").args(options).arg(image).arg(point.path()));
        Mounted { point }
    }

    /// Mounts an empty file system of so many bytes in memory, which anybody may write to.
    ///
    /// # Panics
    /// When the kernel refuses it.
    #[must_use]
    pub fn memory(bytes: u64) -> Mounted {
        let point = tempfile::Builder::new()
            .prefix("berth-memory-")
            .tempdir()
            .expect("a temporary folder can be made");
        let options = format!("size={bytes},mode=0777");
        run(as_root("mount").args(["-t", "tmpfs", "-o", &options, "berth"]).arg(point.path()));
        Mounted { point }
    }

    /// Fills the file system to the last page with the file `name`, as far as there is space.
    ///
    /// # Panics
    /// When something else than a full disk ends it.
    pub fn fill(&self, name: &str) {
        let path = self.point.path().join(name);
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a file");
        for piece in [1 << 20, 4096] {
            let piece = vec![b'x'; piece];
            loop {
                match file.write_all(&piece) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{}: {error}", self.point.path().display()),
                }
            }
        }
    }

    /// Removes what [`Mounted::fill`] wrote.
    ///
    /// # Panics
    /// When it cannot be removed.
    pub fn free(&self, name: &str) {
        std::fs::remove_file(self.point.path().join(name)).expect("the file that fills it");
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.point.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Whoever still has a file open there keeps it until then.
        drop(as_root("umount").arg("--lazy").arg(self.point.path()).status());
    }
}
