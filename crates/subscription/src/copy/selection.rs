//! What a rule takes of an index, found before anything is copied: the children of its platforms,
//! through indexes in indexes, and what of them is missing here.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use berth_oci::{ConfigView, Descriptor, ManifestView, media_type};
use berth_types::{Digest, Platform};
use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::failure::CopyFailure;
use super::{CopyRun, Source};
use crate::platforms::{self, Nature};

/// Most children of one index.
const MAX_CHILDREN: usize = 1000;
/// Deepest nesting of indexes.
const MAX_DEPTH: usize = 3;
/// Most entries of all indexes of one tag, and bytes of their manifests that are held at a time.
const MAX_ENTRIES: usize = 10_000;
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Children that are looked at, or copied, at the same time.
pub(super) const CHILDREN_AT_ONCE: usize = 4;
/// Platforms that a message names.
const NAMED: usize = 10;

/// What looking at one tag may take.
#[derive(Debug, Default)]
pub(super) struct Budget {
    entries: AtomicUsize,
    bytes: AtomicUsize,
}

impl Budget {
    fn take(&self, entries: usize, bytes: usize) -> Result<(), CopyFailure> {
        let entries = self.entries.fetch_add(entries, Ordering::Relaxed) + entries;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if entries > MAX_ENTRIES || bytes > MAX_BYTES {
            return Err(CopyFailure::Tag(format!(
                "its indexes have {entries} entries and {bytes} bytes; the limits are \
                 {MAX_ENTRIES} and {MAX_BYTES}"
            )));
        }
        Ok(())
    }
}

/// A child that is kept.
pub(super) struct Kept {
    pub(super) digest: Digest,
    /// The repository has it, and with it every blob that it names.
    pub(super) is_here: bool,
    /// Its manifest, where the choice needed it.
    pub(super) manifest: Option<Source>,
    /// Of an index: what is kept of it.
    pub(super) nested: Option<Selection>,
}

/// The choice among the children of an index.
#[derive(Default)]
pub(super) struct Selection {
    /// By position in the index.
    pub(super) kept: Vec<bool>,
    pub(super) children: Vec<Kept>,
    /// Images that are kept, here and below.
    images: Vec<Digest>,
    /// Entries here and below, and those that are left out.
    entries: usize,
    left_out: usize,
    /// Platforms of the images that are left out.
    platforms: BTreeSet<String>,
}

impl Selection {
    /// Whether everything that is kept is here.
    pub(super) fn is_here(&self) -> bool {
        self.children
            .iter()
            .all(|child| child.is_here && child.nested.as_ref().is_none_or(Selection::is_here))
    }

    pub(super) fn images(&self) -> &[Digest] {
        &self.images
    }

    /// What is left out, for the tag's row; empty when nothing is.
    pub(super) fn words(&self) -> String {
        if self.left_out == 0 {
            return String::new();
        }
        let mut names: Vec<&str> = self.platforms.iter().map(String::as_str).take(NAMED).collect();
        if self.platforms.len() > NAMED {
            names.push("and others");
        }
        let names =
            if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        format!(", {} of {} children left out{names}", self.left_out, self.entries)
    }
}

/// A child whose nature is known.
struct Looked {
    nature: Nature,
    kept: Kept,
}

impl CopyRun {
    /// Chooses among the children of an index.
    ///
    /// # Errors
    /// When the index is beyond the limits, or none of its images is of the rule's platforms.
    pub(super) async fn select(&self, index: &Source) -> Result<Selection, CopyFailure> {
        let selection = self.select_in(index, 1, &Budget::default()).await?;
        if selection.images.is_empty() && !selection.platforms.is_empty() {
            let asked: Vec<&str> = self.rule.platforms.iter().map(String::as_str).collect();
            let there: Vec<&str> = selection.platforms.iter().map(String::as_str).collect();
            return Err(CopyFailure::Tag(format!(
                "no image for {} in the index; it has {}",
                asked.join(", "),
                there.join(", ")
            )));
        }
        Ok(selection)
    }

    fn select_in<'a>(
        &'a self,
        index: &'a Source,
        depth: usize,
        budget: &'a Budget,
    ) -> BoxFuture<'a, Result<Selection, CopyFailure>> {
        Box::pin(async move {
            let children = index.view.manifests.clone();
            if children.len() > MAX_CHILDREN || depth > MAX_DEPTH {
                return Err(CopyFailure::Tag(format!(
                    "the index has {} children at depth {depth}; the limits are {MAX_CHILDREN} \
                     and {MAX_DEPTH}",
                    children.len()
                )));
            }
            budget.take(children.len(), index.body.len())?;
            let absent = if index.is_here {
                let manifests = self.subscription.artifacts().manifests();
                let repo_id = &self.repository.repo_id;
                Some(manifests.absent_children(repo_id, &index.digest).await?)
            } else {
                None
            };
            let children: Vec<(Descriptor, Option<bool>)> = children
                .into_iter()
                .map(|child| {
                    let here = absent.as_ref().map(|absent| !absent.contains(&child.digest));
                    (child, here)
                })
                .collect();
            let looked: Vec<Looked> = stream::iter(children)
                .map(|(child, here)| self.look(child, here, depth, budget))
                .buffered(CHILDREN_AT_ONCE)
                .try_collect()
                .await?;
            Ok(self.choose_among(looked))
        })
    }

    fn choose_among(&self, looked: Vec<Looked>) -> Selection {
        let natures: Vec<_> = looked.iter().map(|one| (&one.kept.digest, &one.nature)).collect();
        let kept = platforms::kept(&natures, &self.platforms);
        let mut selection = Selection { entries: looked.len(), ..Selection::default() };
        for (one, is_kept) in looked.into_iter().zip(&kept) {
            if let Some(nested) = &one.kept.nested {
                selection.entries += nested.entries;
                selection.left_out += nested.left_out;
                selection.platforms.extend(nested.platforms.iter().cloned());
                selection.images.extend(nested.images.iter().cloned());
            }
            match (is_kept, &one.nature) {
                (true, Nature::Image(_)) => selection.images.push(one.kept.digest.clone()),
                (false, Nature::Image(platform)) => {
                    selection.platforms.insert(platform.to_string());
                }
                _ => {}
            }
            if *is_kept {
                selection.children.push(one.kept);
            } else {
                selection.left_out += 1;
            }
        }
        selection.kept = kept;
        selection
    }

    fn look<'a>(
        &'a self,
        child: Descriptor,
        here: Option<bool>,
        depth: usize,
        budget: &'a Budget,
    ) -> BoxFuture<'a, Result<Looked, CopyFailure>> {
        Box::pin(async move {
            let digest = child.digest.clone();
            let is_here = match here {
                Some(here) => here,
                None => self.has_manifest(&digest).await?,
            };
            let told = if media_type::is_index(&child.media_type) {
                None
            } else if platforms::all(&self.platforms) {
                // Everything comes along: what is an image matters to its signatures alone.
                let is_image = child.attestation_of().is_none()
                    && media_type::is_image_manifest(&child.media_type);
                let nowhere =
                    Platform { os: String::new(), architecture: String::new(), variant: None };
                let platform = child.platform.clone().unwrap_or(nowhere);
                Some(if is_image { Nature::Image(platform) } else { Nature::Other })
            } else {
                platforms::told(&child).or_else(|| self.subscription.known_nature(&digest))
            };
            if let Some(nature) = told {
                let kept = Kept { digest, is_here, manifest: None, nested: None };
                return Ok(Looked { nature, kept });
            }
            let manifest = self.load(&digest, is_here).await?;
            if manifest.view.is_index() {
                let nested = self.select_in(&manifest, depth + 1, budget).await?;
                let keeps = nested.entries == 0 || nested.kept.contains(&true);
                let kept = Kept { digest, is_here, manifest: Some(manifest), nested: Some(nested) };
                return Ok(Looked { nature: Nature::Index { keeps }, kept });
            }
            budget.take(0, manifest.body.len())?;
            let nature = self.judge(&manifest.view).await?;
            self.subscription.remember_nature(digest.clone(), nature.clone());
            let kept = Kept { digest, is_here, manifest: Some(manifest), nested: None };
            Ok(Looked { nature, kept })
        })
    }

    /// The nature of a manifest of which its index says nothing.
    async fn judge(&self, view: &ManifestView) -> Result<Nature, CopyFailure> {
        if let Some(subject) = &view.subject {
            return Ok(Nature::About(subject.digest.to_string()));
        }
        let Some(config) = view.config.as_ref().filter(|_| platforms::is_image(view)) else {
            return Ok(Nature::Other);
        };
        let config: Option<ConfigView> = crate::plan::config(self, config).await?;
        Ok(match config {
            Some(config) if !config.os.is_empty() => Nature::Image(config.platform()),
            _ => Nature::Other,
        })
    }
}
