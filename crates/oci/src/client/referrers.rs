//! What refers to a manifest of an upstream (distribution-spec 1.1, "Listing Referrers").

use berth_types::Digest;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method};

use super::manifests::pull_scope;
use super::transport::Exchange;
use super::{ClientError, ClientErrorKind, RegistryClient};
use crate::{Descriptor, MAX_MANIFEST_BYTES, ManifestView, media_type};

impl RegistryClient {
    /// The manifests that refer to a digest, as the first page of the upstream's list has them;
    /// `None` when it does not answer the referrers API with an index.
    ///
    /// # Errors
    /// [`ClientError`] when the upstream cannot be asked now.
    pub async fn referrers(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<Vec<Descriptor>>, ClientError> {
        let url = &self.url(repository, &format!("referrers/{digest}"))?;
        let what = &format!("referrers of {digest}");
        let scope = &pull_scope(repository);
        let outcome = self
            .retrying(|| async move {
                let mut exchange = Exchange::new(Method::GET, url.clone(), what);
                exchange.headers.insert(ACCEPT, HeaderValue::from_static(media_type::OCI_INDEX));
                let reply = self.send(exchange, scope).await?;
                let content_type = reply.header(CONTENT_TYPE).map(str::to_owned);
                Ok((content_type, reply.bytes(MAX_MANIFEST_BYTES as u64).await?))
            })
            .await;
        match outcome {
            Ok((content_type, body)) => {
                let view = ManifestView::parse(content_type.as_deref(), &body).ok();
                Ok(view.filter(ManifestView::is_index).map(|view| view.manifests))
            }
            Err(error) => match error.kind() {
                ClientErrorKind::NotFound
                | ClientErrorKind::Invalid
                | ClientErrorKind::Unauthorized => Ok(None),
                _ => Err(error),
            },
        }
    }
}
