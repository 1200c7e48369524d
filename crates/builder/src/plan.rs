//! What is to be built from a source manifest.

use berth_oci::{Descriptor, ManifestKind, ManifestView, media_type};

use crate::accelerated;

/// Why a manifest cannot be built, in words.
pub type NotBuildable = String;

/// Whether the manifest is a container image, or an index that has one.
///
/// # Errors
/// The reason when it is something else: a chart, a signature, an attestation, a broken document.
pub fn check_buildable(content_type: &str, content: &[u8]) -> Result<ManifestView, NotBuildable> {
    let view =
        ManifestView::parse(Some(content_type), content).map_err(|error| error.to_string())?;
    match view.kind {
        ManifestKind::Image => check_image(&view)?,
        ManifestKind::Index => {
            if images_of_index(&view).next().is_none() {
                return Err("the index has no image for Linux".to_owned());
            }
        }
    }
    Ok(view)
}

/// The children of an index that are built: images for Linux, not attestations.
pub fn images_of_index(index: &ManifestView) -> impl Iterator<Item = &Descriptor> {
    index.manifests.iter().filter(|child| skip_reason(child).is_none())
}

/// Why a child of an index is left out of the accelerated index; `None` when it is built.
pub fn skip_reason(child: &Descriptor) -> Option<String> {
    if child.attestation_of().is_some() {
        return Some("an attestation, which belongs to the source".to_owned());
    }
    if !media_type::is_image_manifest(&child.media_type) {
        return Some(format!("media type {} is not an image", child.media_type));
    }
    match &child.platform {
        Some(platform) if platform.os != "linux" => {
            Some(format!("images for {} have no Linux file system", platform.os))
        }
        _ => None,
    }
}

/// Whether an image manifest holds a root file system that is not accelerated yet.
///
/// # Errors
/// The reason when it does not.
pub fn check_image(view: &ManifestView) -> Result<(), NotBuildable> {
    let Some(config) = &view.config else {
        return Err("the manifest has no config".to_owned());
    };
    if let Some(format) = accelerated::format_of(view) {
        return Err(format!("it is an accelerated image already ({})", format.name()));
    }
    if !media_type::is_image_config(&config.media_type) {
        return Err(format!("its config is a {}", config.media_type));
    }
    if view.layers.is_empty() {
        return Err("it has no layers".to_owned());
    }
    match view.layers.iter().find(|layer| !media_type::is_layer(&layer.media_type)) {
        Some(layer) => Err(format!("its layer {} is a {}", layer.digest, layer.media_type)),
        None => Ok(()),
    }
}
