//! Sending a local file, several parts at a time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::PutPayload;
use object_store::multipart::{MultipartStore as _, PartId};

use super::{Bucket, upload};
use crate::{StorageError, Stored, key};

/// Bytes of a part, unless the file is so large that it would have too many.
const PART: u64 = 8 << 20;
/// Parts that a file is cut into at most; S3 takes 10 000.
const MOST_PARTS: u64 = 9_000;
/// Parts that are sent at a time.
const AT_A_TIME: usize = 4;

pub(super) async fn import(
    bucket: &Arc<Bucket>,
    source: &Path,
    size: u64,
) -> Result<Stored, StorageError> {
    let file = open(source, size).await?;
    let key = key::fresh();
    let path = bucket.object(&key)?;
    if size <= PART {
        let bytes = read(&file, source, 0, size).await?;
        let e_tag = upload::put(bucket, &path, bytes).await?;
        let stamp = bucket.stamp(&key, e_tag).await?;
        return Ok(Stored { key, size, stamp });
    }
    let failed = |action: &str, error: object_store::Error| {
        StorageError::remote(&format!("{action} {path}"), error)
    };
    let begun = bucket.s3.create_multipart(&path).await;
    let id = begun.map_err(|error| failed("begin", error))?;
    let part = PART.max(size.div_ceil(MOST_PARTS));
    let send = |number: u64| {
        let (file, path, id) = (&file, &path, &id);
        async move {
            let start = number * part;
            let bytes = read(file, source, start, part.min(size - start)).await?;
            let index = usize::try_from(number).unwrap_or(usize::MAX);
            let put = bucket.s3.put_part(path, id, index, PutPayload::from(bytes)).await;
            put.map_err(|error| StorageError::remote(&format!("store a part of {path}"), error))
        }
    };
    let sent = stream::iter((0..size.div_ceil(part)).map(send)).buffered(AT_A_TIME);
    let sent: Result<Vec<PartId>, StorageError> = sent.try_collect().await;
    let done = match sent {
        Ok(parts) => {
            let completed = bucket.s3.complete_multipart(&path, &id, parts).await;
            completed.map_err(|error| failed("complete", error))
        }
        Err(error) => Err(error),
    };
    let completed = match done {
        Ok(completed) => completed,
        Err(error) => {
            if let Err(aborting) = bucket.s3.abort_multipart(&path, &id).await {
                tracing::warn!(%path, error = %aborting, "could not abort a multipart upload");
            }
            return Err(error);
        }
    };
    let stamp = bucket.stamp(&key, completed.e_tag).await?;
    Ok(Stored { key, size, stamp })
}

async fn open(source: &Path, size: u64) -> Result<Arc<File>, StorageError> {
    let path = source.to_owned();
    let opened = tokio::task::spawn_blocking(move || {
        let file = File::open(&path)?;
        let actual = file.metadata()?.len();
        Ok::<_, io::Error>((file, actual))
    });
    let opened = opened.await.map_err(StorageError::crashed)?;
    let (file, actual) =
        opened.map_err(|error| StorageError::io(&format!("open {}", source.display()), error))?;
    if actual != size {
        let message = format!("{} has {actual} bytes, expected {size}", source.display());
        return Err(StorageError::corrupt(message));
    }
    Ok(Arc::new(file))
}

async fn read(
    file: &Arc<File>,
    source: &Path,
    start: u64,
    len: u64,
) -> Result<Bytes, StorageError> {
    let file = Arc::clone(file);
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, start)?;
        Ok::<_, io::Error>(Bytes::from(bytes))
    });
    let read = read.await.map_err(StorageError::crashed)?;
    read.map_err(|error| StorageError::io(&format!("read {}", source.display()), error))
}
