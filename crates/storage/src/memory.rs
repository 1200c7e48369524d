//! Objects in memory: for tests and trials. Clones share their objects.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};

use crate::partial::{Live, State};
use crate::{
    BlobStore, ByteStream, ObjectStat, PartialObject, StorageError, StorageErrorKind, Stored, key,
};

/// Bytes of a piece when reading.
const PIECE: usize = 512 << 10;

/// See the module.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    objects: HashMap<String, Object>,
    /// How often an object was written.
    writes: u64,
    partials: HashMap<String, (Vec<u8>, Instant)>,
}

#[derive(Clone)]
struct Object {
    bytes: Bytes,
    stamp: String,
}

impl MemoryStore {
    /// Writes other bytes into an object, as somebody behind the store's back would.
    pub fn overwrite(&self, key: &str, bytes: Bytes) {
        self.inner().put(key, bytes);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn object(&self, key: &str) -> Result<Object, StorageError> {
        self.inner().objects.get(key).cloned().ok_or_else(|| {
            StorageError::new(StorageErrorKind::NotFound, format!("there is no object {key}"))
        })
    }

    fn add(&self, bytes: Bytes) -> Stored {
        let (key, size) = (key::fresh(), bytes.len() as u64);
        let stamp = self.inner().put(&key, bytes);
        Stored { key, size, stamp }
    }
}

impl Inner {
    /// The stamp of what was put.
    fn put(&mut self, key: &str, bytes: Bytes) -> String {
        self.writes += 1;
        let stamp = self.writes.to_string();
        self.objects.insert(key.to_owned(), Object { bytes, stamp: stamp.clone() });
        stamp
    }

    /// The bytes of a partial object, as long as it says; a longer buffer has been written by
    /// somebody else, and then `partial` goes on with a copy of its own.
    fn buffer(&mut self, partial: &mut PartialObject) -> Result<&mut Vec<u8>, StorageError> {
        if !matches!(partial.state, State::Memory) {
            return Err(StorageError::foreign("memory"));
        }
        let stored = self.partials.get(&partial.key).map_or(0, |(buffer, _)| buffer.len() as u64);
        if stored < partial.len {
            let message = format!("partial object {} is gone", partial.key);
            return Err(StorageError::new(StorageErrorKind::NotFound, message));
        }
        if stored > partial.len {
            let copy: Vec<u8> = match self.partials.get(&partial.key) {
                Some((buffer, _)) => {
                    buffer.iter().copied().zip(0..partial.len).map(|(byte, _)| byte).collect()
                }
                None => Vec::new(),
            };
            partial.key = key::fresh();
            self.partials.insert(partial.key.clone(), (copy, Instant::now()));
        }
        let entry = self.partials.entry(partial.key.clone());
        let (buffer, touched) = entry.or_insert_with(|| (Vec::new(), Instant::now()));
        *touched = Instant::now();
        Ok(buffer)
    }
}

#[async_trait]
impl BlobStore for MemoryStore {
    async fn create(&self) -> Result<PartialObject, StorageError> {
        Ok(PartialObject { key: key::fresh(), len: 0, state: State::Memory, live: Live::None })
    }

    async fn append(&self, partial: &mut PartialObject, data: Bytes) -> Result<(), StorageError> {
        self.inner().buffer(partial)?.extend_from_slice(&data);
        partial.len += data.len() as u64;
        Ok(())
    }

    async fn sync(&self, partial: &mut PartialObject) -> Result<(), StorageError> {
        self.inner().buffer(partial).map(drop)
    }

    async fn finish(&self, mut partial: PartialObject) -> Result<Stored, StorageError> {
        let bytes = std::mem::take(self.inner().buffer(&mut partial)?);
        self.inner().partials.remove(&partial.key);
        Ok(self.add(bytes.into()))
    }

    async fn abort(&self, partial: PartialObject) -> Result<(), StorageError> {
        self.inner().partials.remove(&partial.key);
        Ok(())
    }

    async fn import(&self, file: &Path, size: u64) -> Result<Stored, StorageError> {
        let path = file.to_owned();
        let read = tokio::task::spawn_blocking(move || std::fs::read(&path)).await;
        let bytes = read
            .map_err(StorageError::crashed)?
            .map_err(|error| StorageError::io(&format!("read {}", file.display()), error))?;
        if bytes.len() as u64 != size {
            let message = format!("{} has {} bytes, expected {size}", file.display(), bytes.len());
            return Err(StorageError::corrupt(message));
        }
        Ok(self.add(bytes.into()))
    }

    async fn read(
        &self,
        key: &str,
        range: Range<u64>,
        stamp: Option<&str>,
    ) -> Result<ByteStream, StorageError> {
        let Object { bytes, stamp: actual } = self.object(key)?;
        if let Some(expected) = stamp.filter(|stamp| *stamp != actual) {
            return Err(StorageError::changed(key, &actual, expected));
        }
        let ends = (usize::try_from(range.start), usize::try_from(range.end));
        match ends {
            (Ok(start), Ok(end)) if start <= end && end <= bytes.len() => {
                let pieces: Vec<_> = (start..end)
                    .step_by(PIECE)
                    .map(|at| Ok(bytes.slice(at..end.min(at + PIECE))))
                    .collect();
                Ok(ByteStream::new(stream::iter(pieces)))
            }
            _ => Err(StorageError::range(key, &range, bytes.len() as u64)),
        }
    }

    async fn stat(&self, key: &str) -> Result<ObjectStat, StorageError> {
        let object = self.object(key)?;
        Ok(ObjectStat { size: object.bytes.len() as u64, stamp: object.stamp })
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.inner().objects.remove(key);
        Ok(())
    }

    async fn list(
        &self,
    ) -> Result<BoxStream<'static, Result<crate::Object, StorageError>>, StorageError> {
        let inner = self.inner();
        let listed = inner.objects.iter().map(|(key, object)| {
            let size = object.bytes.len() as u64;
            Ok(crate::Object { key: key.clone(), size, modified: key::time(key) })
        });
        Ok(stream::iter(listed.collect::<Vec<_>>()).boxed())
    }

    async fn sweep(&self, older_than: Duration) -> Result<u64, StorageError> {
        let mut inner = self.inner();
        let before = inner.partials.len();
        inner.partials.retain(|_, (_, touched)| touched.elapsed() < older_than);
        Ok((before - inner.partials.len()) as u64)
    }

    async fn ping(&self) -> Result<(), StorageError> {
        Ok(())
    }
}
