//! Bytes on their way in: hashed as they come, once.

use std::fmt::Display;
use std::ops::Range;
use std::time::Duration;

use berth_storage::BlobStore;
use berth_types::{Algorithm, Digest, Hasher};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};

use crate::ArtifactError;

/// Hashed in one go, without letting other work in between.
const PIECE: usize = 1024 * 1024;

/// A client that sends nothing for that long is gone.
const PATIENCE: Duration = Duration::from_secs(300);

/// How a client's stream broke.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// In the words of whoever reads from the client.
    #[error("{0}")]
    Stream(String),
    #[error("nothing came for {} s", PATIENCE.as_secs())]
    Silence,
}

/// The next chunk of a client's stream: `Ok(None)` at its end.
pub(crate) async fn next_chunk<S, E>(body: &mut S) -> Result<Option<Bytes>, Broken>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Display,
{
    match tokio::time::timeout(PATIENCE, body.next()).await {
        Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
        Ok(Some(Err(error))) => Err(Broken::Stream(error.to_string())),
        Ok(None) => Ok(None),
        Err(_) => Err(Broken::Silence),
    }
}

/// Hashes a chunk of any size without keeping the thread for long.
pub(crate) async fn hash(hasher: &mut Hasher, bytes: &[u8]) {
    let mut pieces = bytes.chunks(PIECE).peekable();
    while let Some(piece) = pieces.next() {
        hasher.update(piece);
        if pieces.peek().is_some() {
            tokio::task::yield_now().await;
        }
    }
}

/// The digest of bytes in memory.
pub(crate) async fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hash(&mut hasher, bytes).await;
    hasher.finish()
}

/// The digest of a stored object: only for an upload that was hashed by another algorithm than its
/// client names in the end.
pub(crate) async fn digest_of_stored(
    store: &dyn BlobStore,
    key: &str,
    range: Range<u64>,
    algorithm: Algorithm,
) -> Result<Digest, ArtifactError> {
    let mut hasher = Hasher::new(algorithm);
    if !range.is_empty() {
        let mut stream = store.read(key, range, None).await?;
        while let Some(chunk) = stream.next().await {
            hash(&mut hasher, &chunk?).await;
        }
    }
    Ok(hasher.finish())
}
