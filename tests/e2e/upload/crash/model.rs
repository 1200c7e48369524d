//! What a client knows about its repository: what was acknowledged, and what it cannot know because
//! the server was gone before it answered.

use berth_testkit::registry::sha256;
use berth_testkit::upload::Upload;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use std::collections::BTreeMap;

/// Content that can be made again from little.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    seed: u64,
    size: usize,
}

impl Content {
    /// Mostly small, some larger than what a store takes at once, now and then nothing.
    pub(crate) fn random(random: &mut StdRng) -> Content {
        let size = match random.random_range(0..100) {
            0 => 0,
            1..=69 => random.random_range(1..64 << 10),
            70..=94 => random.random_range(64 << 10..2 << 20),
            _ => random.random_range(2 << 20..20 << 20),
        };
        Content { seed: random.random(), size }
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut bytes = vec![0; self.size];
        StdRng::seed_from_u64(self.seed).fill_bytes(&mut bytes);
        bytes
    }
}

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Present,
    /// An answer was lost: it may have come or gone.
    Unsure,
}

#[derive(Debug, Clone)]
pub(crate) struct Blob {
    pub(crate) content: Content,
    pub(crate) known: Known,
}

#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) body: Vec<u8>,
    pub(crate) blobs: Vec<String>,
    pub(crate) known: Known,
}

/// An upload that was not ended.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) upload: Upload,
    pub(crate) content: Content,
    pub(crate) digest: String,
    /// Bytes of which the server said that it has them.
    pub(crate) acknowledged: u64,
    /// Bytes that it may have.
    pub(crate) sent: u64,
    /// Whether a request was under way that would end it, or throw it away.
    pub(crate) ending: Option<Ending>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Put,
    Cancel,
}

/// The tags that a client moves.
pub(crate) const TAGS: [&str; 4] = ["v1", "v2", "v3", "latest"];

/// A repository that one client alone changes.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) blobs: BTreeMap<String, Blob>,
    pub(crate) manifests: BTreeMap<String, Manifest>,
    /// What a tag may name; nothing it may be when `None` is among it.
    pub(crate) tags: BTreeMap<&'static str, Vec<Option<String>>>,
    pub(crate) sessions: Vec<Session>,
}

impl Model {
    pub(crate) fn pushed(&mut self, content: Content, digest: &str, known: Known) {
        let blob = self.blobs.entry(digest.to_owned()).or_insert(Blob { content, known });
        if known == Known::Present {
            blob.known = known;
        }
    }

    /// A blob that is there for certain.
    pub(crate) fn some_blob(&self, random: &mut StdRng) -> Option<(String, Content)> {
        let present = self.blobs.iter().filter(|(_, blob)| blob.known == Known::Present);
        let present: Vec<_> = present.collect();
        let chosen = present.get(random.random_range(0..present.len().max(1)))?;
        Some((chosen.0.clone(), chosen.1.content))
    }

    /// Whether a manifest that may be there names the blob.
    pub(crate) fn is_named(&self, digest: &str) -> bool {
        self.manifests.values().any(|manifest| manifest.blobs.iter().any(|blob| blob == digest))
    }

    /// What a tag may name; nothing when it was never set.
    pub(crate) fn tag(&self, tag: &str) -> Vec<Option<String>> {
        self.tags.get(tag).cloned().unwrap_or_else(|| vec![None])
    }

    /// The manifest is gone, and every tag that named it.
    pub(crate) fn manifest_deleted(&mut self, digest: &str) {
        self.manifests.remove(digest);
        for candidates in self.tags.values_mut() {
            for candidate in candidates.iter_mut().filter(|one| one.as_deref() == Some(digest)) {
                *candidate = None;
            }
            candidates.dedup();
        }
    }

    /// A new manifest of blobs that are there.
    pub(crate) fn new_manifest(&self, random: &mut StdRng) -> Option<(String, Manifest)> {
        let mut blobs = Vec::new();
        for _ in 0..random.random_range(1..4) {
            blobs.push(self.some_blob(random)?);
        }
        let describe = |(digest, content): &(String, Content)| {
            format!(
                r#"{{"mediaType":"application/octet-stream","digest":"{digest}","size":{}}}"#,
                content.size
            )
        };
        let layers: Vec<String> = blobs.iter().skip(1).map(describe).collect();
        let body = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}],"annotations":{{"n":"{}"}}}}"#,
            describe(blobs.first()?),
            layers.join(","),
            random.random::<u64>(),
        );
        let body = body.into_bytes();
        let blobs = blobs.into_iter().map(|(digest, _)| digest).collect();
        Some((sha256(&body), Manifest { body, blobs, known: Known::Unsure }))
    }
}

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
