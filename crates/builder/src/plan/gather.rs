//! Brings the manifests that a root leads to, wherever they are kept: the caller looks each up.

use std::collections::HashSet;

use berth_oci::{Descriptor, ManifestView};
use berth_types::Digest;

use super::{MAX_MANIFESTS, Manifests, NotBuildable, too_many, wanted};

/// Bytes of all these manifests together.
const MAX_BYTES: usize = 64 << 20;

/// Manifests on their way: ask [`Gathering::ask`] what to look up, answer with
/// [`Gathering::found`], until there is nothing more.
#[derive(Debug, Default)]
pub struct Gathering {
    manifests: Manifests,
    pending: Vec<Descriptor>,
    asked: HashSet<Digest>,
    bytes: usize,
}

impl Gathering {
    /// Begins at a root of any kind.
    pub fn of(media_type: &str, content: &[u8]) -> Self {
        let mut gathering = Self::default();
        gathering.follow(media_type, content);
        gathering
    }

    /// The next manifest to look up; each digest once.
    pub fn ask(&mut self) -> Option<Descriptor> {
        if self.is_too_much() { None } else { self.pending.pop() }
    }

    /// The bytes of a manifest that is here. One that is not needs no answer.
    pub fn found(&mut self, descriptor: &Descriptor, content: Vec<u8>) {
        self.bytes = self.bytes.saturating_add(content.len());
        self.follow(&descriptor.media_type, &content);
        self.manifests.insert(descriptor.digest.clone(), content);
    }

    /// Everything that was found.
    ///
    /// # Errors
    /// When the root leads to more than anybody means.
    pub fn finish(self) -> Result<Manifests, NotBuildable> {
        if self.is_too_much() { Err(too_many()) } else { Ok(self.manifests) }
    }

    fn is_too_much(&self) -> bool {
        self.asked.len() > MAX_MANIFESTS || self.bytes > MAX_BYTES
    }

    fn follow(&mut self, media_type: &str, content: &[u8]) {
        let Ok(view) = ManifestView::parse(Some(media_type), content) else { return };
        for child in wanted(&view) {
            if self.asked.insert(child.digest.clone()) {
                self.pending.push(child.clone());
            }
        }
    }
}
