//! What refers to a manifest of an upstream (distribution-spec 1.1, "Listing Referrers").

use berth_types::Digest;

use super::pages::{Page, Pages};
use super::{ClientError, ClientErrorKind, RegistryClient};
use crate::{Descriptor, MAX_MANIFEST_BYTES, ManifestView, media_type};

impl RegistryClient {
    /// The manifests that refer to a digest, over all pages of the upstream's list; `None` when it does
    /// not answer the referrers API with an index.
    ///
    /// # Errors
    /// [`ClientError`] when the upstream cannot be asked now, or a later page is not what the first
    /// one promised; `Bound` when the list is larger than this upstream's may be.
    pub async fn referrers(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<Vec<Descriptor>>, ClientError> {
        let url = self.url(repository, &format!("referrers/{digest}"))?;
        let what = &format!("referrers of {digest}");
        let pages = Pages::new(self, repository, what).accepting(media_type::OCI_INDEX);
        let mut pages = pages.of_at_most(MAX_MANIFEST_BYTES as u64);
        Pages::within_time(self, what, async {
            let first = match pages.read(&url).await {
                Ok(page) => page,
                Err(error) => {
                    return match error.kind() {
                        ClientErrorKind::NotFound
                        | ClientErrorKind::Invalid
                        | ClientErrorKind::Unauthorized => Ok(None),
                        _ => Err(error),
                    };
                }
            };
            let Some(mut found) = listed(&first) else { return Ok(None) };
            let mut next = first.next?;
            while let Some(url) = next {
                let page = pages.read(&url).await?;
                let reason = "a page of it is no index".to_owned();
                found.extend(
                    listed(&page)
                        .ok_or_else(|| ClientError::Protocol { what: what.clone(), reason })?,
                );
                next = page.next?;
            }
            Ok(Some(found))
        })
        .await
    }
}

/// What a page lists, when it is an index.
fn listed(page: &Page) -> Option<Vec<Descriptor>> {
    let view = ManifestView::parse(page.content_type.as_deref(), &page.body).ok()?;
    view.is_index().then_some(view.manifests)
}
