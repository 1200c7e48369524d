//! Tails: what was synced and is too small to be a part.
//!
//! A sync writes the new bytes as one more tail. One that is less than twice as long as what is new
//! is written again together with it, so that there are never more than a few, and a byte is
//! written again only as often as the tail that holds it has grown by half.

use bytes::{Bytes, BytesMut};
use futures::stream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use super::Bucket;
use super::parts::{Live, State, Tail};
use crate::{StorageError, StorageErrorKind, key};

/// Tails that are read or removed at a time.
const AT_A_TIME: usize = 4;

impl Bucket {
    fn tail(&self, name: &str) -> Result<Path, StorageError> {
        let Some((group, name)) = name.split_once('/') else {
            let message = format!("`{name}` is not the name of a tail");
            return Err(StorageError::new(StorageErrorKind::NotFound, message));
        };
        key::check(group)?;
        key::check(name)?;
        Ok(self.tails().join(group).join(name))
    }

    /// The folder of all tails.
    pub(super) fn tails(&self) -> Path {
        self.prefix.clone().join("partial")
    }

    async fn read_tail(&self, tail: &Tail) -> Result<Bytes, StorageError> {
        let path = self.tail(&tail.name)?;
        let failed = |error| StorageError::remote(&format!("read {path}"), error);
        let answer = self.s3.get(&path).await.map_err(failed)?;
        let bytes = answer.bytes().await.map_err(failed)?;
        if bytes.len() as u64 != tail.size {
            let message = format!("{path} has {} bytes, expected {}", bytes.len(), tail.size);
            return Err(StorageError::corrupt(message));
        }
        Ok(bytes)
    }

    async fn read_tails(&self, tails: &[Tail]) -> Result<BytesMut, StorageError> {
        let size: u64 = tails.iter().map(|tail| tail.size).sum();
        let mut all = BytesMut::with_capacity(usize::try_from(size).unwrap_or(0));
        let reads: Vec<_> = tails.iter().map(|tail| self.read_tail(tail)).collect();
        let mut pieces = stream::iter(reads).buffered(AT_A_TIME);
        while let Some(piece) = pieces.try_next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    /// Removes tails that nothing names any more. What stays behind is swept later.
    pub(super) async fn remove_tails(&self, names: Vec<String>) {
        let removals: Vec<_> = names.into_iter().map(|name| self.remove_tail(name)).collect();
        let mut removals = stream::iter(removals).buffer_unordered(AT_A_TIME);
        while let Some(removed) = removals.next().await {
            if let Err(error) = removed {
                tracing::warn!(%error, "a tail was left");
            }
        }
    }

    async fn remove_tail(&self, name: String) -> Result<(), StorageError> {
        self.remove(&self.tail(&name)?).await
    }
}

/// Puts the bytes of the tails before the pending ones, when they are not there yet.
pub(super) async fn load(
    bucket: &Bucket,
    state: &State,
    live: &mut Live,
) -> Result<(), StorageError> {
    if live.tails_loaded {
        return Ok(());
    }
    let mut all = bucket.read_tails(&state.tails).await?;
    all.extend_from_slice(&live.pending);
    live.pending = all;
    live.tails_loaded = true;
    Ok(())
}

/// Stores the pending bytes that no tail holds.
pub(super) async fn write(
    bucket: &Bucket,
    partial_key: &str,
    state: &mut State,
    live: &mut Live,
) -> Result<(), StorageError> {
    let held = match live.tails_loaded {
        true => usize::try_from(state.tails_len()).unwrap_or(usize::MAX),
        false => 0,
    };
    let fresh = live.pending.get(held..).unwrap_or_default();
    if fresh.is_empty() {
        return Ok(());
    }
    let keep = kept(&state.tails, fresh.len() as u64);
    let absorbed = state.tails.get(keep..).unwrap_or_default();
    let bytes = if absorbed.is_empty() {
        Bytes::copy_from_slice(fresh)
    } else if live.tails_loaded {
        let size: u64 = absorbed.iter().map(|tail| tail.size).sum();
        let start = held - usize::try_from(size).unwrap_or(held);
        Bytes::copy_from_slice(live.pending.get(start..).unwrap_or_default())
    } else {
        let mut bytes = bucket.read_tails(absorbed).await?;
        bytes.extend_from_slice(fresh);
        bytes.freeze()
    };
    let name = state.fresh_tail(partial_key);
    let size = bytes.len() as u64;
    super::upload::put(bucket, &bucket.tail(&name)?, bytes).await?;
    live.replacing.extend(state.tails.drain(keep..).map(|tail| tail.name));
    state.tails.push(Tail { name, size });
    if !live.tails_loaded {
        live.pending.clear();
    }
    Ok(())
}

/// How many of the first tails stay as they are when `fresh` bytes are added.
fn kept(tails: &[Tail], fresh: u64) -> usize {
    let (mut keep, mut size) = (tails.len(), fresh);
    for tail in tails.iter().rev() {
        if tail.size >= size.saturating_mul(2) {
            break;
        }
        size += tail.size;
        keep -= 1;
    }
    keep
}

#[cfg(test)]
mod tests {
    use super::{Tail, kept};

    /// Adds chunks until a part is full; returns the most tails at a time and the bytes written.
    fn write(chunk: u64, part: u64) -> (usize, u64) {
        let mut tails: Vec<Tail> = Vec::new();
        let (mut most, mut written, mut all) = (0, 0, 0);
        while all < part {
            let keep = kept(&tails, chunk);
            let size = chunk + tails.drain(keep..).map(|tail| tail.size).sum::<u64>();
            tails.push(Tail { name: String::new(), size });
            all += chunk;
            written += size;
            most = most.max(tails.len());
        }
        assert_eq!(tails.iter().map(|tail| tail.size).sum::<u64>(), all);
        (most, written)
    }

    #[test]
    fn tails_stay_few_and_are_seldom_rewritten() {
        let part = 8 << 20;
        let (most, written) = write(1, part);
        assert!(most <= 24 && written < 25 * part, "{most} tails, {written} bytes");
        let (most, written) = write(1 << 20, part);
        assert!(most <= 4 && written <= 4 * part, "{most} tails, {written} bytes");
        // Ever smaller chunks.
        let sizes = [4096, 4000, 3900, 3800, 2000, 1000, 999, 998, 7, 6, 5, 4];
        let mut tails: Vec<Tail> = Vec::new();
        for size in sizes {
            let keep = kept(&tails, size);
            let size = size + tails.drain(keep..).map(|tail| tail.size).sum::<u64>();
            tails.push(Tail { name: String::new(), size });
            assert!(tails.windows(2).all(|pair| pair[0].size >= 2 * pair[1].size));
        }
    }
}
