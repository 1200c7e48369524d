//! Walking the folders: the list of objects, and the sweep of partial ones.

use std::fs::{self, DirEntry, File, ReadDir};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use berth_types::Millis;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::mpsc;

use super::layout::{Layout, at};
use crate::{Object, StorageError, key};

type ObjectStream = BoxStream<'static, Result<Object, StorageError>>;

/// Objects waiting for the reader of the list.
const WAITING: usize = 1024;

pub(super) fn objects(layout: &Arc<Layout>) -> ObjectStream {
    let (sender, receiver) = mpsc::channel(WAITING);
    let layout = Arc::clone(layout);
    tokio::task::spawn_blocking(move || {
        if let Err(Stop::Failed(error)) = send_objects(layout.objects(), 2, &sender) {
            // When nobody listens any more, nobody wants the error.
            let _ = sender.blocking_send(Err(error));
        }
    });
    stream::unfold(receiver, |mut receiver| async move {
        let item = receiver.recv().await?;
        Some((item, receiver))
    })
    .boxed()
}

enum Stop {
    Failed(StorageError),
    Unheard,
}

/// Sends the objects below a folder whose files lie `depth` folders down.
fn send_objects(
    folder: &Path,
    depth: u32,
    sender: &mpsc::Sender<Result<Object, StorageError>>,
) -> Result<(), Stop> {
    let Some(entries) = entries(folder).map_err(Stop::Failed)? else { return Ok(()) };
    for entry in entries {
        let entry = entry.map_err(at("list", folder)).map_err(Stop::Failed)?;
        if depth > 0 {
            send_objects(&entry.path(), depth - 1, sender)?;
            continue;
        }
        match entry.file_name().into_string() {
            Ok(name) if key::is_key(&name) => {
                if let Some(object) = object(name, &entry).map_err(Stop::Failed)? {
                    sender.blocking_send(Ok(object)).map_err(|_| Stop::Unheard)?;
                }
            }
            _ => tracing::warn!(path = %entry.path().display(), "a foreign file lies in the store"),
        }
    }
    Ok(())
}

/// The object of a file; none when it was removed meanwhile.
fn object(key: String, entry: &DirEntry) -> Result<Option<Object>, StorageError> {
    let metadata = match entry.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(at("measure", &entry.path()))?,
    };
    // The file may be older than the object, which then shares its bytes.
    let modified = millis(metadata.modified().map_err(at("measure", &entry.path()))?);
    let modified = modified.max(key::time(&key));
    Ok(Some(Object { key, size: metadata.len(), modified }))
}

fn millis(time: SystemTime) -> Millis {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// The entries of a folder; none when it is gone or no folder.
fn entries(folder: &Path) -> Result<Option<ReadDir>, StorageError> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(Some(entries)),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(at("list", folder)(error)),
    }
}

/// Removes partial files that are old and that nobody is writing.
pub(super) fn sweep(layout: &Layout, older_than: Duration) -> Result<u64, StorageError> {
    let mut removed = 0;
    let Some(entries) = entries(layout.partials())? else { return Ok(0) };
    for entry in entries {
        let entry = entry.map_err(at("list", layout.partials()))?;
        let path = entry.path();
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(at("open", &path))?,
        };
        let metadata = file.metadata().map_err(at("measure", &path))?;
        let modified = metadata.modified().map_err(at("measure", &path))?;
        if age(modified) >= older_than && file.try_lock().is_ok() {
            fs::remove_file(&path).map_err(at("remove", &path))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// How long ago a file was written, by the machine's clock, as its time stamp is.
fn age(modified: SystemTime) -> Duration {
    modified.elapsed().unwrap_or_default()
}
