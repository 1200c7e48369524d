//! Reading blobs of an upstream: a stream that takes itself up again after faults.

use berth_types::Digest;
use bytes::{Buf as _, Bytes};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http::header::{CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use http::{HeaderValue, Method, StatusCode};
use url::Url;

use super::bounds::Body;
use super::encoding::{Encoding, gunzip};
use super::manifests::pull_scope;
use super::transport::{Exchange, Reply};
use super::{ClientError, ClientErrorKind, RegistryClient};
use crate::Descriptor;

/// The bytes of a blob. Their number is held to the descriptor's size; their digest is for the
/// consumer to verify.
pub type BlobStream = BoxStream<'static, Result<Bytes, ClientError>>;

/// Bytes after which a fault is a new one and not one of those before.
const PROGRESS: u64 = 64 * 1024;
/// What the bytes of a blob may cost in transfers, where each fault makes the source begin again.
const MAX_REPEATS: u64 = 4;

impl RegistryClient {
    /// Opens a blob for reading. Foreign layers' `urls` are never followed.
    ///
    /// # Errors
    /// [`ClientError`] at once when it is not there or its size differs; the stream itself fails
    /// with `Broken` when a fault outlasts the retries, and with `TooSlow` below the least rate.
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
            received: 0,
            etag: None,
            body: None,
            skip: 0,
            ranges: true,
            refused: false,
            faults: 0,
            faulted_at: 0,
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
    /// Bytes that came, those that were dropped included.
    received: u64,
    /// Strong validator of what is being read.
    etag: Option<HeaderValue>,
    body: Option<Body>,
    /// Bytes to drop because the server began at zero again.
    skip: u64,
    /// Whether ranges are asked for: until one was answered wrongly.
    ranges: bool,
    /// Whether the blob was refused once.
    refused: bool,
    /// Faults since the last progress, and where the first of them was.
    faults: u32,
    faulted_at: u64,
}

/// Where the body of an answer begins.
enum Position {
    /// So many of its bytes were handed out already.
    At(u64),
    /// The range was not answered: the whole has to be asked for.
    Nowhere,
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
                Some(Err(ClientError::Broken { reason, .. })) => self.fault(reason).await?,
                Some(Err(error)) => return Err(error),
                None => self.fault("the reply ended early".to_owned()).await?,
            }
        }
    }

    fn take(&mut self, mut chunk: Bytes) -> Result<Option<Bytes>, ClientError> {
        self.received += chunk.len() as u64;
        if self.received > self.size.saturating_mul(MAX_REPEATS).saturating_add(PROGRESS) {
            let reason = format!("the source sent it {MAX_REPEATS} times and broke off each time");
            return Err(ClientError::Bound { what: self.what.clone(), reason });
        }
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
        if self.offset - self.faulted_at >= PROGRESS {
            self.faults = 0;
        }
        Ok(Some(chunk))
    }

    async fn fault(&mut self, reason: String) -> Result<(), ClientError> {
        self.body = None;
        let error = ClientError::Broken { what: self.what.clone(), offset: self.offset, reason };
        if self.faults >= self.client.config().retry.retries {
            return Err(error);
        }
        if self.faults == 0 {
            self.faulted_at = self.offset;
        }
        self.pause(self.faults, &error).await;
        self.faults += 1;
        Ok(())
    }

    async fn pause(&mut self, tries: u32, error: &ClientError) {
        let pause = self.client.wire().pause(tries, error).unwrap_or_default();
        tracing::debug!(%error, ?pause, "taking up a blob again");
        tokio::time::sleep(pause).await;
    }

    /// Requests the rest. A blob that is refused once is asked for once more: storage behind a
    /// registry is not consistent at once, and addresses that it signs run out.
    async fn open(&mut self) -> Result<(), ClientError> {
        loop {
            let reply = match self.request().await {
                Err(error) if is_refusal(&error) && !self.refused => {
                    self.refused = true;
                    self.pause(0, &error).await;
                    continue;
                }
                other => other?,
            };
            let encoding = reply.encoding()?;
            // Storage servers label blobs that are gzip themselves like this.
            let labelled = reply.content_length() == Some(self.size);
            let inflated = encoding == Encoding::Gzip && !labelled;
            match self.position(&reply, inflated)? {
                Position::Nowhere => {
                    self.ranges = false;
                    continue;
                }
                Position::At(skip) => self.skip = skip,
            }
            if self.offset == 0 {
                let etag = reply.headers().get(ETAG);
                self.etag = etag.filter(|one| one.as_bytes().starts_with(b"\"")).cloned();
            }
            let body = self.client.config().bounds.paced(&self.what, reply.body());
            self.body = Some(if inflated { gunzip(&self.what, body) } else { body });
            return Ok(());
        }
    }

    async fn request(&mut self) -> Result<Reply, ClientError> {
        let (client, url, what, scope) = (&self.client, &self.url, &self.what, &self.scope);
        let etag = &self.etag;
        let offset = if self.ranges { self.offset } else { 0 };
        let request = || async move {
            let mut exchange = Exchange::new(Method::GET, url.clone(), what);
            if offset > 0 {
                let range = HeaderValue::from_str(&format!("bytes={offset}-")).ok();
                exchange.headers.extend(range.map(|value| (RANGE, value)));
                exchange.headers.extend(etag.clone().map(|value| (IF_RANGE, value)));
            }
            client.send(exchange, scope).await
        };
        client.retrying(request).await
    }

    fn position(&self, reply: &Reply, inflated: bool) -> Result<Position, ClientError> {
        let wrong = |reason: String| ClientError::Protocol { what: self.what.clone(), reason };
        let ranged = self.ranges && self.offset > 0;
        match reply.status() {
            StatusCode::PARTIAL_CONTENT if ranged && !inflated => {
                let range = reply.header(CONTENT_RANGE).unwrap_or_default();
                let start = range.strip_prefix("bytes ").and_then(|range| range.split('-').next());
                match start.and_then(|start| start.trim().parse::<u64>().ok()) {
                    Some(start) if start == self.offset => Ok(Position::At(0)),
                    _ => Ok(Position::Nowhere),
                }
            }
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if ranged => {
                Ok(Position::Nowhere)
            }
            StatusCode::OK => match reply.content_length() {
                Some(length) if length != self.size && !inflated => Err(wrong(format!(
                    "has {length} bytes at source, but its manifest says {}",
                    self.size
                ))),
                _ => Ok(Position::At(self.offset)),
            },
            other => Err(wrong(format!("unexpected answer {other}"))),
        }
    }
}

fn is_refusal(error: &ClientError) -> bool {
    matches!(error.kind(), ClientErrorKind::NotFound | ClientErrorKind::Unauthorized)
}
