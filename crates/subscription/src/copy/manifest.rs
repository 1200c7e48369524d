//! Manifests: read from here or from the source, and brought with everything that they name.

use berth_artifacts::{ArtifactErrorKind, ManifestPush, PushOptions};
use berth_oci::{Descriptor, ManifestView};
use berth_types::{Digest, Reference, Tag};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::failure::CopyFailure;
use super::selection::{CHILDREN_AT_ONCE, Kept, Selection};
use super::tally::Tally;
use super::{CopyRun, Source};

impl CopyRun {
    /// The manifest behind the tag; from here when the repository has it. Without a digest it is
    /// asked for by its tag, which takes one request where a HEAD would take two.
    pub(super) async fn source_manifest(
        &self,
        tag: &Tag,
        digest: Option<Digest>,
    ) -> Result<Source, CopyFailure> {
        if let Some(digest) = digest
            && self.has_manifest(&digest).await?
        {
            return self.load(&digest, true).await;
        }
        // By tag: what a HEAD names is not always there under that name.
        let reference = Reference::Tag(tag.clone());
        let fetched = self.client.manifest(&self.source_repository, &reference).await?;
        let is_here = self.has_manifest(&fetched.digest).await?;
        let (digest, body, view) = (fetched.digest, fetched.body, fetched.view);
        Ok(Source { digest, body, view, is_here })
    }

    /// The manifest of a digest.
    pub(super) async fn load(&self, digest: &Digest, is_here: bool) -> Result<Source, CopyFailure> {
        let reference = Reference::Digest(digest.clone());
        if is_here {
            let manifests = self.subscription.artifacts().manifests();
            match manifests.get(&self.repository.repo_id, &reference).await {
                Ok(stored) => {
                    let view = ManifestView::parse(Some(&stored.media_type), &stored.content)
                        .map_err(|error| CopyFailure::Tag(error.to_string()))?;
                    let (digest, body) = (stored.digest, stored.content);
                    return Ok(Source { digest, body, view, is_here: true });
                }
                // Deleted meanwhile.
                Err(error) if error.kind() == ArtifactErrorKind::ManifestUnknown => {}
                Err(error) => return Err(error.into()),
            }
        }
        let fetched = self.client.manifest(&self.source_repository, &reference).await?;
        let (digest, body, view) = (fetched.digest, fetched.body, fetched.view);
        Ok(Source { digest, body, view, is_here: false })
    }

    pub(super) async fn has_manifest(&self, digest: &Digest) -> Result<bool, CopyFailure> {
        let manifests = self.subscription.artifacts().manifests();
        Ok(manifests.exists(&self.repository.repo_id, digest).await?)
    }

    /// Brings the kept children of an index.
    pub(super) async fn children(&self, selection: Selection) -> Result<Tally, CopyFailure> {
        stream::iter(selection.children)
            .map(|child| self.bring(child))
            .buffer_unordered(CHILDREN_AT_ONCE)
            .try_fold(Tally::default(), |sum, one| async move { Ok(sum.add(one)) })
            .await
    }

    /// Brings a manifest with everything that it names, pushed by its digest.
    pub(super) fn bring(&self, kept: Kept) -> BoxFuture<'_, Result<Tally, CopyFailure>> {
        Box::pin(async move {
            let Kept { digest, is_here, manifest, nested } = kept;
            if is_here && nested.is_none() {
                return Ok(Tally::HERE);
            }
            let source = match manifest {
                Some(manifest) => manifest,
                None => self.load(&digest, is_here).await?,
            };
            let below = match nested {
                Some(nested) => self.children(nested).await?,
                // An index although its descriptor says otherwise, or one that refers to an image.
                None if source.view.is_index() => {
                    let nested = self.select(&source).await?;
                    self.children(nested).await?
                }
                None => self.image(&source.view).await?,
            };
            if source.is_here && below.new == 0 {
                return Ok(below.add(Tally::HERE));
            }
            let media_type = source.view.media_type.clone();
            let reference = Reference::Digest(digest);
            self.push_child(&reference, &media_type, source.body).await?;
            Ok(below.add(Tally { new: usize::from(!source.is_here), ..Tally::HERE }))
        })
    }

    /// Brings the blobs of an image.
    pub(super) async fn image(&self, view: &ManifestView) -> Result<Tally, CopyFailure> {
        let blobs: Vec<Descriptor> = view.blobs().into_iter().cloned().collect();
        let at_once = blobs.len().max(1);
        stream::iter(blobs)
            .map(|blob| async move {
                let end = self.blob(&blob).await?;
                Ok(Tally::of(end, blob.size))
            })
            // Downloads are bounded for the whole run.
            .buffer_unordered(at_once.min(64))
            .try_fold(Tally::default(), |sum, one| async move { Ok(sum.add(one)) })
            .await
    }

    async fn push_child(
        &self,
        reference: &Reference,
        media_type: &str,
        body: Bytes,
    ) -> Result<(), CopyFailure> {
        self.task.check()?;
        let manifests = self.subscription.artifacts().manifests();
        let push = ManifestPush {
            repository: &self.repository,
            reference,
            content_type: Some(media_type),
            body,
            options: PushOptions::default(),
        };
        manifests.push(&self.ctx, push).await?;
        Ok(())
    }
}
