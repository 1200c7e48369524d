//! Lists that come in pages: each names the next one in its `Link`.

use std::collections::HashSet;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method};
use url::Url;

use super::manifests::pull_scope;
use super::transport::Exchange;
use super::{ClientError, RegistryClient, link};

/// A walk over the pages of one list, within the upstream's bounds.
pub(super) struct Pages<'a> {
    client: &'a RegistryClient,
    what: &'a str,
    scope: String,
    accept: Option<&'static str>,
    /// Bytes of the largest page.
    largest: u64,
    /// Bytes so far.
    size: u64,
    read: usize,
    seen: HashSet<Url>,
}

/// One page.
pub(super) struct Page {
    pub(super) content_type: Option<String>,
    pub(super) body: Bytes,
    /// Where the next one is, or why that cannot be told.
    pub(super) next: Result<Option<Url>, ClientError>,
}

impl<'a> Pages<'a> {
    /// `what` names the list in errors.
    pub(super) fn new(client: &'a RegistryClient, repository: &str, what: &'a str) -> Self {
        let (scope, seen) = (pull_scope(repository), HashSet::new());
        Self { client, what, scope, accept: None, largest: u64::MAX, size: 0, read: 0, seen }
    }

    /// Asks for this media type.
    pub(super) fn accepting(mut self, media_type: &'static str) -> Self {
        self.accept = Some(media_type);
        self
    }

    /// Takes no page of more bytes.
    pub(super) fn of_at_most(mut self, bytes: u64) -> Self {
        self.largest = bytes;
        self
    }

    /// A page that leads to this address leads back.
    pub(super) fn passed(&mut self, url: Url) {
        self.seen.insert(url);
    }

    /// Whether no page was read yet.
    pub(super) fn is_at_start(&self) -> bool {
        self.read == 0
    }

    /// Reads a page.
    ///
    /// # Errors
    /// [`ClientError`]; `Bound` when there are more pages or bytes than this upstream may send.
    pub(super) async fn read(&mut self, url: &Url) -> Result<Page, ClientError> {
        let bounds = &self.client.config().bounds;
        let (size, most) = (bounds.list_size, bounds.list_pages);
        if self.read >= most {
            return Err(self.beyond(format!("more than {most} pages (upstream.list_pages)")));
        }
        let (client, what, accept) = (self.client, self.what, self.accept);
        let left = size.saturating_sub(self.size);
        let (most, scope) = (left.min(self.largest), &self.scope);
        let read = client.retrying(|| async move {
            let mut exchange = Exchange::new(Method::GET, url.clone(), what);
            if let Some(accept) = accept {
                exchange.headers.insert(ACCEPT, HeaderValue::from_static(accept));
            }
            let reply = client.send(exchange, scope).await?;
            let next = link::next(reply.headers());
            let content_type = reply.header(CONTENT_TYPE).map(str::to_owned);
            Ok((content_type, reply.bytes(most).await?, next))
        });
        let (content_type, body, next) = read.await.map_err(|error| match error {
            ClientError::TooLarge { .. } if left <= self.largest => {
                self.beyond(format!("larger than {size} bytes (upstream.list_size)"))
            }
            other => other,
        })?;
        self.size += body.len() as u64;
        self.read += 1;
        self.seen.insert(url.clone());
        Ok(Page { content_type, body, next: self.target(url, next) })
    }

    fn target(
        &self,
        url: &Url,
        link: Result<Option<String>, &'static str>,
    ) -> Result<Option<Url>, ClientError> {
        let link = link.map_err(|reason| ClientError::Protocol {
            what: self.what.to_owned(),
            reason: format!("the Link to its next page cannot be read: {reason}"),
        })?;
        let next = link.map(|link| self.client.on_base(url, &link, self.what)).transpose()?;
        if next.as_ref().is_some_and(|next| self.seen.contains(next)) {
            return Err(self.beyond("its pages lead in a circle".to_owned()));
        }
        Ok(next)
    }

    /// That a bound is passed.
    pub(super) fn beyond(&self, reason: String) -> ClientError {
        ClientError::Bound { what: self.what.to_owned(), reason }
    }

    /// Waits for a whole list, as long as it may take.
    ///
    /// # Errors
    /// `TooSlow`, or that of the list.
    pub(super) async fn within_time<T>(
        client: &RegistryClient,
        what: &str,
        list: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let time = client.config().bounds.list_time;
        tokio::time::timeout(time, list).await.unwrap_or_else(|_| {
            let reason = format!("not there after {} s (upstream.list_time)", time.as_secs());
            Err(ClientError::TooSlow { what: what.to_owned(), reason })
        })
    }
}
