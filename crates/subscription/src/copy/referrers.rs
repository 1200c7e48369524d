//! Signatures, SBOMs and attestations: what refers to a copied image comes along with it, before its
//! tag, so that nobody finds the image here without them.
//!
//! They are found by the referrers API, else by the tag of the same meaning; cosign's tags besides.
//! A referrer that cannot be taken does not fail its image; the tag's row says so.

use std::collections::{HashSet, VecDeque};

use berth_artifacts::{ManifestPush, PushOptions};
use berth_metadata::Session;
use berth_oci::Descriptor;
use berth_oci::client::{ClientError, ClientErrorKind};
use berth_tasks::TASKS_CHANNEL;
use berth_types::{Digest, Reference, Tag};

use super::failure::CopyFailure;
use super::selection::Kept;
use super::{CopyRun, Source};
use crate::referrer::{COSIGN_ENDINGS, tag_of};

/// Most images of one tag that are asked for, and most referrers of all of them.
const MOST_IMAGES: usize = 64;
const MOST_OF_ALL: usize = 256;
/// Most bytes of one referrer's blobs.
const MOST_BYTES: u64 = 256 * 1024 * 1024;
/// Referrers of referrers are followed so far: a signature of an SBOM of an image.
const DEEPEST: usize = 2;
/// Reasons that a row names.
const NAMED: usize = 3;

/// What came along.
#[derive(Default)]
pub(super) struct Along {
    seen: HashSet<Digest>,
    new: usize,
    /// Why some did not.
    left: Vec<String>,
}

impl Along {
    /// For the tag's row; empty when there is nothing new.
    pub(super) fn words(&self) -> String {
        let mut text = String::new();
        if self.new > 0 {
            text.push_str(&format!(", {} referrers copied", self.new));
        }
        for reason in self.left.iter().take(NAMED) {
            text.push_str(&format!(", referrer not copied: {reason}"));
        }
        if self.left.len() > NAMED {
            text.push_str(&format!(", and {} more", self.left.len() - NAMED));
        }
        text
    }
}

impl CopyRun {
    /// Brings what refers to the images of a tag.
    ///
    /// # Errors
    /// A fault that another attempt may cure, or the end of the attempt.
    pub(super) async fn referrers(&self, images: Vec<Digest>) -> Result<Along, CopyFailure> {
        let mut along = Along::default();
        if !self.rule.referrers {
            return Ok(along);
        }
        let more = images.len().saturating_sub(MOST_IMAGES);
        if more > 0 {
            along.left.push(format!("{more} images of the index were not asked for"));
        }
        let first = images.first().cloned();
        let mut open: VecDeque<(Digest, usize)> =
            images.into_iter().take(MOST_IMAGES).map(|image| (image, 0)).collect();
        while let Some((image, depth)) = open.pop_front() {
            self.task.check()?;
            let listed = self.listed_referrers(&image).await;
            for referrer in self.settle(listed, &mut along)?.unwrap_or_default() {
                let digest = referrer.digest.clone();
                if !along.seen.insert(digest.clone()) {
                    continue;
                }
                if along.seen.len() > MOST_OF_ALL {
                    along.left.push(format!("more than {MOST_OF_ALL} refer to the tag"));
                    return Ok(along);
                }
                let outcome = self.referrer(&image, digest.clone()).await;
                let Some(is_new) = self.settle(outcome, &mut along)? else { continue };
                along.new += usize::from(is_new);
                if depth < DEEPEST {
                    open.push_back((digest, depth + 1));
                }
            }
            for ending in COSIGN_ENDINGS.iter().filter(|_| depth == 0) {
                if let Some(tag) = tag_of(&image, ending) {
                    let outcome = self.cosign_tag(&tag).await;
                    let is_new = self.settle(outcome, &mut along)?.unwrap_or_default();
                    along.new += usize::from(is_new);
                }
            }
        }
        if let Some(first) = first {
            self.subscription.referrers_were_asked(&self.repository.repo_id, first);
        }
        Ok(along)
    }

    /// `None`, and a word about it, when it failed for good.
    fn settle<T>(
        &self,
        outcome: Result<T, CopyFailure>,
        along: &mut Along,
    ) -> Result<Option<T>, CopyFailure> {
        match outcome {
            Ok(found) => Ok(Some(found)),
            Err(CopyFailure::Tag(reason)) => {
                along.left.push(reason);
                Ok(None)
            }
            Err(CopyFailure::Fault(reason)) if self.last_attempt => {
                along.left.push(reason);
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// What refers to an image, as the source lists it.
    async fn listed_referrers(&self, image: &Digest) -> Result<Vec<Descriptor>, CopyFailure> {
        let mut listed = None;
        if !self.subscription.is_without_referrers(&self.source) {
            listed = self.client.referrers(&self.source_repository, image).await?;
            if listed.is_none() {
                self.subscription.remember_without_referrers(&self.source);
            }
        }
        Ok(match listed {
            Some(listed) => listed,
            None => match tag_of(image, "") {
                Some(tag) if self.may_have(&tag) => {
                    let reference = Reference::Tag(tag);
                    let index = self.client.manifest(&self.source_repository, &reference).await;
                    match index {
                        Ok(index) => index.view.manifests,
                        Err(error) => absent(error).map(|()| Vec::new())?,
                    }
                }
                _ => Vec::new(),
            },
        })
    }

    /// Whether the source may have the tag: it does not when its tags were listed without it.
    fn may_have(&self, tag: &Tag) -> bool {
        self.listing.as_ref().is_none_or(|listing| listing.contains(tag.as_str()))
    }

    /// Brings one referrer by its digest; whether it was not here before.
    async fn referrer(&self, image: &Digest, digest: Digest) -> Result<bool, CopyFailure> {
        if self.has_manifest(&digest).await? {
            return Ok(false);
        }
        let manifest = self.load(&digest, false).await?;
        let subject = manifest.view.subject.as_ref().map(|subject| &subject.digest);
        if subject != Some(image) {
            return Err(CopyFailure::Tag(format!("{digest} does not refer to {image}")));
        }
        check_size(&manifest)?;
        let kept = Kept { digest, is_here: false, manifest: Some(manifest), nested: None };
        self.bring(kept).await?;
        Ok(true)
    }

    /// Brings a tag of cosign's; whether it was not here like this before.
    async fn cosign_tag(&self, tag: &Tag) -> Result<bool, CopyFailure> {
        if !self.may_have(tag) {
            return Ok(false);
        }
        let present = self.present(tag).await?;
        if present.is_some() && !self.rule.override_tags {
            return Ok(false);
        }
        // What is not here is not compared: one GET brings it, or says that there is none.
        if present.is_some() {
            let reference = Reference::Tag(tag.clone());
            match self.client.head_manifest(&self.source_repository, &reference).await {
                Ok(head) if head.digest.is_some() && head.digest == present => return Ok(false),
                Ok(_) => {}
                Err(error) => return absent(error).map(|()| false),
            }
        }
        let source = match self.source_manifest(tag, None).await {
            Ok(source) => source,
            Err(CopyFailure::Tag(_)) if self.listing.is_none() => return Ok(false),
            Err(failure) => return Err(failure),
        };
        if present.as_ref() == Some(&source.digest) {
            return Ok(false);
        }
        if source.view.is_index() {
            return Err(CopyFailure::Tag(format!("{tag} is an index")));
        }
        check_size(&source)?;
        self.image(&source.view).await?;
        let mut session = self.task.fenced().await?;
        let (media_type, reference) = (source.view.media_type, Reference::Tag(tag.clone()));
        self.subscription
            .artifacts()
            .manifests()
            .push_in(
                &mut session,
                &self.ctx,
                ManifestPush {
                    repository: &self.repository,
                    reference: &reference,
                    content_type: Some(&media_type),
                    body: source.body,
                    options: PushOptions::default(),
                },
            )
            .await?;
        session.commit().await?;
        self.subscription.db().notify(TASKS_CHANNEL);
        self.task.log(format!("{tag}: copied {}", source.digest)).await;
        Ok(true)
    }

    /// What a tag of the target points to.
    pub(super) async fn present(&self, tag: &Tag) -> Result<Option<Digest>, CopyFailure> {
        let mut session = self.subscription.db().read().await?;
        self.present_in(&mut session, tag).await
    }

    /// [`CopyRun::present`] as a session sees it.
    pub(super) async fn present_in(
        &self,
        session: &mut Session,
        tag: &Tag,
    ) -> Result<Option<Digest>, CopyFailure> {
        let tags = self.subscription.artifacts().tags();
        Ok(tags.find_in(session, &self.repository.repo_id, tag).await?)
    }
}

fn check_size(manifest: &Source) -> Result<(), CopyFailure> {
    let (size, digest) = (manifest.view.image_size(), &manifest.digest);
    if size > MOST_BYTES {
        return Err(CopyFailure::Tag(format!(
            "{digest} has {size} bytes; a referrer may have {MOST_BYTES}"
        )));
    }
    Ok(())
}

/// Not to be there is no failure of a referrer.
fn absent(error: ClientError) -> Result<(), CopyFailure> {
    match error.kind() {
        ClientErrorKind::NotFound | ClientErrorKind::Unauthorized => Ok(()),
        _ => Err(error.into()),
    }
}
