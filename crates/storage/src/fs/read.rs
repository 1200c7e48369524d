//! Reading: which file, and that it is the one that was written.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use rustix::fs::fstat;

use super::files::{Mark, Opened};
use super::layout::{Layout, object_error, stat_of};
use super::{FolderStore, blocking};
use crate::{FileRange, StorageError};

pub(super) async fn range(
    store: &FolderStore,
    key: &str,
    range: Range<u64>,
    stamp: Option<&str>,
) -> Result<FileRange, StorageError> {
    let opened = match store.files.get(key).filter(|opened| is_as_opened(opened)) {
        Some(opened) => opened,
        None => {
            store.files.remove(key);
            let owned_key = key.to_owned();
            let opened = blocking(&store.layout, move |layout| open(layout, &owned_key)).await?;
            let opened = Arc::new(opened);
            store.files.insert(&opened);
            opened
        }
    };
    if let Some(expected) = stamp.filter(|expected| *expected != opened.stamp) {
        return Err(StorageError::changed(key, &opened.stamp, expected));
    }
    if range.start > range.end || range.end > opened.mark.size {
        return Err(StorageError::range(key, &range, opened.mark.size));
    }
    Ok(FileRange::new(Arc::clone(&opened.file), Arc::clone(&opened.key), range))
}

fn open(layout: &Layout, key: &str) -> Result<Opened, StorageError> {
    let path = layout.object(key)?;
    let file = File::open(&path).map_err(|error| object_error("open", key, error))?;
    let metadata = file.metadata().map_err(|error| object_error("measure", key, error))?;
    Ok(Opened {
        key: key.into(),
        file: Arc::new(file),
        mark: mark_of(&metadata),
        stamp: stat_of(&metadata).stamp,
    })
}

fn mark_of(metadata: &std::fs::Metadata) -> Mark {
    use std::os::unix::fs::MetadataExt as _;
    Mark { size: metadata.len(), seconds: metadata.mtime(), nanoseconds: metadata.mtime_nsec() }
}

/// Whether nobody wrote to the file since it was opened, and it still has a name. Asks the kernel
/// about an open file, which needs no disk.
fn is_as_opened(opened: &Opened) -> bool {
    fstat(&*opened.file).is_ok_and(|stat| {
        let now = Mark {
            size: u64::try_from(stat.st_size).unwrap_or(u64::MAX),
            seconds: stat.st_mtime,
            nanoseconds: i64::try_from(stat.st_mtime_nsec).unwrap_or(i64::MAX),
        };
        stat.st_nlink > 0 && now == opened.mark
    })
}

/// Whether the file still has a name.
pub(super) fn has_name(file: &File) -> bool {
    fstat(file).is_ok_and(|stat| stat.st_nlink > 0)
}
