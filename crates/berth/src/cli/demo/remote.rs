//! A blob of a registry as something that is read in places, by ranged requests.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use berth_formats::ReadAt;
use reqwest::StatusCode;
use reqwest::header::RANGE;
use tokio::runtime::Handle;

/// What was asked of the registry so far.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Traffic {
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// How the registry is reached.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) http: reqwest::Client,
    /// `http://host:port`
    pub(crate) endpoint: String,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) traffic: Arc<Traffic>,
}

/// A blob behind `/v2/`; its reads block, so it is used outside the runtime.
pub(crate) struct RemoteBlob {
    access: Access,
    url: String,
    size: u64,
    runtime: Handle,
}

impl RemoteBlob {
    /// Made inside the runtime.
    pub(crate) fn new(access: &Access, repository: &str, digest: &str, size: u64) -> Self {
        let url = format!("{}/v2/{repository}/blobs/{digest}", access.endpoint);
        Self { access: access.clone(), url, size, runtime: Handle::current() }
    }

    async fn fetch(&self, first: u64, last: u64) -> anyhow::Result<bytes::Bytes> {
        let access = &self.access;
        let response = access
            .http
            .get(&self.url)
            .basic_auth(&access.username, Some(&access.password))
            .header(RANGE, format!("bytes={first}-{last}"))
            .send()
            .await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            anyhow::bail!("{} answered {}", self.url, response.status());
        }
        Ok(response.bytes().await?)
    }
}

impl ReadAt for RemoteBlob {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let Some(last) = (buffer.len() as u64).checked_sub(1) else { return Ok(()) };
        let last = offset.checked_add(last).ok_or(io::ErrorKind::InvalidInput)?;
        if last >= self.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let bytes = self.runtime.block_on(self.fetch(offset, last)).map_err(io::Error::other)?;
        if bytes.len() != buffer.len() {
            return Err(io::Error::other(format!(
                "{} gave {} bytes instead of {}",
                self.url,
                bytes.len(),
                buffer.len()
            )));
        }
        buffer.copy_from_slice(&bytes);
        self.access.traffic.requests.fetch_add(1, Ordering::Relaxed);
        self.access.traffic.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn len(&self) -> u64 {
        self.size
    }
}
