//! The conversion of a whole image, index or manifest, over any place that images are kept in:
//! the server's own store in a build task, a folder on the command line.

use std::io::{self, Read};
use std::path::Path;

use berth_formats::overlaybd::convert::{
    ChainError, ChainErrorKind, ChainObserver, ChainSource, Conversion, LayerJob, convert_chain,
};
use berth_formats::overlaybd::{Cancel, FinishedLayer, Limits, Options};
use berth_oci::{ConfigView, Descriptor, ManifestKind, ManifestView};
use berth_types::Digest;

use crate::plan;
use crate::target::{self, Document, TargetLayer};
use crate::unavailable::is_unavailable;
use crate::{chain, source::FaultNote, source::Watched};

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

/// Where the source is read from and the target is put. Called from several threads, none of
/// which belongs to an async runtime.
pub trait ImageStore: Sync {
    /// A manifest or index of the source, whole.
    ///
    /// # Errors
    /// When it is missing or cannot be read.
    fn manifest(&self, digest: &Digest) -> Result<Vec<u8>, StoreError>;

    /// The config of a source image, whole.
    ///
    /// # Errors
    /// When it is missing, too large or cannot be read.
    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, StoreError>;

    /// A layer of the source as a stream.
    ///
    /// # Errors
    /// When it is missing or cannot be read.
    fn open_layer(&self, layer: &Descriptor) -> io::Result<Box<dyn Read + Send + '_>>;

    /// The layer that an earlier conversion made for this chain key, if it is still there.
    ///
    /// # Errors
    /// When the store cannot tell.
    fn converted_layer(&self, chain: &str) -> Result<Option<TargetLayer>, StoreError>;

    /// Takes a converted layer; the file may be moved away.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn store_layer(&self, chain: &str, layer: &TargetLayer, file: &Path) -> Result<(), StoreError>;

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

/// Converts the image or index whose bytes are given.
///
/// # Errors
/// [`ConvertError`]; nothing of the target is tagged then.
pub fn convert_image(
    store: &dyn ImageStore,
    media_type: &str,
    content: &[u8],
    settings: &Settings<'_>,
) -> Result<ConvertedImage, ConvertError> {
    let view = plan::check_buildable(media_type, content).map_err(ConvertError::Broken)?;
    if view.kind == ManifestKind::Image {
        let total = Totals::of([&view]);
        let single = convert_single(store, &view, content, settings, &total)?;
        return Ok(ConvertedImage {
            root: single.manifest,
            children: Vec::new(),
            size: single.size,
            layer_count: single.layers.len(),
            layers: single.layers,
        });
    }
    for child in &view.manifests {
        if let Some(reason) = plan::skip_reason(child) {
            store.log(format!("Skip {}: {reason}", child.digest));
        }
    }
    let mut images = Vec::new();
    for child in plan::images_of_index(&view) {
        let content = store.manifest(&child.digest)?;
        let image = ManifestView::parse(Some(&child.media_type), &content)
            .map_err(|error| ConvertError::Broken(format!("manifest {}: {error}", child.digest)))?;
        plan::check_image(&image).map_err(|reason| {
            ConvertError::Broken(format!("manifest {}: {reason}", child.digest))
        })?;
        images.push((child, image, content));
    }
    let total = Totals::of(images.iter().map(|(_, image, _)| image));
    let mut children = Vec::new();
    let (mut size, mut layer_count, mut layers) = (0, 0, Vec::new());
    for (child, image, content) in &images {
        if let Some(platform) = &child.platform {
            store.log(format!("Platform {platform}: manifest {}", child.digest));
        }
        let single = convert_single(store, image, content, settings, &total)?;
        size += single.size;
        layer_count = layer_count.max(single.layers.len());
        layers.extend(single.layers);
        children.push(((*child).clone(), single.manifest));
    }
    let root = target::index(&view.media_type, content, &children)?;
    let children = children.into_iter().map(|(_, document)| document).collect();
    Ok(ConvertedImage { root, children, layers, size, layer_count })
}

struct SingleImage {
    manifest: Document,
    layers: Vec<Digest>,
    size: u64,
}

fn convert_single(
    store: &dyn ImageStore,
    view: &ManifestView,
    content: &[u8],
    settings: &Settings<'_>,
    total: &Totals,
) -> Result<SingleImage, ConvertError> {
    let Some(config_descriptor) = &view.config else {
        return Err(ConvertError::Broken("the manifest has no config".to_owned()));
    };
    let config_bytes = store.config(config_descriptor)?;
    let config = ConfigView::parse(&config_bytes).map_err(|error| {
        ConvertError::Broken(format!("config {}: {error}", config_descriptor.digest))
    })?;
    if config.diff_ids.len() != view.layers.len() {
        return Err(ConvertError::Broken(format!(
            "the config names {} layers (rootfs.diff_ids), the manifest {}",
            config.diff_ids.len(),
            view.layers.len()
        )));
    }
    let layers = convert_layers(store, &view.layers, &config.diff_ids, settings, total)?;
    let config = target::config(&config_descriptor.media_type, &config_bytes, &layers)?;
    let manifest = target::manifest(&view.media_type, content, &config, &layers)?;
    store.store_config(&config)?;
    Ok(SingleImage {
        size: config.bytes.len() as u64 + layers.iter().map(|layer| layer.size).sum::<u64>(),
        layers: layers.into_iter().map(|layer| layer.digest).collect(),
        manifest,
    })
}

fn convert_layers(
    store: &dyn ImageStore,
    layers: &[Descriptor],
    diff_ids: &[Digest],
    settings: &Settings<'_>,
    total: &Totals,
) -> Result<Vec<TargetLayer>, ConvertError> {
    let options = &settings.options;
    let described =
        format!("{:?} {} {}", options.algorithm, options.block_size, options.virtual_size);
    let keys = chain::keys(&described, layers.iter().map(|layer| &layer.digest));
    let mut found = Vec::with_capacity(layers.len());
    for key in &keys {
        found.push(store.converted_layer(key)?);
    }
    let jobs: Vec<LayerJob> = diff_ids
        .iter()
        .zip(&found)
        .map(|(diff_id, found)| LayerJob {
            diff_id: diff_id.clone(),
            compression: None,
            cached: found.is_some(),
        })
        .collect();
    for (layer, found) in layers.iter().zip(&found) {
        if let Some(found) = found {
            store.log(format!("Layer {}: converted before as {}", layer.digest, found.digest));
            total.layer_done(store, layer.size);
        }
    }
    let run = ChainRun {
        store,
        layers,
        keys: &keys,
        total,
        fault: FaultNote::default(),
        counts: found.iter().map(Option::is_none).collect(),
        made: std::sync::Mutex::new(found),
    };
    let conversion = Conversion {
        source: &run,
        observer: &run,
        options: settings.options,
        limits: settings.limits,
        scratch: settings.folder,
        threads: settings.threads,
        cancel: settings.cancel,
    };
    if let Err(error) = convert_chain(&jobs, &conversion) {
        return Err(run.explain(&error, settings.cancel));
    }
    let made = run.made.into_inner().unwrap_or_default();
    let all: Option<Vec<TargetLayer>> = made.into_iter().collect();
    all.filter(|all| all.len() == layers.len())
        .ok_or_else(|| ConvertError::Transient("a layer was not converted".to_owned()))
}

/// One chain on its way through the converter.
struct ChainRun<'a> {
    store: &'a dyn ImageStore,
    layers: &'a [Descriptor],
    keys: &'a [String],
    total: &'a Totals,
    fault: FaultNote,
    /// Whether reading a layer counts as progress (cached ones were counted at once).
    counts: Vec<bool>,
    made: std::sync::Mutex<Vec<Option<TargetLayer>>>,
}

impl ChainRun<'_> {
    fn explain(&self, error: &ChainError, cancel: &Cancel) -> ConvertError {
        if cancel.is_cancelled() || error.kind() == ChainErrorKind::Canceled {
            return ConvertError::Canceled;
        }
        if is_unavailable(error) {
            return ConvertError::Unavailable(error.to_string());
        }
        if let Some(fault) = self.fault.take() {
            return ConvertError::Transient(format!("{error}: {fault}"));
        }
        let name = error.layer().and_then(|index| self.layers.get(index));
        let message = match name {
            Some(layer) => format!("{error} (layer digest {})", layer.digest),
            None => error.to_string(),
        };
        match error.kind() {
            ChainErrorKind::Broken | ChainErrorKind::Full => ConvertError::Broken(message),
            _ => ConvertError::Transient(message),
        }
    }
}

impl ChainSource for ChainRun<'_> {
    fn open(&self, index: usize) -> io::Result<Box<dyn Read + Send + '_>> {
        let Some(layer) = self.layers.get(index) else {
            return Err(io::Error::other("no such layer"));
        };
        let inner = self.store.open_layer(layer).inspect_err(|error| self.fault.note(error))?;
        let counts = self.counts.get(index).copied().unwrap_or(false);
        let count = move |bytes: u64| {
            if counts {
                self.total.bytes_read(self.store, bytes);
            }
        };
        Ok(Box::new(Watched { inner, fault: &self.fault, count }))
    }
}

impl ChainObserver for ChainRun<'_> {
    fn finished(
        &self,
        index: usize,
        layer: FinishedLayer,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let (Some(source), Some(key)) = (self.layers.get(index), self.keys.get(index)) else {
            return Err("no such layer".into());
        };
        let target = TargetLayer { digest: layer.digest.clone(), size: layer.size };
        self.store.store_layer(key, &target, layer.path())?;
        self.store.log(format!(
            "Layer {}/{} {}: {} bytes became {} bytes, {}",
            index + 1,
            self.layers.len(),
            source.digest,
            source.size,
            target.size,
            target.digest
        ));
        self.total.layer_done(self.store, 0);
        if let Ok(mut made) = self.made.lock()
            && let Some(slot) = made.get_mut(index)
        {
            *slot = Some(target);
        }
        Ok(())
    }
}

/// Progress over all images of an index.
struct Totals {
    layers: u64,
    bytes: u64,
    layers_done: std::sync::atomic::AtomicU64,
    bytes_done: std::sync::atomic::AtomicU64,
    reported: std::sync::atomic::AtomicU64,
}

/// Progress is told at least every so many bytes.
const REPORT_BYTES: u64 = 4 << 20;

impl Totals {
    fn of<'a>(images: impl IntoIterator<Item = &'a ManifestView>) -> Self {
        let (mut layers, mut bytes) = (0u64, 0u64);
        for layer in images.into_iter().flat_map(|image| &image.layers) {
            layers += 1;
            bytes = bytes.saturating_add(layer.size);
        }
        Self { layers, bytes, layers_done: 0.into(), bytes_done: 0.into(), reported: 0.into() }
    }

    fn bytes_read(&self, store: &dyn ImageStore, count: u64) {
        use std::sync::atomic::Ordering::Relaxed;
        let done = self.bytes_done.fetch_add(count, Relaxed) + count;
        let reported = self.reported.load(Relaxed);
        if done >= reported + REPORT_BYTES
            && self.reported.compare_exchange(reported, done, Relaxed, Relaxed).is_ok()
        {
            store.progress(self.now());
        }
    }

    fn layer_done(&self, store: &dyn ImageStore, bytes: u64) {
        use std::sync::atomic::Ordering::Relaxed;
        self.bytes_done.fetch_add(bytes, Relaxed);
        self.layers_done.fetch_add(1, Relaxed);
        store.progress(self.now());
    }

    fn now(&self) -> Progress {
        use std::sync::atomic::Ordering::Relaxed;
        Progress {
            layers_total: self.layers,
            layers_done: self.layers_done.load(Relaxed),
            bytes_total: self.bytes,
            bytes_done: self.bytes_done.load(Relaxed).min(self.bytes),
        }
    }
}
