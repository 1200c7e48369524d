//! Gives a layer its place on the virtual disk.

use super::OverlayError;
use super::layer::{IngestedLayer, PlacedLayer, ReadLayer};
use crate::ext4::Image;

/// Puts an ingested layer on top of those that `image` holds.
///
/// # Errors
/// [`OverlayError::Ext4`]; `image` must be dropped then.
pub fn place(image: &mut Image, layer: IngestedLayer) -> Result<PlacedLayer, OverlayError> {
    let IngestedLayer { read, output, lineage, virtual_size } = layer;
    let placement = image.apply(&read.entries)?;
    let ReadLayer { diff_id, amounts, dense_from, .. } = read;
    Ok(PlacedLayer { diff_id, amounts, dense_from, output, placement, lineage, virtual_size })
}

/// Puts a layer on top whose blob exists already.
///
/// # Errors
/// Those of [`place`].
pub fn place_read(image: &mut Image, layer: &ReadLayer) -> Result<(), OverlayError> {
    image.apply(&layer.entries)?;
    Ok(())
}
