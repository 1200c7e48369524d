//! Which images are accelerated already: such an image is never the source of a conversion.
//!
//! The judgement is the content's own word (annotations of layers, media types, artifact type), never
//! the tag: an accelerated image arrives under any name, from another converter or another registry.
//! Images that any node can run as they are (eStargz, zstd:chunked, the copies that SOCI makes) are
//! ordinary images with an index beside or in them, and are built.

use berth_oci::{Descriptor, ManifestView};

/// The format of an accelerated image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceleratedFormat {
    /// OverlayBD, native or TurboOCI.
    OverlayBd,
    /// Nydus (RAFS), native or as an index over ordinary layers.
    Nydus,
    /// EROFS file systems as layers.
    Erofs,
}

impl AcceleratedFormat {
    /// The name that people know.
    pub fn name(self) -> &'static str {
        match self {
            Self::OverlayBd => "OverlayBD",
            Self::Nydus => "Nydus",
            Self::Erofs => "EROFS",
        }
    }
}

/// The format in which an image is accelerated already; `None` for an ordinary image and for an
/// index, whose children are judged one by one.
pub fn format_of(view: &ManifestView) -> Option<AcceleratedFormat> {
    let artifact = view.artifact_type.as_deref().and_then(format_of_type);
    let config = view.config.as_ref().and_then(|config| format_of_type(&config.media_type));
    artifact.or(config).or_else(|| view.layers.iter().find_map(format_of_layer))
}

/// The same of a child of an index, as far as its descriptor says it; the child's manifest has the
/// last word ([`format_of`]).
pub fn format_of_child(child: &Descriptor) -> Option<AcceleratedFormat> {
    let artifact = child.artifact_type.as_deref().and_then(format_of_type);
    artifact.or_else(|| format_of_annotations(child))
}

fn format_of_layer(layer: &Descriptor) -> Option<AcceleratedFormat> {
    format_of_annotations(layer).or_else(|| format_of_type(&layer.media_type))
}

/// What the snapshotters look for: `containerd.io/snapshot/overlaybd/…`, `containerd.io/snapshot/nydus-…`.
fn format_of_annotations(descriptor: &Descriptor) -> Option<AcceleratedFormat> {
    descriptor.annotations.keys().find_map(|key| {
        let kind = key.strip_prefix("containerd.io/snapshot/")?;
        if kind.starts_with("overlaybd/") {
            Some(AcceleratedFormat::OverlayBd)
        } else if kind.starts_with("nydus-") {
            Some(AcceleratedFormat::Nydus)
        } else {
            None
        }
    })
}

/// Artifact types and media types of configs and layers.
fn format_of_type(media_type: &str) -> Option<AcceleratedFormat> {
    let media_type = media_type.to_ascii_lowercase();
    let vendor = media_type.strip_prefix("application/vnd.")?;
    if vendor.starts_with("containerd.overlaybd.") {
        Some(AcceleratedFormat::OverlayBd)
    } else if vendor.starts_with("nydus.") || vendor.starts_with("oci.image.layer.nydus.") {
        Some(AcceleratedFormat::Nydus)
    } else if vendor.starts_with("erofs.") {
        Some(AcceleratedFormat::Erofs)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use berth_oci::media_type;
    use serde_json::{Value, json};

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn image(
        layer_type: &str,
        annotations: &Value,
        change: impl FnOnce(&mut Value),
    ) -> ManifestView {
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "config": {"mediaType": media_type::OCI_CONFIG, "digest": DIGEST, "size": 2},
            "layers": [
                {"mediaType": media_type::OCI_LAYER, "digest": DIGEST, "size": 9},
                {"mediaType": layer_type, "digest": DIGEST, "size": 9, "annotations": annotations},
            ],
        });
        change(&mut manifest);
        ManifestView::parse(None, manifest.to_string().as_bytes()).expect("a manifest")
    }

    #[test]
    fn an_accelerated_image_is_known_by_what_it_holds() {
        let plain =
            |annotations: Value| format_of(&image(media_type::OCI_LAYER, &annotations, |_| {}));
        for key in ["version", "blob-digest", "blob-size", "turbo-oci/target-digest"] {
            let key = format!("containerd.io/snapshot/overlaybd/{key}");
            assert_eq!(plain(json!({key: "x"})), Some(AcceleratedFormat::OverlayBd));
        }
        for key in ["nydus-bootstrap", "nydus-blob", "nydus-ref"] {
            let key = format!("containerd.io/snapshot/{key}");
            assert_eq!(plain(json!({key: "true"})), Some(AcceleratedFormat::Nydus));
        }
        for (layer, format) in [
            ("application/vnd.oci.image.layer.nydus.blob.v1", AcceleratedFormat::Nydus),
            ("application/vnd.erofs.layer.v1+zstd", AcceleratedFormat::Erofs),
        ] {
            assert_eq!(format_of(&image(layer, &json!({}), |_| {})), Some(format), "{layer}");
        }
        for (artifact, format) in [
            ("application/vnd.containerd.overlaybd.native.v1+json", AcceleratedFormat::OverlayBd),
            ("application/vnd.containerd.overlaybd.turbo.v1+json", AcceleratedFormat::OverlayBd),
            ("application/vnd.nydus.image.manifest.v1+json", AcceleratedFormat::Nydus),
        ] {
            let typed = image(media_type::OCI_LAYER, &json!({}), |manifest| {
                manifest["artifactType"] = json!(artifact);
            });
            assert_eq!(format_of(&typed), Some(format), "{artifact}");
            let mut child =
                Descriptor::new(media_type::OCI_MANIFEST, DIGEST.parse().expect("digest"), 1);
            child.artifact_type = Some(artifact.to_owned());
            assert_eq!(format_of_child(&child), Some(format), "{artifact}");
        }
        let config = image(media_type::OCI_LAYER, &json!({}), |manifest| {
            manifest["config"]["mediaType"] = json!("application/vnd.nydus.image.config.v1+json");
        });
        assert_eq!(format_of(&config), Some(AcceleratedFormat::Nydus));
    }

    #[test]
    fn images_that_run_anywhere_are_ordinary() {
        for key in [
            "containerd.io/snapshot/stargz/toc.digest",
            "io.containers.estargz.uncompressed-size",
            "io.github.containers.zstd-chunked.manifest-position",
            "org.opencontainers.image.title",
        ] {
            assert_eq!(
                format_of(&image(media_type::OCI_LAYER_GZIP, &json!({key: "x"}), |_| {})),
                None
            );
        }
        let soci = image(media_type::OCI_LAYER_GZIP, &json!({}), |manifest| {
            manifest["annotations"] = json!({"com.amazon.soci.index-digest": DIGEST});
        });
        assert_eq!(format_of(&soci), None);
    }
}
