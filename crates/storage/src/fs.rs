//! Objects as files in a folder.
//!
//! `objects/<first four digits of the key>/<next two>/<key>` and, until finished,
//! `partial/<name>`. The key begins with the time, so that a new folder comes every four hours or
//! so, no folder grows without end, and a push seldom waits for the making of one.
//!
//! A partial object is one file that grows at its end. Whoever writes it holds its lock; who finds
//! it locked, or longer than it left it, goes on with a copy, so that bytes once synced never change
//! under the one who synced them.

mod files;
mod folders;
mod layout;
mod pace;
mod pieces;
mod read;
mod walk;
mod write;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::partial::{Live as PartialLive, State as PartialState};
use crate::{BlobStore, ByteStream, Object, ObjectStat, PartialObject, StorageError, Stored, key};
use files::Files;
use layout::Layout;
pub(crate) use write::{Live, State};

/// See the module.
#[derive(Clone)]
pub struct FolderStore {
    layout: Arc<Layout>,
    /// Kept open between reads.
    files: Arc<Files>,
}

impl FolderStore {
    /// Opens the folder, and makes it when it is not there.
    pub async fn open(folder: &Path) -> Result<Self, StorageError> {
        let layout = Arc::new(Layout::new(folder));
        blocking(&layout, Layout::prepare).await?;
        Ok(Self { layout, files: Arc::default() })
    }
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(
    layout: &Arc<Layout>,
    work: impl FnOnce(&Layout) -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    let layout = Arc::clone(layout);
    let done = tokio::task::spawn_blocking(move || work(&layout)).await;
    done.map_err(StorageError::crashed)?
}

#[async_trait]
impl BlobStore for FolderStore {
    async fn create(&self) -> Result<PartialObject, StorageError> {
        let key = key::fresh();
        let state = PartialState::Folder(State { file: key.clone() });
        Ok(PartialObject { key, len: 0, state, live: PartialLive::None })
    }

    async fn append(&self, partial: &mut PartialObject, data: Bytes) -> Result<(), StorageError> {
        write::append(&self.layout, partial, data).await
    }

    async fn sync(&self, partial: &mut PartialObject) -> Result<(), StorageError> {
        write::sync(&self.layout, partial).await
    }

    async fn finish(&self, partial: PartialObject) -> Result<Stored, StorageError> {
        write::finish(&self.layout, partial).await
    }

    async fn finished(&self, checkpoint: &PartialObject) -> Result<Option<Stored>, StorageError> {
        let PartialState::Folder(state) = &checkpoint.state else {
            return Err(StorageError::foreign("folder"));
        };
        let name = state.file.clone();
        blocking(&self.layout, move |layout| write::finished(layout, name)).await
    }

    async fn abort(&self, mut partial: PartialObject) -> Result<(), StorageError> {
        write::settle(&mut partial).await;
        let PartialState::Folder(state) = &partial.state else {
            return Err(StorageError::foreign("folder"));
        };
        let name = state.file.clone();
        blocking(&self.layout, move |layout| layout.remove_partial(&name)).await
    }

    async fn import(&self, file: &Path, size: u64) -> Result<Stored, StorageError> {
        let file = file.to_owned();
        blocking(&self.layout, move |layout| write::import(layout, &file, size)).await
    }

    async fn read(
        &self,
        key: &str,
        range: Range<u64>,
        stamp: Option<&str>,
    ) -> Result<ByteStream, StorageError> {
        read::range(self, key, range, stamp).await.map(ByteStream::from)
    }

    async fn stat(&self, key: &str) -> Result<ObjectStat, StorageError> {
        let key = key.to_owned();
        blocking(&self.layout, move |layout| layout.stat(&key)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let owned_key = key.to_owned();
        let removed = blocking(&self.layout, move |layout| layout.remove_object(&owned_key)).await;
        // After the removal: a read before it may have opened the file once more.
        self.files.remove(key);
        removed
    }

    async fn list(&self) -> Result<BoxStream<'static, Result<Object, StorageError>>, StorageError> {
        Ok(walk::objects(&self.layout))
    }

    async fn sweep(&self, older_than: Duration) -> Result<u64, StorageError> {
        let files = Arc::clone(&self.files);
        blocking(&self.layout, move |layout| {
            // Those that another process removed.
            files.retain(read::has_name);
            walk::sweep(layout, older_than)
        })
        .await
    }

    async fn ping(&self) -> Result<(), StorageError> {
        blocking(&self.layout, Layout::check).await
    }
}
