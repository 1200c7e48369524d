//! The target image: tags, config, manifest and index of an accelerated image.
//!
//! Source: `reference` layout of the OverlayBD convertor (accelerated-container-image,
//! `pkg/version`, `pkg/label`): one uncompressed tar layer per source layer, with annotations that
//! the snapshotter reads. JSON of the source is edited as values, so that fields that only Docker
//! knows survive.

mod edit;

use berth_oci::media_type;
use berth_types::Digest;
use serde_json::{Map, Value, json};

/// Suffix of the tag that Docker and containerd nodes use.
pub const ACCELERATED: &str = "_accelerated";
/// Suffix of the tag that containerd nodes use.
pub const CONTAINERD_ACCELERATED: &str = "_containerd_accelerated";

const OVERLAYBD_VERSION: &str = "containerd.io/snapshot/overlaybd/version";
const OVERLAYBD_BLOB_DIGEST: &str = "containerd.io/snapshot/overlaybd/blob-digest";
const OVERLAYBD_BLOB_SIZE: &str = "containerd.io/snapshot/overlaybd/blob-size";
const OVERLAYBD_FS_TYPE: &str = "containerd.io/snapshot/overlaybd/blob-fs-type";

/// `<tag>_accelerated`
pub fn accelerated_tag(tag: &str) -> String {
    format!("{tag}{ACCELERATED}")
}

/// `<tag>_containerd_accelerated`
pub fn containerd_accelerated_tag(tag: &str) -> String {
    format!("{tag}{CONTAINERD_ACCELERATED}")
}

/// A converted layer as the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetLayer {
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
}

/// A document ready to be stored.
#[derive(Debug, Clone)]
pub struct Document {
    pub media_type: String,
    pub digest: Digest,
    pub bytes: Vec<u8>,
}

impl Document {
    fn new(media_type: &str, value: &Value) -> Result<Self, TargetError> {
        let bytes = serde_json::to_vec(value)?;
        Ok(Self { media_type: media_type.to_owned(), digest: Digest::sha256(&bytes), bytes })
    }

    fn descriptor(&self) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("mediaType".to_owned(), json!(self.media_type));
        map.insert("digest".to_owned(), json!(self.digest));
        map.insert("size".to_owned(), json!(self.bytes.len()));
        map
    }
}

/// Why a source document cannot be turned into a target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("the document is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the document is no {0}")]
    Shape(&'static str),
}

/// The config of the accelerated image: that of the source with the new layers' diff ids, byte for
/// byte the same around them.
///
/// # Errors
/// When the source config is not a JSON object with `rootfs.diff_ids`.
pub fn config(
    media_type: &str,
    source: &[u8],
    layers: &[TargetLayer],
) -> Result<Document, TargetError> {
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.digest).collect();
    let place = edit::find(source, &["rootfs", "diff_ids"])
        .ok_or(TargetError::Shape("image config with rootfs.diff_ids"))?;
    let mut bytes = source.get(..place.start).unwrap_or_default().to_vec();
    bytes.extend(serde_json::to_vec(&diff_ids)?);
    bytes.extend_from_slice(source.get(place.end..).unwrap_or_default());
    Ok(Document { media_type: media_type.to_owned(), digest: Digest::sha256(&bytes), bytes })
}

/// The manifest of the accelerated image, Docker's or OCI's as its source is.
///
/// # Errors
/// When the source manifest is not a JSON object.
pub fn manifest(
    source_media_type: &str,
    source: &[u8],
    config: &Document,
    layers: &[TargetLayer],
) -> Result<Document, TargetError> {
    let layer_type = match source_media_type {
        media_type::DOCKER_MANIFEST => media_type::DOCKER_LAYER,
        _ => media_type::OCI_LAYER,
    };
    let layers: Vec<Value> =
        layers.iter().map(|layer| layer_descriptor(layer_type, layer)).collect();
    let mut manifest = Map::new();
    manifest.insert("schemaVersion".to_owned(), json!(2));
    manifest.insert("mediaType".to_owned(), json!(source_media_type));
    manifest.insert("config".to_owned(), Value::Object(config.descriptor()));
    manifest.insert("layers".to_owned(), Value::Array(layers));
    copy_annotations(source, &mut manifest)?;
    Document::new(source_media_type, &Value::Object(manifest))
}

/// The index of the accelerated images, each with the platform of its source.
///
/// # Errors
/// When the source index is not a JSON object.
pub fn index(
    source_media_type: &str,
    source: &[u8],
    children: &[(Option<Value>, Document)],
) -> Result<Document, TargetError> {
    let manifests = children
        .iter()
        .map(|(platform, document)| {
            let mut descriptor = document.descriptor();
            if let Some(platform) = platform {
                descriptor.insert("platform".to_owned(), platform.clone());
            }
            Value::Object(descriptor)
        })
        .collect();
    let mut index = Map::new();
    index.insert("schemaVersion".to_owned(), json!(2));
    index.insert("mediaType".to_owned(), json!(source_media_type));
    index.insert("manifests".to_owned(), Value::Array(manifests));
    copy_annotations(source, &mut index)?;
    Document::new(source_media_type, &Value::Object(index))
}

fn layer_descriptor(media_type: &str, layer: &TargetLayer) -> Value {
    json!({
        "mediaType": media_type,
        "digest": layer.digest,
        "size": layer.size,
        "annotations": {
            OVERLAYBD_BLOB_DIGEST: layer.digest,
            OVERLAYBD_FS_TYPE: "ext4",
            OVERLAYBD_BLOB_SIZE: layer.size.to_string(),
            OVERLAYBD_VERSION: "0.1.0",
        },
    })
}

fn copy_annotations(source: &[u8], target: &mut Map<String, Value>) -> Result<(), TargetError> {
    let source: Value = serde_json::from_slice(source)?;
    let source = source.as_object().ok_or(TargetError::Shape("JSON object"))?;
    if let Some(annotations) = source.get("annotations") {
        target.insert("annotations".to_owned(), annotations.clone());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_keeps_what_only_docker_knows() {
        let source =
            br#"{"architecture":"amd64","os":"linux","config":{"Healthcheck":{"Test":["CMD"]}},
            "rootfs":{"type":"layers","diff_ids":["sha256:00"]},"container_config":{"x":12345678901234567890123,
            "note":"\ud800"}}"#;
        let layer = TargetLayer { digest: Digest::sha256(b"layer"), size: 5 };
        let config = config(media_type::DOCKER_CONFIG, source, std::slice::from_ref(&layer))
            .expect("config");
        let text = String::from_utf8(config.bytes.clone()).expect("text");
        let expected = String::from_utf8_lossy(source)
            .replace("[\"sha256:00\"]", &format!("[\"{}\"]", layer.digest));
        assert_eq!(text, expected);
        let manifest = manifest(
            media_type::DOCKER_MANIFEST,
            br#"{"annotations":{"a":"b"}}"#,
            &config,
            &[layer],
        )
        .expect("manifest");
        let value: Value = serde_json::from_slice(&manifest.bytes).expect("JSON");
        assert_eq!(value["layers"][0]["mediaType"], media_type::DOCKER_LAYER);
        assert_eq!(value["layers"][0]["annotations"][OVERLAYBD_BLOB_SIZE], "5");
        assert_eq!(value["annotations"]["a"], "b");
    }
}
