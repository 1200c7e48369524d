//! Comparing the accelerated image with its source, for `berth verify` and the demo.

use std::fs::File;

use anyhow::{Context as _, bail, ensure};
use berth_formats::ReadAt;
use berth_formats::overlaybd::{Cancel, Limits, Source};
use berth_formats::verify::{Report, verify_chain};
use berth_oci::{ConfigView, Descriptor, MAX_CONFIG_BYTES, ManifestView};

use crate::image::{LocalImage, PlatformImage};
use crate::layout::Layout;

/// Differences that are told one by one.
pub(crate) const MAX_DIFFERENCES: usize = 50;

/// The source image of each accelerated one, by platform.
///
/// # Errors
/// When an accelerated image has no source, or there is none at all.
pub(crate) fn pairs(
    source: &LocalImage,
    target: &LocalImage,
) -> anyhow::Result<Vec<(PlatformImage, PlatformImage)>> {
    let mut sources = source.platforms()?;
    let targets = target.platforms()?;
    ensure!(!targets.is_empty(), "the accelerated index is empty");
    let mut pairs = Vec::new();
    for target in targets {
        let found = sources
            .iter()
            .position(|source| source.platform == target.platform)
            .with_context(|| match &target.platform {
                Some(platform) => format!("the source has no image for {platform}"),
                None => "the source is an index, the accelerated image is not".to_owned(),
            })?;
        pairs.push((sources.remove(found), target));
    }
    Ok(pairs)
}

/// Compares the layers of a source image with accelerated blobs, lowest first.
///
/// # Errors
/// When one of them cannot be read.
pub(crate) fn compare<B: ReadAt>(
    layout: &Layout,
    source: &ManifestView,
    blobs: Vec<B>,
) -> anyhow::Result<Report> {
    let config = source.config.as_ref().context("the source manifest has no config")?;
    let config = layout.document(&config.digest, MAX_CONFIG_BYTES as u64)?;
    let diff_ids = ConfigView::parse(&config).context("config of the source")?.diff_ids;
    if diff_ids.len() != source.layers.len() || blobs.len() != source.layers.len() {
        bail!(
            "the source has {} layers and {} diff ids, the accelerated image {} layers",
            source.layers.len(),
            diff_ids.len(),
            blobs.len()
        );
    }
    let layers = source.layers.iter().zip(diff_ids).map(|(layer, diff_id)| {
        Ok(Source {
            reader: open(layout, layer)?,
            compression: None,
            expected: Some(diff_id),
            limits: Limits::default(),
        })
    });
    let layers = layers.collect::<anyhow::Result<Vec<_>>>()?;
    Ok(verify_chain(layers, blobs, MAX_DIFFERENCES, &Cancel::new())?)
}

fn open(layout: &Layout, layer: &Descriptor) -> anyhow::Result<File> {
    layout.open_blob(&layer.digest).with_context(|| format!("layer {}", layer.digest))
}
