//! What is to be built from a source: the images that a manifest or index leads to, and what is left
//! out with its reason.

mod gather;

use std::collections::HashMap;

use berth_oci::{Descriptor, ManifestKind, ManifestView, media_type};
use berth_types::{Digest, Platform};
use serde_json::Value;

pub use gather::Gathering;

use crate::accelerated::{self, AcceleratedFormat};

/// Indexes in indexes are followed so far: real ones have two levels.
pub const MAX_DEPTH: usize = 8;

/// Manifests that one root may lead to: a bound on what a push makes us read.
pub const MAX_MANIFESTS: usize = 512;

/// Entries of all indexes that are looked at: indexes may name each other many times.
const MAX_ENTRIES: usize = 16_384;

/// Layers that the OverlayBD drivers of a node open at most (overlaybd, its stack of layers).
pub const MAX_LAYERS: usize = 255;

/// Why a manifest is not built, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotBuildable {
    /// Something else than a container image for Linux: a chart, a signature, a broken document.
    #[error("{0}")]
    NotAnImage(String),
    /// It is the result of a conversion, ours or another's.
    #[error("it is an accelerated image already ({})", .0.name())]
    Accelerated(AcceleratedFormat),
    /// A container image that cannot be accelerated.
    #[error("{0}")]
    Impossible(String),
}

/// One image that is built.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// As the nearest index names it; the root's own when it is an image.
    pub descriptor: Descriptor,
    /// The platform exactly as the index has it, with fields that no view knows; that of an outer
    /// index when the inner one has none.
    pub platform: Option<Value>,
    pub view: ManifestView,
    pub content: Vec<u8>,
}

impl Leaf {
    /// The platform as far as it is compared.
    pub fn platform_view(&self) -> Option<Platform> {
        platform_view(self.platform.as_ref()?)
    }
}

/// What is not built, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub digest: Digest,
    pub reason: String,
}

/// Everything that a root leads to.
#[derive(Debug, Clone)]
pub struct Plan {
    pub root: ManifestView,
    /// In the order of the index; one for each time that an index names it.
    pub leaves: Vec<Leaf>,
    pub left_out: Vec<LeftOut>,
}

/// Manifests that were brought before, by digest; what is missing is not here.
pub type Manifests = HashMap<Digest, Vec<u8>>;

/// What an image's manifest must be to be a leaf.
pub type Judge = fn(&ManifestView) -> Result<(), NotBuildable>;

/// What is to be built from a root, given the manifests that it leads to (see [`Gathering`]).
///
/// # Errors
/// [`NotBuildable`] when nothing is: the reason of the root itself, or that of the index.
pub fn make(
    media_type: &str,
    content: &[u8],
    manifests: &Manifests,
    judge: Judge,
) -> Result<Plan, NotBuildable> {
    let root = ManifestView::parse(Some(media_type), content)
        .map_err(|error| NotBuildable::NotAnImage(error.to_string()))?;
    let mut walk = Walk {
        manifests,
        judge,
        entries: 0,
        leaves: Vec::new(),
        left_out: Vec::new(),
        found: None,
    };
    if root.kind == ManifestKind::Image {
        judge(&root)?;
        let descriptor =
            Descriptor::new(&root.media_type, Digest::sha256(content), content.len() as u64);
        let content = content.to_vec();
        let leaf = Leaf { descriptor, platform: None, view: root.clone(), content };
        return Ok(Plan { root, leaves: vec![leaf], left_out: Vec::new() });
    }
    walk.index(&root, content, None, 1)?;
    let Walk { leaves, left_out, found, .. } = walk;
    match (leaves.is_empty(), found) {
        (false, _) => Ok(Plan { root, leaves, left_out }),
        (true, Some(format)) => Err(NotBuildable::Accelerated(format)),
        (true, None) => {
            Err(NotBuildable::NotAnImage("the index has no image for Linux".to_owned()))
        }
    }
}

/// The children of one index whose manifests [`make`] reads.
fn wanted(view: &ManifestView) -> impl Iterator<Item = &Descriptor> {
    view.manifests.iter().filter(|child| child_reason(child).is_none())
}

struct Walk<'a> {
    manifests: &'a Manifests,
    judge: Judge,
    entries: usize,
    leaves: Vec<Leaf>,
    left_out: Vec<LeftOut>,
    /// An accelerated image that was seen.
    found: Option<AcceleratedFormat>,
}

impl Walk<'_> {
    fn index(
        &mut self,
        view: &ManifestView,
        content: &[u8],
        outer: Option<&Value>,
        depth: usize,
    ) -> Result<(), NotBuildable> {
        let document: Value = serde_json::from_slice(content)
            .map_err(|error| NotBuildable::NotAnImage(error.to_string()))?;
        let entries = document.get("manifests").and_then(Value::as_array);
        for (position, child) in view.manifests.iter().enumerate() {
            let named = entries.and_then(|entries| entries.get(position)?.get("platform"));
            let named = named.filter(|platform| platform_view(platform).is_some());
            self.child(child, named.or(outer), depth)?;
        }
        Ok(())
    }

    fn child(
        &mut self,
        child: &Descriptor,
        platform: Option<&Value>,
        depth: usize,
    ) -> Result<(), NotBuildable> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(too_many());
        }
        if let Some(reason) = child_reason(child) {
            self.leave_out(child, reason);
            return Ok(());
        }
        let Some(content) = self.manifests.get(&child.digest) else {
            self.leave_out(child, "it is not here".to_owned());
            return Ok(());
        };
        let view = match ManifestView::parse(Some(&child.media_type), content) {
            Ok(view) => view,
            Err(error) => {
                self.leave_out(child, error.to_string());
                return Ok(());
            }
        };
        if view.kind == ManifestKind::Index {
            if depth >= MAX_DEPTH {
                return Err(NotBuildable::Impossible(format!(
                    "indexes lie in each other more than {MAX_DEPTH} deep"
                )));
            }
            return self.index(&view, content, platform, depth + 1);
        }
        match (self.judge)(&view) {
            Ok(()) => {}
            Err(NotBuildable::Impossible(reason)) => {
                let reason = format!("manifest {}: {reason}", child.digest);
                return Err(NotBuildable::Impossible(reason));
            }
            Err(other) => {
                if let NotBuildable::Accelerated(format) = &other {
                    self.found.get_or_insert(*format);
                }
                self.leave_out(child, other.to_string());
                return Ok(());
            }
        }
        if self.leaves.len() >= MAX_MANIFESTS {
            return Err(too_many());
        }
        self.leaves.push(Leaf {
            descriptor: child.clone(),
            platform: platform.cloned(),
            view,
            content: content.clone(),
        });
        Ok(())
    }

    fn leave_out(&mut self, child: &Descriptor, reason: String) {
        self.left_out.push(LeftOut { digest: child.digest.clone(), reason });
    }
}

/// That a root leads to more than [`MAX_MANIFESTS`] manifests.
fn too_many() -> NotBuildable {
    NotBuildable::Impossible(format!("it leads to more than {MAX_MANIFESTS} manifests"))
}

/// Why a child of an index is left out by what the index itself says of it.
fn child_reason(child: &Descriptor) -> Option<String> {
    if child.attestation_of().is_some() {
        return Some("an attestation, which belongs to the source".to_owned());
    }
    let known =
        media_type::is_image_manifest(&child.media_type) || media_type::is_index(&child.media_type);
    if !known {
        return Some(format!("media type {} is not an image", child.media_type));
    }
    match &child.platform {
        Some(platform) if !is_linux(&platform.os) => {
            Some(format!("images for {} have no Linux file system", platform.os))
        }
        _ => None,
    }
}

/// Whether nodes take `os` for Linux: in any case of letters, and when it says nothing.
pub fn is_linux(os: &str) -> bool {
    os.is_empty() || os.eq_ignore_ascii_case("linux")
}

/// The platform of an index entry; `None` for one that says nothing.
fn platform_view(platform: &Value) -> Option<Platform> {
    let text = |name: &str| platform.get(name).and_then(Value::as_str).unwrap_or_default();
    let (os, architecture, variant) = (text("os"), text("architecture"), text("variant"));
    (!os.is_empty() || !architecture.is_empty()).then(|| Platform {
        os: os.to_owned(),
        architecture: architecture.to_owned(),
        variant: (!variant.is_empty()).then(|| variant.to_owned()),
    })
}

/// Whether an image manifest holds a root file system that can be accelerated and is not yet.
///
/// # Errors
/// The reason when it does not.
pub fn check_image(view: &ManifestView) -> Result<(), NotBuildable> {
    if let Some(format) = accelerated::format_of(view) {
        return Err(NotBuildable::Accelerated(format));
    }
    check_container(view)?;
    match view.layers.len() {
        0..=MAX_LAYERS => Ok(()),
        count => Err(NotBuildable::Impossible(format!(
            "the image has {count} layers; a node opens at most {MAX_LAYERS} of an accelerated image"
        ))),
    }
}

/// Whether an image manifest holds a root file system, accelerated or not.
///
/// # Errors
/// The reason when it does not.
pub fn check_container(view: &ManifestView) -> Result<(), NotBuildable> {
    let other = |reason: String| Err(NotBuildable::NotAnImage(reason));
    let Some(config) = &view.config else {
        return other("the manifest has no config".to_owned());
    };
    if view.image_config_type().is_none() {
        return other(format!("its config is a {}", config.media_type));
    }
    if view.layers.is_empty() {
        return other("it has no layers".to_owned());
    }
    let strange =
        view.layers.iter().find(|layer| !media_type::is_file_system_layer(&layer.media_type));
    match strange {
        Some(layer) => other(format!("its layer {} is a {}", layer.digest, layer.media_type)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
