//! Manifests of a tag: an image as it is, an index with the children that the rule keeps.

use berth_artifacts::{ArtifactErrorKind, PushOptions};
use berth_metadata::tables::manifest;
use berth_oci::{Descriptor, ManifestView, media_type};
use berth_types::{Digest, Reference, Tag};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::blob::BlobEnd;
use super::failure::CopyFailure;
use super::{CopyRun, Ready, Source};
use crate::platforms;

/// Most children of one index.
const MAX_CHILDREN: usize = 1000;
/// Deepest nesting of indexes.
const MAX_DEPTH: usize = 3;
/// Children of one index that are copied at the same time.
const CHILDREN_AT_ONCE: usize = 4;

/// What came with a manifest.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    manifests: usize,
    downloaded: usize,
    present: usize,
    bytes: u64,
}

impl Tally {
    fn add(self, other: Self) -> Self {
        Self {
            manifests: self.manifests + other.manifests,
            downloaded: self.downloaded + other.downloaded,
            present: self.present + other.present,
            bytes: self.bytes + other.bytes,
        }
    }

    fn of(end: BlobEnd, size: u64) -> Self {
        match end {
            BlobEnd::Downloaded => Self { downloaded: 1, bytes: size, ..Self::default() },
            BlobEnd::Present => Self { present: 1, ..Self::default() },
        }
    }

    fn words(self) -> String {
        let Self { manifests, downloaded, present, bytes } = self;
        format!(
            "{manifests} manifests, {downloaded} blobs of {bytes} bytes downloaded, {present} \
             blobs present"
        )
    }
}

impl CopyRun {
    /// The manifest behind the tag; from here when the repository has it.
    pub(super) async fn source_manifest(
        &self,
        tag: &Tag,
        digest: Option<Digest>,
    ) -> Result<Source, CopyFailure> {
        let reference = digest.map_or_else(|| Reference::Tag(tag.clone()), Reference::Digest);
        if matches!(reference, Reference::Digest(_)) {
            let manifests = self.subscription.artifacts().manifests();
            match manifests.get(&self.repository.repo_id, &reference).await {
                Ok(stored) => {
                    let view = ManifestView::parse(Some(&stored.media_type), &stored.content)
                        .map_err(|error| CopyFailure::Tag(error.to_string()))?;
                    return Ok(Source { body: stored.content, view, is_here: true });
                }
                Err(error) if error.kind() == ArtifactErrorKind::ManifestUnknown => {}
                Err(error) => return Err(error.into()),
            }
        }
        let fetched = self.client.manifest(&self.source_repository, &reference).await?;
        Ok(Source { body: fetched.body, view: fetched.view, is_here: false })
    }

    /// Brings everything that the manifest names, and gives what the tag shall point to.
    pub(super) async fn fetch(&self, source: Source) -> Result<Ready, CopyFailure> {
        let Source { body, view, is_here } = source;
        let media_type = view.media_type.clone();
        if !view.is_index() {
            // A single image is taken as it is: platforms choose among several.
            let tally = if is_here { Tally::default() } else { self.image(&view).await? };
            let summary = Tally { manifests: 1, ..tally }.words();
            return Ok(Ready { body, media_type, summary });
        }
        let kept = platforms::kept(&view, &self.platforms).map_err(CopyFailure::Tag)?;
        let restricted = platforms::restrict(&body, &kept).map_err(CopyFailure::Tag)?;
        let children: Vec<Descriptor> = view
            .manifests
            .iter()
            .zip(&kept)
            .filter(|(_, kept)| **kept)
            .map(|(child, _)| child.clone())
            .collect();
        let tally = self.children(children, 1).await?;
        let tally = Tally { manifests: tally.manifests + 1, ..tally };
        let left_out = kept.iter().filter(|kept| !**kept).count();
        let mut summary = tally.words();
        if left_out > 0 {
            summary.push_str(&format!(", {left_out} of {} children left out", kept.len()));
        }
        Ok(Ready { body: restricted, media_type, summary })
    }

    async fn children(
        &self,
        children: Vec<Descriptor>,
        depth: usize,
    ) -> Result<Tally, CopyFailure> {
        if children.len() > MAX_CHILDREN || depth > MAX_DEPTH {
            return Err(CopyFailure::Tag(format!(
                "the index has {} children at depth {depth}; the limits are {MAX_CHILDREN} and \
                 {MAX_DEPTH}",
                children.len()
            )));
        }
        stream::iter(children)
            .map(|child| self.child(child, depth))
            .buffer_unordered(CHILDREN_AT_ONCE)
            .try_fold(Tally::default(), |sum, one| async move { Ok(sum.add(one)) })
            .await
    }

    /// A child with everything that it names, pushed by its digest.
    fn child(&self, child: Descriptor, depth: usize) -> BoxFuture<'_, Result<Tally, CopyFailure>> {
        Box::pin(async move {
            if !media_type::is_index(&child.media_type) && self.has_manifest(&child.digest).await? {
                return Ok(Tally { manifests: 1, ..Tally::default() });
            }
            let reference = Reference::Digest(child.digest);
            let fetched = self.client.manifest(&self.source_repository, &reference).await?;
            let tally = if fetched.view.is_index() {
                self.children(fetched.view.manifests, depth + 1).await?
            } else {
                self.image(&fetched.view).await?
            };
            self.push_child(&reference, &fetched.media_type, fetched.body).await?;
            Ok(Tally { manifests: tally.manifests + 1, ..tally })
        })
    }

    async fn image(&self, view: &ManifestView) -> Result<Tally, CopyFailure> {
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

    async fn has_manifest(&self, digest: &Digest) -> Result<bool, CopyFailure> {
        let mut session = self.subscription.db().read().await?;
        Ok(manifest::exists(&mut session, &self.repository.repo_id, digest).await?)
    }

    async fn push_child(
        &self,
        reference: &Reference,
        media_type: &str,
        body: Bytes,
    ) -> Result<(), CopyFailure> {
        self.task.check()?;
        let manifests = self.subscription.artifacts().manifests();
        let options = PushOptions::default();
        manifests
            .push(&self.ctx, &self.repository, reference, Some(media_type), body, options)
            .await?;
        Ok(())
    }
}
