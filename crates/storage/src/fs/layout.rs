//! Where files are, and the durable moves between them.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use super::folders::Folders;
use super::pace::Pace;
use crate::{ObjectStat, StorageError, StorageErrorKind, key};

/// In bytes: a config, or the layer of a script.
const SMALL_BLOB: u64 = 256 << 10;

pub(super) struct Layout {
    objects: PathBuf,
    partials: PathBuf,
    folders: Folders,
    pace: Pace,
}

impl Layout {
    pub(super) fn new(folder: &Path) -> Self {
        let (objects, partials) = (folder.join("objects"), folder.join("partial"));
        Self { objects, partials, folders: Folders::default(), pace: Pace::default() }
    }

    pub(super) fn objects(&self) -> &Path {
        &self.objects
    }

    /// How the disk keeps up.
    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    pub(super) fn partials(&self) -> &Path {
        &self.partials
    }

    /// Makes the folders.
    pub(super) fn prepare(&self) -> Result<(), StorageError> {
        for folder in [&self.objects, &self.partials] {
            fs::create_dir_all(folder).map_err(at("make the folder", folder))?;
        }
        match self.objects.parent() {
            Some(root) => self.sync(root),
            None => Ok(()),
        }
    }

    /// Whether the folders are there, can be written to and have some space.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        for folder in [&self.objects, &self.partials] {
            rustix::fs::access(folder, rustix::fs::Access::WRITE_OK)
                .map_err(io::Error::from)
                .map_err(at("write to the folder", folder))?;
        }
        self.check_space()
    }

    /// Whether there is space for a small blob. Nothing is written, and nothing stays.
    fn check_space(&self) -> Result<(), StorageError> {
        let failed = at("make a file in the folder", &self.partials);
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = match rustix::fs::open(&self.partials, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => file,
            // A file system without files that have no name.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOSYS) => return Ok(()),
            Err(error) => return Err(failed(error.into())),
        };
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, SMALL_BLOB) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Makes the entries of a folder durable.
    pub(super) fn sync(&self, folder: &Path) -> Result<(), StorageError> {
        self.folders.sync(folder)
    }

    pub(super) fn object(&self, key: &str) -> Result<PathBuf, StorageError> {
        key::check(key)?;
        let (era, rest) = key.split_at(4);
        let (hours, _) = rest.split_at(2);
        Ok(self.objects.join(era).join(hours).join(key))
    }

    pub(super) fn partial(&self, name: &str) -> Result<PathBuf, StorageError> {
        key::check(name)?;
        Ok(self.partials.join(name))
    }

    pub(super) fn stat(&self, key: &str) -> Result<ObjectStat, StorageError> {
        let path = self.object(key)?;
        let metadata = fs::metadata(&path).map_err(|error| object_error("measure", key, error))?;
        Ok(stat_of(&metadata))
    }

    pub(super) fn remove_object(&self, key: &str) -> Result<(), StorageError> {
        remove(&self.object(key)?)
    }

    pub(super) fn remove_partial(&self, name: &str) -> Result<(), StorageError> {
        remove(&self.partial(name)?)
    }

    /// Gives a synced file its place as the object `key` by `place`, which links or renames it, and
    /// makes that durable.
    pub(super) fn publish(
        &self,
        key: &str,
        place: impl FnOnce(&Path) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let path = self.object(key)?;
        let folder = path.parent().unwrap_or(&self.objects);
        self.make_folder(folder)?;
        place(&path)?;
        self.sync(folder)
    }

    /// Makes `objects/xxxx/yy` durably; nothing to do nearly always.
    fn make_folder(&self, folder: &Path) -> Result<(), StorageError> {
        if folder.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(folder).map_err(at("make the folder", folder))?;
        if let Some(parent) = folder.parent() {
            self.sync(parent)?;
        }
        self.sync(&self.objects)
    }
}

/// Size and stamp of an object's file. Renaming it and giving it further names keep the stamp.
pub(super) fn stat_of(metadata: &Metadata) -> ObjectStat {
    let (size, seconds, nanoseconds) = (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    ObjectStat { size, stamp: format!("{seconds}.{nanoseconds:09}-{size}") }
}

/// An error on a path.
pub(super) fn at(action: &str, path: &Path) -> impl FnOnce(io::Error) -> StorageError {
    move |error| StorageError::io(&format!("{action} {}", path.display()), error)
}

pub(super) fn object_error(action: &str, key: &str, error: io::Error) -> StorageError {
    if error.kind() == io::ErrorKind::NotFound {
        return StorageError::new(StorageErrorKind::NotFound, format!("there is no object {key}"));
    }
    StorageError::unreadable(&format!("{action} object {key}"), error)
}

fn remove(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("remove", path)(error)),
        _ => Ok(()),
    }
}
