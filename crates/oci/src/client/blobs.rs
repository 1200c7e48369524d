//! Reading blobs of an upstream: a stream that takes itself up again after faults.

use berth_types::Digest;
use bytes::{Buf as _, Bytes};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use http::{HeaderValue, Method, StatusCode};
use url::Url;

use super::dialer::chain;
use super::manifests::pull_scope;
use super::transport::{Exchange, Reply};
use super::{ClientError, RegistryClient};
use crate::Descriptor;

/// The bytes of a blob. Their number is held to the descriptor's size; their digest is for the
/// consumer to verify.
pub type BlobStream = BoxStream<'static, Result<Bytes, ClientError>>;

type Body = BoxStream<'static, Result<Bytes, reqwest::Error>>;

impl RegistryClient {
    /// Opens a blob for reading. Foreign layers' `urls` are never followed.
    ///
    /// # Errors
    /// [`ClientError`] at once when it is not there or its size differs; the stream itself fails
    /// with `Broken` when a fault outlasts the retries.
    pub async fn blob(
        &self,
        repository: &str,
        descriptor: &Descriptor,
    ) -> Result<BlobStream, ClientError> {
        let digest = &descriptor.digest;
        let mut download = Download {
            client: self.clone(),
            url: self.url(repository, &format!("blobs/{digest}"))?,
            scope: pull_scope(repository),
            what: format!("blob {digest}"),
            size: descriptor.size,
            offset: 0,
            etag: None,
            body: None,
            skip: 0,
            faults: 0,
        };
        download.open().await?;
        Ok(stream::try_unfold(download, |mut download| async move {
            Ok(download.next().await?.map(|chunk| (chunk, download)))
        })
        .boxed())
    }

    /// Whether the upstream has the blob.
    ///
    /// # Errors
    /// [`ClientError`] other than `NotFound`.
    pub async fn has_blob(&self, repository: &str, digest: &Digest) -> Result<bool, ClientError> {
        let url = &self.url(repository, &format!("blobs/{digest}"))?;
        let what = &format!("blob {digest}");
        let scope = &pull_scope(repository);
        let head = || async move {
            self.send(Exchange::new(Method::HEAD, url.clone(), what), scope).await
        };
        match self.retrying(head).await {
            Ok(_) => Ok(true),
            Err(ClientError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

struct Download {
    client: RegistryClient,
    url: Url,
    scope: String,
    what: String,
    size: u64,
    /// Bytes handed out.
    offset: u64,
    /// Strong validator of what is being read.
    etag: Option<HeaderValue>,
    body: Option<Body>,
    /// Bytes to drop because the server began at zero again.
    skip: u64,
    /// Faults since the last byte.
    faults: u32,
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            if self.offset == self.size {
                return Ok(None);
            }
            let Some(body) = &mut self.body else {
                self.open().await?;
                continue;
            };
            match body.next().await {
                Some(Ok(chunk)) => {
                    if let Some(chunk) = self.take(chunk)? {
                        return Ok(Some(chunk));
                    }
                }
                Some(Err(error)) => self.fault(chain(&error)).await?,
                None => self.fault("the reply ended early".to_owned()).await?,
            }
        }
    }

    fn take(&mut self, mut chunk: Bytes) -> Result<Option<Bytes>, ClientError> {
        let dropped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(chunk.len());
        chunk.advance(dropped);
        self.skip -= dropped as u64;
        if chunk.is_empty() {
            return Ok(None);
        }
        let end = self.offset + chunk.len() as u64;
        if end > self.size {
            return Err(ClientError::TooLarge { what: self.what.clone(), limit: self.size });
        }
        self.offset = end;
        self.faults = 0;
        Ok(Some(chunk))
    }

    async fn fault(&mut self, reason: String) -> Result<(), ClientError> {
        self.body = None;
        let error = ClientError::Broken { what: self.what.clone(), offset: self.offset, reason };
        if self.faults >= self.client.config().retry.retries {
            return Err(error);
        }
        let pause = self.client.pause(self.faults, &error).unwrap_or_default();
        self.faults += 1;
        tracing::debug!(%error, ?pause, "taking up a blob again");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Requests the rest.
    async fn open(&mut self) -> Result<(), ClientError> {
        let (client, url, what, scope) = (&self.client, &self.url, &self.what, &self.scope);
        let (offset, etag) = (self.offset, &self.etag);
        let reply = client
            .retrying(|| async move {
                let mut exchange = Exchange::new(Method::GET, url.clone(), what);
                if offset > 0 {
                    let range = HeaderValue::from_str(&format!("bytes={offset}-")).ok();
                    exchange.headers.extend(range.map(|value| (RANGE, value)));
                    exchange.headers.extend(etag.clone().map(|value| (IF_RANGE, value)));
                }
                client.send(exchange, scope).await
            })
            .await?;
        self.skip = self.position(&reply)?;
        if self.offset == 0 {
            let etag = reply.response.headers().get(ETAG);
            self.etag = etag.filter(|one| one.as_bytes().starts_with(b"\"")).cloned();
        }
        self.body = Some(reply.response.bytes_stream().boxed());
        Ok(())
    }

    /// How many bytes of the reply were handed out already.
    fn position(&self, reply: &Reply) -> Result<u64, ClientError> {
        let wrong = |reason: String| ClientError::Protocol { what: self.what.clone(), reason };
        match reply.response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = reply.header(CONTENT_RANGE).unwrap_or_default();
                let start = range.strip_prefix("bytes ").and_then(|range| range.split('-').next());
                match start.and_then(|start| start.parse::<u64>().ok()) {
                    Some(start) if start == self.offset => Ok(0),
                    _ => Err(wrong(format!("asked from byte {}, got `{range}`", self.offset))),
                }
            }
            StatusCode::OK => {
                let length = reply.header(CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
                match length {
                    Some(length) if length != self.size => Err(wrong(format!(
                        "has {length} bytes at source, but its manifest says {}",
                        self.size
                    ))),
                    _ => Ok(self.offset),
                }
            }
            other => Err(wrong(format!("unexpected answer {other}"))),
        }
    }
}
