//! Writing: partial objects, and files taken over whole.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::blocking;
use super::layout::{Layout, at, stat_of};
use super::pieces::{begin_writeback, write_all_at};
use crate::partial::{Live as PartialLive, State as PartialState};
use crate::{ObjectStat, PartialObject, StorageError, StorageErrorKind, Stored, key};

/// Bytes gathered before they are written in one go: as many as a connection takes at a time.
const BATCH: usize = 256 << 10;
/// Pieces gathered at most.
const PIECES: usize = 1024;
/// The disk is given what was written every so many bytes.
const WRITEBACK: u64 = 8 << 20;

/// What must survive.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// Name in the folder of partial objects.
    pub(super) file: String,
}

/// A partial object's open, locked file, and what is on its way into it.
pub(crate) struct Live {
    file: Arc<File>,
    /// Bytes that are durable.
    durable: u64,
    /// Bytes written or being written.
    handed_over: u64,
    /// Of those, given to the disk.
    written_back: u64,
    gathered: Vec<Bytes>,
    gathered_len: usize,
    /// A write that may wait for the disk.
    writing: Option<JoinHandle<io::Result<()>>>,
    /// The disk being given its work.
    giving: Option<JoinHandle<()>>,
    /// Whether the file's name is durable.
    named: bool,
}

pub(super) async fn append(
    layout: &Arc<Layout>,
    partial: &mut PartialObject,
    data: Bytes,
) -> Result<(), StorageError> {
    if data.is_empty() {
        return Ok(());
    }
    let live = open(layout, partial).await?;
    let len = data.len();
    live.gathered_len += len;
    live.gathered.push(data);
    let full = live.gathered_len >= BATCH || live.gathered.len() >= PIECES;
    // Counted before anything is waited for, so that it is true when the waiting is given up.
    partial.len += len as u64;
    if full {
        let done = open(layout, partial).await?.hand_over(layout).await;
        checked(partial, done)?;
    }
    Ok(())
}

pub(super) async fn sync(
    layout: &Arc<Layout>,
    partial: &mut PartialObject,
) -> Result<(), StorageError> {
    if partial.len == 0 {
        // A checkpoint without bytes names no file.
        return Ok(());
    }
    let live = open(layout, partial).await?;
    let done = live.drain(layout).await;
    let (file, named) = (Arc::clone(&live.file), live.named);
    checked(partial, done)?;
    let synced = blocking(layout, move |layout| {
        file.sync_data().map_err(at("make durable a file in", layout.partials()))?;
        if named { Ok(()) } else { layout.sync(layout.partials()) }
    });
    synced.await?;
    if let PartialLive::Folder(live) = &mut partial.live {
        live.named = true;
        live.durable = partial.len;
    }
    Ok(())
}

pub(super) async fn finish(
    layout: &Arc<Layout>,
    mut partial: PartialObject,
) -> Result<Stored, StorageError> {
    let live = open(layout, &mut partial).await?;
    let done = live.drain(layout).await;
    let file = Arc::clone(&live.file);
    checked(&mut partial, done)?;
    let PartialState::Folder(State { file: name }) = &partial.state else {
        return Err(StorageError::foreign("folder"));
    };
    let (name, size) = (name.clone(), partial.len);
    blocking(layout, move |layout| {
        let from = layout.partial(&name)?;
        file.sync_data().map_err(at("make durable", &from))?;
        let stamp = stat_of(&file.metadata().map_err(at("measure", &from))?).stamp;
        let key = publish_partial(layout, name, &from)?;
        Ok(Stored { key, size, stamp })
    })
    .await
}

/// Makes the file of a partial object an object under the same name, so that who comes after a crash
/// finds it by the checkpoint. Should there be one already, it gets another name.
fn publish_partial(layout: &Layout, name: String, from: &Path) -> Result<String, StorageError> {
    let mut taken = false;
    layout.publish(&name, |path| match rename_new(from, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            taken = true;
            Ok(())
        }
        other => other.map_err(at("finish", from)),
    })?;
    if !taken {
        return Ok(name);
    }
    let key = key::fresh();
    layout.publish(&key, |path| rename_new(from, path).map_err(at("finish", from)))?;
    Ok(key)
}

/// Renames, but never over another file.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system without the flag.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if !to.exists() => {
            fs::rename(from, to)
        }
        other => Ok(other?),
    }
}

/// The object that the file of a checkpoint became.
pub(super) fn finished(layout: &Layout, name: String) -> Result<Option<Stored>, StorageError> {
    match layout.stat(&name) {
        Ok(ObjectStat { size, stamp }) => Ok(Some(Stored { key: name, size, stamp })),
        Err(error) if error.kind() == StorageErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits for a write that is under way and closes the file, whatever became of it.
pub(super) async fn settle(partial: &mut PartialObject) {
    if let PartialLive::Folder(live) = &mut partial.live {
        // The partial object is being thrown away.
        let _ = live.written().await;
    }
    partial.live = PartialLive::None;
}

/// Forgets the open file after an error: the partial object then says that it is longer than its
/// file, and every later use fails. Of a full disk the file gives back what is not durable, so that
/// whoever resumes the checkpoint goes on with the file as it is.
fn checked(partial: &mut PartialObject, done: io::Result<()>) -> Result<(), StorageError> {
    done.map_err(|error| {
        let error = StorageError::io(&format!("write partial object {}", partial.key), error);
        if error.kind() == StorageErrorKind::Full
            && let PartialLive::Folder(live) = &partial.live
            && let Err(error) = live.file.set_len(live.durable)
        {
            tracing::warn!(key = partial.key, %error, "a partial object keeps what is not durable");
        }
        partial.live = PartialLive::None;
        error
    })
}

impl Live {
    fn new(file: File, len: u64, named: bool) -> Self {
        Self {
            file: Arc::new(file),
            durable: if named { len } else { 0 },
            handed_over: len,
            written_back: len,
            gathered: Vec::new(),
            gathered_len: 0,
            writing: None,
            giving: None,
            named,
        }
    }

    /// Waits for the write that is under way.
    async fn written(&mut self) -> io::Result<()> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        let done = writing.await;
        self.writing = None;
        done.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Waits until the disk has taken the work that it was given last.
    async fn given(&mut self) {
        if let Some(giving) = &mut self.giving {
            // Nothing is lost with it: the sync in the end takes longer.
            let _ = giving.await;
            self.giving = None;
        }
    }

    /// Writes what was gathered, once the write before is done: here, or where it may wait.
    async fn hand_over(&mut self, layout: &Arc<Layout>) -> io::Result<()> {
        self.written().await?;
        if self.gathered.is_empty() {
            return Ok(());
        }
        if self.handed_over - self.written_back >= WRITEBACK {
            self.given().await;
            let (file, range) = (Arc::clone(&self.file), self.written_back..self.handed_over);
            self.written_back = self.handed_over;
            self.giving = Some(tokio::task::spawn_blocking(move || begin_writeback(&file, &range)));
        }
        let pieces = std::mem::take(&mut self.gathered);
        let (offset, len) = (self.handed_over, std::mem::take(&mut self.gathered_len));
        self.handed_over += len as u64;
        if layout.pace().is_quick(len) {
            return layout.pace().of(len, || write_all_at(&self.file, &pieces, offset));
        }
        let (file, layout) = (Arc::clone(&self.file), Arc::clone(layout));
        self.writing = Some(tokio::task::spawn_blocking(move || {
            layout.pace().of(len, || write_all_at(&file, &pieces, offset))
        }));
        Ok(())
    }

    async fn drain(&mut self, layout: &Arc<Layout>) -> io::Result<()> {
        self.hand_over(layout).await?;
        self.given().await;
        self.written().await
    }
}

/// The live part of a partial object; opens its file when this process does not have it.
async fn open<'a>(
    layout: &Arc<Layout>,
    partial: &'a mut PartialObject,
) -> Result<&'a mut Live, StorageError> {
    let PartialState::Folder(state) = &mut partial.state else {
        return Err(StorageError::foreign("folder"));
    };
    if matches!(partial.live, PartialLive::None) {
        let (name, len) = (state.file.clone(), partial.len);
        let resumed = blocking(layout, move |layout| resume(layout, name, len));
        let (name, live) = resumed.await?;
        state.file = name;
        partial.live = PartialLive::Folder(Box::new(live));
    }
    match &mut partial.live {
        PartialLive::Folder(live) => Ok(live),
        _ => Err(StorageError::foreign("folder")),
    }
}

/// Opens and locks the file `name`, which holds `len` bytes of ours, or a copy of those under a new
/// name when somebody else writes it or has written more.
///
/// A checkpoint without bytes gets a file of its own: what it names may have been finished by another.
fn resume(layout: &Layout, name: String, len: u64) -> Result<(String, Live), StorageError> {
    if len == 0 {
        let name = key::fresh();
        let file = create(&layout.partial(&name)?)?;
        return Ok((name, Live::new(file, 0, false)));
    }
    let path = layout.partial(&name)?;
    let opened = OpenOptions::new().read(true).write(true).open(&path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!("partial object {name} is gone");
            return Err(StorageError::new(StorageErrorKind::NotFound, message));
        }
        other => other.map_err(at("open", &path))?,
    };
    let ours = match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(error)) => return Err(at("lock", &path)(error)),
    };
    let metadata = file.metadata().map_err(at("measure", &path))?;
    let stored = metadata.len();
    if stored < len {
        let message = format!("partial object {name} has {stored} bytes, expected {len}");
        return Err(StorageError::corrupt(message));
    }
    // Between the opening and the lock the one before us may have finished it: renamed it away.
    let same_file =
        |other: Metadata| other.ino() == metadata.ino() && other.dev() == metadata.dev();
    if ours && stored == len && fs::metadata(&path).is_ok_and(same_file) {
        return Ok((name, Live::new(file, len, true)));
    }
    let copied_from = name;
    let name = key::fresh();
    tracing::debug!(copied_from, name, len, "somebody else has a partial object; copying it");
    let copy = copied(&layout.partial(&name)?, &mut (&file).take(len))?;
    Ok((name, Live::new(copy, len, false)))
}

/// A new file with these bytes; none when they do not fit.
fn copied(path: &Path, from: &mut impl io::Read) -> Result<File, StorageError> {
    let mut copy = create(path)?;
    if let Err(error) = io::copy(from, &mut copy) {
        // What is left of it would be in the way of what is to fit.
        let _ = fs::remove_file(path);
        return Err(at("write", path)(error));
    }
    Ok(copy)
}

/// A new file, locked.
fn create(path: &Path) -> Result<File, StorageError> {
    let opened = OpenOptions::new().read(true).write(true).create_new(true).open(path);
    let file = opened.map_err(at("make", path))?;
    file.try_lock().map_err(io::Error::from).map_err(at("lock", path))?;
    Ok(file)
}

/// Makes an object of a finished file: another name of it, or a copy when it is on another file
/// system.
pub(super) fn import(layout: &Layout, source: &Path, size: u64) -> Result<Stored, StorageError> {
    let mut file = File::open(source).map_err(at("open", source))?;
    let metadata = file.metadata().map_err(at("measure", source))?;
    let actual = metadata.len();
    if actual != size {
        let message = format!("{} has {actual} bytes, expected {size}", source.display());
        return Err(StorageError::corrupt(message));
    }
    file.sync_data().map_err(at("make durable", source))?;
    let key = key::fresh();
    let mut stamp = stat_of(&metadata).stamp;
    let mut linked = false;
    layout.publish(&key, |path| {
        linked = fs::hard_link(source, path).is_ok();
        Ok(())
    })?;
    if !linked {
        let partial = layout.partial(&key)?;
        let copy = copied(&partial, &mut file)?;
        copy.sync_data().map_err(at("make durable", &partial))?;
        stamp = stat_of(&copy.metadata().map_err(at("measure", &partial))?).stamp;
        layout.publish(&key, |path| fs::rename(&partial, path).map_err(at("finish", &partial)))?;
    }
    Ok(Stored { key, size, stamp })
}
