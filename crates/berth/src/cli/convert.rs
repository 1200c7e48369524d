//! `berth convert`: the builder without a server.

use std::io::{self, Read};
use std::path::Path;

use berth_builder::image::{
    self, ConvertedImage, ConvertedLayer, ImageStore, Progress, Settings, StoreError, convert_image,
};
use berth_builder::target::Document;
use berth_formats::overlaybd::{Algorithm, Cancel, Limits, Options};
use berth_oci::{Descriptor, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES};
use berth_types::Digest;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Failure, causes, tell};
use crate::layout::{Layout, LayoutName};

/// Converts an image in an OCI layout into an accelerated image.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// Format of the accelerated image.
    #[arg(long, value_enum)]
    format: Format,
    /// The source image, as `oci:DIR[:NAME]`, where NAME is a tag or a whole image name.
    #[arg(long, value_name = "oci:DIR[:NAME]")]
    input: String,
    /// Where the accelerated image goes, as `oci:DIR[:NAME]`; never the source itself.
    #[arg(long, value_name = "oci:DIR[:NAME]")]
    output: String,
    /// How blocks are compressed.
    #[arg(long, value_enum, default_value = "lz4")]
    algorithm: AlgorithmName,
    /// Bytes of a compressed block: 4096, 8192, 16384 or 32768.
    #[arg(long, default_value_t = 4096)]
    block_size: u32,
    /// Size of the virtual disk in GiB.
    #[arg(long, default_value_t = 64)]
    virtual_size: u64,
    /// Layers that are converted at the same time; by default one for each processor.
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Overlaybd,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AlgorithmName {
    Lz4,
    Zstd,
}

/// Converts.
pub(crate) fn run(args: &ConvertArgs) -> Result<(), Failure> {
    let Format::Overlaybd = args.format;
    let options = options(args)?;
    let input = LayoutName::parse(&args.input)?;
    let output = LayoutName::parse(&args.output)?;
    let source = Layout::open(&input.folder)?;
    if let Ok(target) = Layout::open(&output.folder)
        && target.would_lose(output.tag.as_deref(), &source, input.tag.as_deref())?
    {
        return Err(Failure::Usage(format!(
            "{} names the source image, whose name the accelerated image would take; write it to \
             another name or folder",
            args.output
        )));
    }
    let target = Layout::create(&output.folder)?;
    let threads = args
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, std::num::NonZero::get));
    let (from, to) = (input.tag.as_deref(), output.tag.as_deref());
    let converted = convert_layout(&source, &target, from, to, options, threads)?;
    tell(&format!("{} {}", converted.root.media_type, converted.root.digest));
    Ok(())
}

fn options(args: &ConvertArgs) -> Result<Options, Failure> {
    if ![4096, 8192, 16384, 32768].contains(&args.block_size) {
        return Err(Failure::Usage(format!(
            "--block-size is {}; use 4096, 8192, 16384 or 32768",
            args.block_size
        )));
    }
    let algorithm = match args.algorithm {
        AlgorithmName::Lz4 => Algorithm::Lz4,
        AlgorithmName::Zstd => Algorithm::Zstd,
    };
    let virtual_size = args
        .virtual_size
        .checked_mul(1 << 30)
        .ok_or_else(|| Failure::Usage("--virtual-size is too large".to_owned()))?;
    Ok(Options { algorithm, block_size: args.block_size, virtual_size, ..Options::default() })
}

/// Converts a tag of one layout into a tag of another.
fn convert_layout(
    source: &Layout,
    target: &Layout,
    source_tag: Option<&str>,
    target_tag: Option<&str>,
    options: Options,
    threads: usize,
) -> anyhow::Result<ConvertedImage> {
    let descriptor = source.resolve(source_tag)?;
    let content = source.document(&descriptor.digest, MAX_MANIFEST_BYTES as u64)?;
    let folder = tempfile::tempdir_in(target.blob_folder())?;
    let store = LayoutStore { source, target, bar: progress_bar() };
    let cancel = Cancel::new();
    let settings = Settings {
        options,
        limits: Limits::default(),
        threads,
        folder: folder.path(),
        cancel: &cancel,
    };
    let converted = convert_image(&store, &descriptor.media_type, &content, &settings);
    store.bar.finish_and_clear();
    let converted = converted?;
    for document in converted.children.iter().chain([&converted.root]) {
        target.put_document(&document.bytes)?;
    }
    let root = &converted.root;
    target.set_tag(target_tag, &root.media_type, &root.digest, root.bytes.len() as u64)?;
    Ok(converted)
}

fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

/// Both layouts of a conversion as the converter sees them.
struct LayoutStore<'a> {
    source: &'a Layout,
    target: &'a Layout,
    bar: ProgressBar,
}

impl ImageStore for LayoutStore<'_> {
    fn manifest(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        if !self.source.has_blob(digest) {
            return Ok(None);
        }
        self.source.document(digest, MAX_MANIFEST_BYTES as u64).map(Some).map_err(permanent)
    }

    fn has_layer(&self, layer: &Descriptor) -> Result<bool, StoreError> {
        Ok(self.source.has_blob(&layer.digest))
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, StoreError> {
        self.source.document(&descriptor.digest, MAX_CONFIG_BYTES as u64).map_err(permanent)
    }

    fn open_layer(&self, layer: &Descriptor) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.source.open_blob(&layer.digest)?))
    }

    fn converted_layer(&self, _chain: &str) -> Result<Option<ConvertedLayer>, StoreError> {
        Ok(None)
    }

    fn store_layer(
        &self,
        _chain: &str,
        converted: &ConvertedLayer,
        file: &Path,
    ) -> Result<(), StoreError> {
        self.target.take_blob(&converted.layer.digest, file).map_err(permanent)
    }

    fn store_config(&self, config: &Document) -> Result<(), StoreError> {
        self.target.put_document(&config.bytes).map(drop).map_err(permanent)
    }

    fn log(&self, line: String) {
        self.bar.suspend(|| tell(&line));
    }

    fn progress(&self, progress: Progress) {
        self.bar.set_length(progress.bytes_total);
        self.bar.set_position(progress.bytes_done);
        self.bar.set_message(format!("layer {}/{}", progress.layers_done, progress.layers_total));
    }
}

#[expect(clippy::needless_pass_by_value, reason = "reads well in map_err")]
fn permanent(error: anyhow::Error) -> image::StoreError {
    StoreError::permanent(causes(&error))
}
