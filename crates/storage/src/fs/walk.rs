//! Walking the folders: the list of objects, and the sweep of partial ones.

use std::fs::{self, File, ReadDir};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::mpsc;

use super::layout::{Layout, at};
use crate::{StorageError, key};

type KeyStream = BoxStream<'static, Result<String, StorageError>>;

/// Keys waiting for the reader of the list.
const WAITING: usize = 1024;

pub(super) fn keys(layout: &Arc<Layout>) -> KeyStream {
    let (sender, receiver) = mpsc::channel(WAITING);
    let layout = Arc::clone(layout);
    tokio::task::spawn_blocking(move || {
        if let Err(Stop::Failed(error)) = send_keys(layout.objects(), 2, &sender) {
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

/// Sends the keys below a folder whose files lie `depth` folders down.
fn send_keys(
    folder: &Path,
    depth: u32,
    sender: &mpsc::Sender<Result<String, StorageError>>,
) -> Result<(), Stop> {
    let Some(entries) = entries(folder).map_err(Stop::Failed)? else { return Ok(()) };
    for entry in entries {
        let entry = entry.map_err(at("list", folder)).map_err(Stop::Failed)?;
        if depth > 0 {
            send_keys(&entry.path(), depth - 1, sender)?;
            continue;
        }
        match entry.file_name().into_string() {
            Ok(name) if key::is_key(&name) => {
                sender.blocking_send(Ok(name)).map_err(|_| Stop::Unheard)?;
            }
            _ => tracing::warn!(path = %entry.path().display(), "a foreign file lies in the store"),
        }
    }
    Ok(())
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
