//! A virtual disk as a sparse file, judged by `e2fsck` and mounted by the kernel.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use berth_formats::ext4::{BLOCK_SIZE, Geometry, Image, Placement, SECTOR_SIZE};
use berth_formats::layer::LayerEntries;

pub(crate) struct Disk {
    folder: tempfile::TempDir,
    file: File,
    pub(crate) image: Image,
}

/// What one layer wrote.
pub(crate) struct Written {
    pub(crate) metadata_blocks: usize,
    pub(crate) placement: Placement,
}

impl Disk {
    pub(crate) fn new(virtual_size: u64) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = File::create_new(folder.path().join("disk")).expect("disk file");
        file.set_len(virtual_size).expect("disk size");
        let image = Image::new(Geometry { virtual_size }).expect("image");
        Self { folder, file, image }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Applies a layer and writes exactly the sectors that the placement names.
    pub(crate) fn apply(&mut self, entries: &LayerEntries, stream: &[u8]) -> Written {
        let placement = self.image.apply(entries).expect("apply layer");
        self.write(&placement, stream);
        Written { metadata_blocks: placement.metadata.len(), placement }
    }

    pub(crate) fn write(&self, placement: &Placement, stream: &[u8]) {
        let mut taken: Vec<(u64, u64)> = Vec::new();
        for extent in &placement.data {
            let len = usize::try_from(extent.sectors * SECTOR_SIZE).expect("length");
            let start = usize::try_from(extent.stream_offset).expect("offset");
            let bytes = &stream[start..start + len];
            self.file.write_all_at(bytes, extent.sector * SECTOR_SIZE).expect("write");
            taken.push((extent.sector, extent.sectors));
        }
        for range in &placement.zeroed {
            let zeros = vec![0; usize::try_from(range.sectors * SECTOR_SIZE).expect("length")];
            self.file.write_all_at(&zeros, range.sector * SECTOR_SIZE).expect("write");
            taken.push((range.sector, range.sectors));
        }
        for (block, content) in &placement.metadata {
            self.file.write_all_at(&content[..], block * BLOCK_SIZE as u64).expect("write");
            taken.push((block * 8, 8));
        }
        for list in [
            placement.data.iter().map(|extent| extent.sector).collect::<Vec<_>>(),
            placement.zeroed.iter().map(|range| range.sector).collect(),
            placement.metadata.iter().map(|(block, _)| *block).collect(),
        ] {
            assert!(list.is_sorted_by(|a, b| a < b), "not ascending");
        }
        taken.sort_unstable();
        for pair in taken.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "sectors written twice: {pair:?}");
        }
    }

    /// `e2fsck -fn` must find nothing at all.
    pub(crate) fn check(&self) {
        let output = Command::new("e2fsck").arg("-fn").arg(self.path()).output();
        let output = output.expect("e2fsck must be installed (Debian: e2fsprogs)");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.code() == Some(0),
            "e2fsck: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// What `debugfs` answers to a request.
    pub(crate) fn debug(&self, request: &str) -> String {
        let output = Command::new("debugfs").args(["-R", request]).arg(self.path()).output();
        let output = output.expect("debugfs must be installed (Debian: e2fsprogs)");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The mounted file system; `None` without the right to mount.
    pub(crate) fn mount(&self) -> Option<Mounted> {
        self.mount_with("ro,loop")
    }

    pub(crate) fn mount_writable(&self) -> Option<Mounted> {
        self.mount_with("rw,loop")
    }

    fn mount_with(&self, options: &str) -> Option<Mounted> {
        if std::fs::metadata("/proc/self").expect("proc").uid() != 0 {
            return None;
        }
        let at = self.folder.path().join("mounted");
        std::fs::create_dir_all(&at).expect("mount point");
        let output = Command::new("mount").args(["-o", options]).arg(self.path()).arg(&at).output();
        let output = output.expect("mount");
        assert!(output.status.success(), "mount: {}", String::from_utf8_lossy(&output.stderr));
        Some(Mounted { at })
    }
}

pub(crate) struct Mounted {
    at: PathBuf,
}

impl Mounted {
    pub(crate) fn root(&self) -> &Path {
        &self.at
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.at).status();
    }
}
