//! A file system image mounted by the kernel, read-only, over a loop device.

use crate::process::{as_root, run};
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

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.point.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(as_root("umount").arg(self.point.path()).status());
    }
}
