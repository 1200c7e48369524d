//! The conversion of a whole image, index or manifest, over any place that images are kept in:
//! the server's own store in a build task, a folder on the command line.

mod layers;
mod prepare;
mod totals;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, Read};
use std::path::Path;

use berth_formats::overlaybd::{Cancel, Limits, Options};
use berth_oci::{Descriptor, ManifestKind};
use berth_types::Digest;

use crate::plan::{self, Gathering, Plan};
use crate::target::{self, Document, TargetLayer};
use crate::unavailable::is_unavailable;
use prepare::{Prepared, prepare};
use totals::Totals;

/// Why a store refuses or fails, in words; whether a retry may help.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    pub message: String,
    pub transient: bool,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// What a retry may cure, with its cause.
    pub fn transient(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let source = source.into();
        Self { message: source.to_string(), transient: true, source: Some(source) }
    }

    pub fn permanent(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string(), transient: false, source: None }
    }
}

/// A converted layer and what it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvertedLayer {
    pub layer: TargetLayer,
    /// The digest that the uncompressed source layer had, as found when it was read.
    pub diff_id: Digest,
}

/// Where the source is read from and the target is put. Called from several threads, none of
/// which belongs to an async runtime.
pub trait ImageStore: Sync {
    /// A manifest or index of the source, whole; `None` when it is not here, as it is with children
    /// of an index that was copied without them.
    ///
    /// # Errors
    /// When it cannot be read.
    fn manifest(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError>;

    /// The config of a source image, whole.
    ///
    /// # Errors
    /// When it is missing, too large or cannot be read.
    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, StoreError>;

    /// Whether the bytes of a layer are here: its publisher may have kept them elsewhere.
    ///
    /// # Errors
    /// When the store cannot tell.
    fn has_layer(&self, layer: &Descriptor) -> Result<bool, StoreError>;

    /// A layer of the source as a stream.
    ///
    /// # Errors
    /// When it is missing or cannot be read.
    fn open_layer(&self, layer: &Descriptor) -> io::Result<Box<dyn Read + Send + '_>>;

    /// The layer that an earlier conversion made for this chain key, if it is still there.
    ///
    /// # Errors
    /// When the store cannot tell.
    fn converted_layer(&self, chain: &str) -> Result<Option<ConvertedLayer>, StoreError>;

    /// Takes a converted layer; the file may be moved away.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn store_layer(
        &self,
        chain: &str,
        layer: &ConvertedLayer,
        file: &Path,
    ) -> Result<(), StoreError>;

    /// Takes a config of the target.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn store_config(&self, config: &Document) -> Result<(), StoreError>;

    /// A line for the people who follow the conversion.
    fn log(&self, line: String);

    /// How far the conversion is.
    fn progress(&self, progress: Progress);
}

/// How far a conversion is; bytes are those of the source layers as stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Progress {
    pub layers_total: u64,
    pub layers_done: u64,
    pub bytes_total: u64,
    pub bytes_done: u64,
}

/// How to convert.
pub struct Settings<'a> {
    pub options: Options,
    pub limits: Limits,
    /// Layers that are read and compressed at the same time.
    pub threads: usize,
    /// Folder for layers in the making, of this conversion alone.
    pub folder: &'a Path,
    pub cancel: &'a Cancel,
}

/// Why a conversion ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    #[error("the conversion was cancelled")]
    Canceled,
    /// Something that may go well another time.
    #[error("{0}")]
    Transient(String),
    /// The place that the image is kept in could not do its part.
    #[error("{0}")]
    Unavailable(String),
    /// The source cannot be converted: names layer, entry and reason.
    #[error("{0}")]
    Broken(String),
}

impl From<StoreError> for ConvertError {
    fn from(error: StoreError) -> Self {
        match error.transient {
            true if is_unavailable(&error) => Self::Unavailable(error.message),
            true => Self::Transient(error.message),
            false => Self::Broken(error.message),
        }
    }
}

impl From<target::TargetError> for ConvertError {
    fn from(error: target::TargetError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// The documents of a converted image. Layers and configs are in the store already.
#[derive(Debug)]
pub struct ConvertedImage {
    /// The manifest, or the index, that the tags are to name.
    pub root: Document,
    /// The manifests that an index names.
    pub children: Vec<Document>,
    /// The layers of all images.
    pub layers: Vec<Digest>,
    /// Bytes of configs and layers.
    pub size: u64,
    /// Layers of the image; of an index, the most that a child has.
    pub layer_count: usize,
}

/// Converts the image or index whose bytes are given. Whatever can be refused is refused before a
/// layer is read.
///
/// # Errors
/// [`ConvertError`]; nothing of the target is tagged then.
pub fn convert_image(
    store: &dyn ImageStore,
    media_type: &str,
    content: &[u8],
    settings: &Settings<'_>,
) -> Result<ConvertedImage, ConvertError> {
    let plan = make_plan(store, media_type, content)?;
    for left in &plan.left_out {
        store.log(format!("Skip {}: {}", left.digest, left.reason));
    }
    let images = prepare(store, &plan)?;
    // An index may name one image for several platforms; it is converted once.
    let mut once: HashMap<&Digest, &Prepared<'_>> = HashMap::new();
    for image in &images {
        once.entry(&image.leaf.descriptor.digest).or_insert(image);
    }
    let total = Totals::of(once.values().map(|image| &image.leaf.view));
    let mut converted: HashMap<&Digest, SingleImage> = HashMap::new();
    for image in &images {
        let digest = &image.leaf.descriptor.digest;
        if let Some(platform) = image.leaf.platform_view() {
            store.log(format!("Platform {platform}: manifest {digest}"));
        }
        if let Entry::Vacant(slot) = converted.entry(digest) {
            slot.insert(convert_single(store, image, settings, &total)?);
        }
    }
    let size = converted.values().map(|single| single.size).sum();
    let layer_count = converted.values().map(|single| single.layers.len()).max().unwrap_or(0);
    let mut layers = Vec::new();
    let mut children = Vec::new();
    for image in &images {
        let Some(single) = converted.get(&image.leaf.descriptor.digest) else { continue };
        layers.extend(single.layers.iter().cloned());
        children.push((image.leaf.platform.clone(), single.manifest.clone()));
    }
    if plan.root.kind == ManifestKind::Image {
        let (_, root) = children.pop().ok_or_else(|| nothing_left(&plan))?;
        return Ok(ConvertedImage { root, children: Vec::new(), layers, size, layer_count });
    }
    let root = target::index(&plan.root.media_type, content, &children)?;
    let mut documents: Vec<Document> = Vec::new();
    for (_, document) in children {
        if documents.iter().all(|known| known.digest != document.digest) {
            documents.push(document);
        }
    }
    Ok(ConvertedImage { root, children: documents, layers, size, layer_count })
}

fn make_plan(
    store: &dyn ImageStore,
    media_type: &str,
    content: &[u8],
) -> Result<Plan, ConvertError> {
    let broken = |reason: plan::NotBuildable| ConvertError::Broken(reason.to_string());
    let mut gathering = Gathering::of(media_type, content);
    while let Some(child) = gathering.ask() {
        if let Some(found) = store.manifest(&child.digest)? {
            gathering.found(&child, found);
        }
    }
    let manifests = gathering.finish().map_err(broken)?;
    plan::make(media_type, content, &manifests, plan::check_image).map_err(broken)
}

fn nothing_left(plan: &Plan) -> ConvertError {
    let what = if plan.root.is_index() { "index" } else { "image" };
    ConvertError::Broken(format!("the {what} has no file system for Linux"))
}

struct SingleImage {
    manifest: Document,
    layers: Vec<Digest>,
    size: u64,
}

fn convert_single(
    store: &dyn ImageStore,
    image: &Prepared<'_>,
    settings: &Settings<'_>,
    total: &Totals,
) -> Result<SingleImage, ConvertError> {
    let view = &image.leaf.view;
    let layers = layers::convert_layers(store, &view.layers, &image.diff_ids, settings, total)?;
    let (config, manifest) = image.documents(&layers)?;
    store.store_config(&config)?;
    Ok(SingleImage {
        size: config.bytes.len() as u64 + layers.iter().map(|layer| layer.size).sum::<u64>(),
        layers: layers.into_iter().map(|layer| layer.digest).collect(),
        manifest,
    })
}
