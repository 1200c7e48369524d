//! Writing an object in parts.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::Bucket;
use crate::partial::{Live as PartialLive, State as PartialState};
use crate::{PartialObject, StorageError, StorageErrorKind, Stored, key};

/// The least that S3 takes as a part that is not the last.
const LEAST_PART: usize = 5 << 20;
/// Bytes of the first parts. There may be 10 000 parts, so that later ones are larger.
const PART: usize = 8 << 20;
/// After each so many parts their size doubles: 10 000 of them make 496 GiB.
const DOUBLE_AFTER: usize = 2_000;
/// Parts on their way at a time.
const IN_FLIGHT: usize = 2;

/// What must survive: together the parts and the tail are the partial object.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    upload: Option<Upload>,
    parts: Vec<Part>,
    tail: Option<Tail>,
    /// Tails that later ones replaced. They stay until the end, because a stored form of this state
    /// may name them.
    replaced: Vec<String>,
}

/// A multipart upload and the object that it will make.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Upload {
    key: String,
    id: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Part {
    id: String,
    size: u64,
}

/// Bytes after the last part, kept as an object of their own.
#[derive(Debug, Serialize, Deserialize)]
struct Tail {
    name: String,
    size: u64,
}

/// What a process holds while it writes.
pub(crate) struct Live {
    /// Bytes after the parts that are stored or on their way.
    pending: BytesMut,
    in_flight: VecDeque<JoinHandle<Result<Part, StorageError>>>,
    /// Whether the stored tail holds exactly the pending bytes.
    tail_is_true: bool,
}

impl Drop for Live {
    fn drop(&mut self) {
        for part in &self.in_flight {
            part.abort();
        }
    }
}

impl State {
    fn len(&self) -> u64 {
        let tail = self.tail.as_ref().map_or(0, |tail| tail.size);
        self.parts.iter().map(|part| part.size).sum::<u64>() + tail
    }

    fn tails(&self) -> impl Iterator<Item = &String> {
        self.replaced.iter().chain(self.tail.as_ref().map(|tail| &tail.name))
    }
}

pub(super) async fn append(
    bucket: &Arc<Bucket>,
    partial: &mut PartialObject,
    data: &Bytes,
) -> Result<(), StorageError> {
    let (_, live) = open(bucket, partial).await?;
    live.pending.extend_from_slice(data);
    live.tail_is_true &= data.is_empty();
    // Counted before anything is waited for, so that a part that is lost when the waiting is given
    // up is missed later.
    partial.len += data.len() as u64;
    let PartialObject { state: PartialState::S3(state), live: PartialLive::S3(live), .. } = partial
    else {
        return Err(StorageError::foreign("S3"));
    };
    loop {
        let number = state.parts.len() + live.in_flight.len();
        let size = PART << (number / DOUBLE_AFTER).min(8);
        if live.pending.len() < size {
            break;
        }
        let part = live.pending.split_to(size).freeze();
        send(bucket, state, live, part).await?;
    }
    Ok(())
}

pub(super) async fn sync(
    bucket: &Arc<Bucket>,
    partial: &mut PartialObject,
) -> Result<(), StorageError> {
    let len = partial.len;
    let (state, live) = open(bucket, partial).await?;
    if live.pending.len() >= LEAST_PART {
        let part = live.pending.split().freeze();
        send(bucket, state, live, part).await?;
    }
    arrive(state, live, 0).await?;
    if !live.tail_is_true {
        state.replaced.extend(state.tail.take().map(|tail| tail.name));
        if !live.pending.is_empty() {
            let name = key::fresh();
            let bytes = Bytes::copy_from_slice(&live.pending);
            let size = bytes.len() as u64;
            put(bucket, &bucket.tail(&name)?, bytes).await?;
            state.tail = Some(Tail { name, size });
        }
        live.tail_is_true = true;
    }
    if state.len() != len {
        return Err(miscounted(&partial.key, state_len(partial), len));
    }
    Ok(())
}

pub(super) async fn finish(
    bucket: &Arc<Bucket>,
    mut partial: PartialObject,
) -> Result<Stored, StorageError> {
    let len = partial.len;
    let (state, live) = open(bucket, &mut partial).await?;
    let rest = live.pending.split().freeze();
    let (key, e_tag) = match state.upload.clone() {
        None => {
            if rest.len() as u64 != len {
                return Err(miscounted(&partial.key, rest.len() as u64, len));
            }
            let key = key::fresh();
            let e_tag = put(bucket, &bucket.object(&key)?, rest).await?;
            (key, e_tag)
        }
        Some(upload) => {
            if !rest.is_empty() {
                send(bucket, state, live, rest).await?;
            }
            arrive(state, live, 0).await?;
            let size = state.parts.iter().map(|part| part.size).sum::<u64>();
            if size != len {
                return Err(miscounted(&partial.key, size, len));
            }
            let parts = state.parts.iter().map(|part| PartId { content_id: part.id.clone() });
            let path = bucket.object(&upload.key)?;
            let done = bucket.s3.complete_multipart(&path, &upload.id, parts.collect()).await;
            let done =
                done.map_err(|error| StorageError::remote(&format!("complete {path}"), &error))?;
            (upload.key, done.e_tag)
        }
    };
    let stamp = bucket.stamp(&key, e_tag).await?;
    // The object is whole; a tail that stays behind is swept later.
    if let Err(error) = remove_tails(bucket, &partial).await {
        tracing::warn!(%error, "could not remove the tails of a finished object");
    }
    Ok(Stored { key, size: len, stamp })
}

pub(super) async fn abort(
    bucket: &Arc<Bucket>,
    mut partial: PartialObject,
) -> Result<(), StorageError> {
    partial.live = PartialLive::None;
    let PartialState::S3(state) = &partial.state else { return Err(StorageError::foreign("S3")) };
    if let Some(upload) = &state.upload {
        let path = bucket.object(&upload.key)?;
        match bucket.s3.abort_multipart(&path, &upload.id).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(StorageError::remote(&format!("abort {path}"), &error)),
        }
    }
    remove_tails(bucket, &partial).await
}

async fn remove_tails(bucket: &Bucket, partial: &PartialObject) -> Result<(), StorageError> {
    let PartialState::S3(state) = &partial.state else { return Ok(()) };
    for name in state.tails() {
        bucket.remove(&bucket.tail(name)?).await?;
    }
    Ok(())
}

/// The two halves of a partial object; loads its tail when this process does not have it.
async fn open<'a>(
    bucket: &Bucket,
    partial: &'a mut PartialObject,
) -> Result<(&'a mut State, &'a mut Live), StorageError> {
    let PartialObject { key, len, state: PartialState::S3(state), live } = partial else {
        return Err(StorageError::foreign("S3"));
    };
    if matches!(live, PartialLive::None) {
        if state.len() != *len {
            return Err(miscounted(key, state.len(), *len));
        }
        let pending = match &state.tail {
            Some(tail) => load(bucket, tail).await?,
            None => BytesMut::new(),
        };
        *live = PartialLive::S3(Box::new(Live {
            pending,
            in_flight: VecDeque::new(),
            tail_is_true: true,
        }));
    }
    match live {
        PartialLive::S3(live) => Ok((state, live)),
        _ => Err(StorageError::foreign("S3")),
    }
}

async fn load(bucket: &Bucket, tail: &Tail) -> Result<BytesMut, StorageError> {
    let path = bucket.tail(&tail.name)?;
    let failed = |error| StorageError::remote(&format!("read {path}"), &error);
    let answer = bucket.s3.get(&path).await.map_err(failed)?;
    if answer.meta.size != tail.size {
        return Err(miscounted(&tail.name, answer.meta.size, tail.size));
    }
    Ok(BytesMut::from(answer.bytes().await.map_err(failed)?))
}

/// Starts the sending of a part, once there is room among those in flight.
async fn send(
    bucket: &Arc<Bucket>,
    state: &mut State,
    live: &mut Live,
    bytes: Bytes,
) -> Result<(), StorageError> {
    let upload = match &state.upload {
        Some(upload) => upload.clone(),
        None => {
            let upload = begin(bucket).await?;
            state.upload.insert(upload).clone()
        }
    };
    arrive(state, live, IN_FLIGHT - 1).await?;
    let number = state.parts.len() + live.in_flight.len();
    let path = bucket.object(&upload.key)?;
    let bucket = Arc::clone(bucket);
    live.in_flight.push_back(tokio::spawn(async move {
        put_part(&bucket, &path, &upload.id, number, bytes).await
    }));
    Ok(())
}

async fn begin(bucket: &Bucket) -> Result<Upload, StorageError> {
    let key = key::fresh();
    let id = bucket.s3.create_multipart(&bucket.object(&key)?).await;
    let id = id.map_err(|error| StorageError::remote("begin a multipart upload", &error))?;
    Ok(Upload { key, id })
}

/// Waits until no more than `left` parts are on their way.
async fn arrive(state: &mut State, live: &mut Live, left: usize) -> Result<(), StorageError> {
    while live.in_flight.len() > left {
        let Some(first) = live.in_flight.front_mut() else { break };
        let part = first.await;
        live.in_flight.pop_front();
        state.parts.push(part.map_err(|error| StorageError::crashed(&error))??);
    }
    Ok(())
}

async fn put_part(
    bucket: &Bucket,
    path: &Path,
    id: &String,
    number: usize,
    bytes: Bytes,
) -> Result<Part, StorageError> {
    let size = bytes.len() as u64;
    let put = bucket.s3.put_part(path, id, number, PutPayload::from(bytes)).await;
    let part = put.map_err(|error| {
        StorageError::remote(&format!("store part {} of {path}", number + 1), &error)
    })?;
    Ok(Part { id: part.content_id, size })
}

/// Stores an object in one request, and returns its entity tag.
pub(super) async fn put(
    bucket: &Bucket,
    path: &Path,
    bytes: Bytes,
) -> Result<Option<String>, StorageError> {
    let put = bucket.s3.put(path, PutPayload::from(bytes)).await;
    put.map(|put| put.e_tag).map_err(|error| StorageError::remote(&format!("store {path}"), &error))
}

fn state_len(partial: &PartialObject) -> u64 {
    match &partial.state {
        PartialState::S3(state) => state.len(),
        _ => 0,
    }
}

fn miscounted(name: &str, actual: u64, expected: u64) -> StorageError {
    let message = format!("partial object {name} has {actual} bytes, expected {expected}");
    StorageError::new(StorageErrorKind::Corrupt, message)
}
