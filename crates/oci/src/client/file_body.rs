//! A file as a request body, read in large blocks off the async threads.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;
use futures::stream;

use super::ClientError;

const BLOCK: usize = 1024 * 1024;

/// Opens the file; it is read as the body is sent.
pub(crate) async fn open(path: &Path) -> Result<reqwest::Body, ClientError> {
    let shown = path.display().to_string();
    let path = path.to_owned();
    let file = blocking(move || File::open(path))
        .await
        .map_err(|error| ClientError::Protocol { what: shown, reason: error.to_string() })?;
    let blocks = stream::try_unfold(file, |mut file| {
        blocking(move || {
            let mut block = vec![0; BLOCK];
            let count = file.read(&mut block)?;
            block.truncate(count);
            Ok((count > 0).then(|| (Bytes::from(block), file)))
        })
    });
    Ok(reqwest::Body::wrap_stream(blocks))
}

async fn blocking<T, F>(work: F) -> std::io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> std::io::Result<T> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
