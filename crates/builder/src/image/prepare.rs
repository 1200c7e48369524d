//! What must hold of every image before the first layer of any is read.

use std::fmt::Display;

use berth_oci::{ConfigView, media_type};
use berth_types::Digest;

use super::{ConvertError, ImageStore, nothing_left};
use crate::plan::{self, Leaf, Plan};
use crate::target::{self, Document, TargetLayer};

/// An image that can be converted.
pub(super) struct Prepared<'a> {
    pub(super) leaf: &'a Leaf,
    /// Of the uncompressed layers, base first, as the config promises them.
    pub(super) diff_ids: Vec<Digest>,
    config_type: &'a str,
    config: Vec<u8>,
}

impl Prepared<'_> {
    /// Config and manifest of the target.
    pub(super) fn documents(
        &self,
        layers: &[TargetLayer],
    ) -> Result<(Document, Document), ConvertError> {
        let config = target::config(self.config_type, &self.config, layers)?;
        let leaf = self.leaf;
        let manifest = target::manifest(&leaf.view.media_type, &leaf.content, &config, layers)?;
        Ok((config, manifest))
    }
}

/// Reads the configs of a plan and leaves out what only they tell to be no image for Linux.
pub(super) fn prepare<'a>(
    store: &dyn ImageStore,
    plan: &'a Plan,
) -> Result<Vec<Prepared<'a>>, ConvertError> {
    let mut prepared = Vec::with_capacity(plan.leaves.len());
    for leaf in &plan.leaves {
        let digest = &leaf.descriptor.digest;
        let broken = |reason: &dyn Display| match plan.root.is_index() {
            true => ConvertError::Broken(format!("manifest {digest}: {reason}")),
            false => ConvertError::Broken(reason.to_string()),
        };
        let Some(descriptor) = &leaf.view.config else {
            return Err(broken(&"the manifest has no config"));
        };
        let config = store.config(descriptor)?;
        let view = ConfigView::parse(&config)
            .map_err(|error| broken(&format!("config {}: {error}", descriptor.digest)))?;
        // Where an index names the platform, nodes go by that.
        if leaf.platform.is_none() && !plan::is_linux(&view.os) {
            let reason = format!("images for {} have no Linux file system", view.os);
            if !plan.root.is_index() {
                return Err(broken(&reason));
            }
            store.log(format!("Skip {digest}: {reason}"));
            continue;
        }
        if view.diff_ids.len() != leaf.view.layers.len() {
            return Err(broken(&format!(
                "the config names {} layers (rootfs.diff_ids), the manifest {}",
                view.diff_ids.len(),
                leaf.view.layers.len()
            )));
        }
        for layer in &leaf.view.layers {
            if !store.has_layer(layer)? {
                return Err(broken(&format!(
                    "layer {} ({}) is not here",
                    layer.digest, layer.media_type
                )));
            }
        }
        let image = Prepared {
            leaf,
            diff_ids: view.diff_ids,
            config_type: leaf.view.image_config_type().unwrap_or(media_type::OCI_CONFIG),
            config,
        };
        image.documents(&[]).map_err(|error| broken(&error))?;
        prepared.push(image);
    }
    if prepared.is_empty() { Err(nothing_left(plan)) } else { Ok(prepared) }
}
