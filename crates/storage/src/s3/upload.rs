//! Writing an object in parts.

use std::sync::Arc;

use bytes::Bytes;
use object_store::multipart::MultipartStore as _;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};

use super::parts::{Live, State, Upload, part_size};
use super::{Bucket, tails};
use crate::partial::{Live as PartialLive, State as PartialState};
use crate::{PartialObject, StorageError, Stored, key};

/// Gives a writer part numbers of its own when others may know the multipart upload.
pub(super) fn resume(partial: &mut PartialObject) -> bool {
    let PartialObject { state: PartialState::S3(state), live, .. } = partial else {
        return false;
    };
    let numbers = state.give_numbers();
    let changed = numbers.is_some();
    match live {
        PartialLive::S3(live) => live.renew(numbers),
        _ => *live = PartialLive::S3(Box::new(Live::new(state, numbers))),
    }
    changed
}

pub(super) async fn append(
    bucket: &Arc<Bucket>,
    partial: &mut PartialObject,
    data: &Bytes,
) -> Result<(), StorageError> {
    // Counted before anything is waited for, so that a part that is lost when the waiting is given
    // up is missed later.
    let (_, live) = open(partial)?;
    live.pending.extend_from_slice(data);
    partial.len += data.len() as u64;
    let (state, live) = open(partial)?;
    loop {
        let unloaded = if live.tails_loaded { 0 } else { state.tails_len() };
        let size = part_size(live.next_number());
        if unloaded + (live.pending.len() as u64) < size as u64 {
            return Ok(());
        }
        tails::load(bucket, state, live).await?;
        send(bucket, state, live, size).await?;
    }
}

pub(super) async fn sync(
    bucket: &Arc<Bucket>,
    partial: &mut PartialObject,
) -> Result<(), StorageError> {
    let (len, partial_key) = (partial.len, partial.key.clone());
    let (state, live) = open(partial)?;
    live.in_flight.arrive(&mut state.parts, 0).await?;
    tails::write(bucket, &partial_key, state, live).await?;
    if state.len() != len {
        return Err(miscounted(&partial_key, state.len(), len));
    }
    state.give_back(live.next_number());
    let replacing = std::mem::take(&mut live.replacing);
    // The checkpoint that named these is no longer the one that counts: the one after it was stored.
    let outdated = std::mem::replace(&mut state.replaced, replacing);
    bucket.remove_tails(outdated).await;
    Ok(())
}

pub(super) async fn finish(
    bucket: &Arc<Bucket>,
    mut partial: PartialObject,
) -> Result<Stored, StorageError> {
    let (len, partial_key) = (partial.len, partial.key.clone());
    let (state, live) = open(&mut partial)?;
    tails::load(bucket, state, live).await?;
    let Some(upload) = state.upload.clone() else {
        let rest = live.pending.split().freeze();
        if rest.len() as u64 != len {
            return Err(miscounted(&partial_key, rest.len() as u64, len));
        }
        let key = key::fresh();
        let e_tag = put(bucket, &bucket.object(&key)?, rest).await?;
        let stamp = bucket.stamp(&key, e_tag).await?;
        return Ok(Stored { key, size: len, stamp });
    };
    if !live.pending.is_empty() {
        let rest = live.pending.len();
        send(bucket, state, live, rest).await?;
    }
    live.in_flight.arrive(&mut state.parts, 0).await?;
    let size = state.parts.iter().map(|part| part.size).sum::<u64>();
    if size != len {
        return Err(miscounted(&partial_key, size, len));
    }
    let e_tag = bucket.complete(&upload, &state.parts).await?;
    let stamp = bucket.stamp(&upload.key, e_tag).await?;
    Ok(Stored { key: upload.key, size: len, stamp })
}

/// What the multipart upload of a checkpoint has become.
pub(super) async fn finished(
    bucket: &Bucket,
    checkpoint: &PartialObject,
) -> Result<Option<Stored>, StorageError> {
    let PartialState::S3(State { upload: Some(upload), .. }) = &checkpoint.state else {
        return Ok(None);
    };
    bucket.found(&upload.key).await
}

/// Removes the tails, which [`finish`] leaves until its outcome is stored.
pub(super) async fn tidy(bucket: &Bucket, checkpoint: &PartialObject) -> Result<(), StorageError> {
    let PartialState::S3(state) = &checkpoint.state else {
        return Err(StorageError::foreign("S3"));
    };
    bucket.remove_tails(state.tail_names().cloned().collect()).await;
    Ok(())
}

pub(super) async fn abort(bucket: &Bucket, partial: PartialObject) -> Result<(), StorageError> {
    let PartialObject { state: PartialState::S3(state), live, .. } = partial else {
        return Err(StorageError::foreign("S3"));
    };
    let mut names: Vec<String> = state.tail_names().cloned().collect();
    if let PartialLive::S3(mut live) = live {
        names.append(&mut live.replacing);
    }
    if let Some(upload) = &state.upload {
        bucket.abort(upload).await?;
    }
    bucket.remove_tails(names).await;
    Ok(())
}

/// The two halves of a partial object.
fn open(partial: &mut PartialObject) -> Result<(&mut State, &mut Live), StorageError> {
    let PartialObject { key, len, state: PartialState::S3(state), live } = partial else {
        return Err(StorageError::foreign("S3"));
    };
    if matches!(live, PartialLive::None) {
        if state.len() != *len {
            return Err(miscounted(key, state.len(), *len));
        }
        *live = PartialLive::S3(Box::new(Live::new(state, None)));
    }
    match live {
        PartialLive::S3(live) => Ok((state, live)),
        _ => Err(StorageError::foreign("S3")),
    }
}

/// Starts to send the first `size` pending bytes, all tails among them, as a part.
async fn send(
    bucket: &Arc<Bucket>,
    state: &mut State,
    live: &mut Live,
    size: usize,
) -> Result<(), StorageError> {
    let number = live.take_number()?;
    let upload = match &state.upload {
        Some(upload) => upload.clone(),
        None => {
            let upload = begin(bucket).await?;
            state.upload.insert(upload).clone()
        }
    };
    let part = live.pending.split_to(size).freeze();
    live.replacing.extend(state.tails.drain(..).map(|tail| tail.name));
    live.in_flight.send(bucket, &upload, number, part, &mut state.parts).await
}

async fn begin(bucket: &Bucket) -> Result<Upload, StorageError> {
    let key = key::fresh();
    let id = bucket.s3.create_multipart(&bucket.object(&key)?).await;
    let id = id.map_err(|error| StorageError::remote("begin a multipart upload", error))?;
    Ok(Upload { key, id })
}

/// Stores an object in one request, and returns its entity tag.
pub(super) async fn put(
    bucket: &Bucket,
    path: &Path,
    bytes: Bytes,
) -> Result<Option<String>, StorageError> {
    let put = bucket.s3.put(path, PutPayload::from(bytes)).await;
    put.map(|put| put.e_tag).map_err(|error| StorageError::remote(&format!("store {path}"), error))
}

fn miscounted(name: &str, actual: u64, expected: u64) -> StorageError {
    StorageError::corrupt(format!("partial object {name} has {actual} bytes, expected {expected}"))
}
