//! Image manifests and indexes, read from the bytes that a client sent or an upstream gave.

use std::collections::{BTreeMap, HashSet};

use berth_types::Digest;
use serde::{Deserialize, Deserializer};

use crate::descriptor::null_is_default;
use crate::{Descriptor, MAX_MANIFEST_BYTES, media_type};

/// What a manifest document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestKind {
    /// Config and layers.
    Image,
    /// Other manifests, usually one per platform.
    Index,
}

/// Why bytes are not a manifest that Berth takes.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("manifest has {0} bytes; the limit is {MAX_MANIFEST_BYTES}")]
    TooLarge(usize),
    #[error("manifest is not valid: {0}")]
    Json(#[from] serde_json::Error),
    #[error("manifest says mediaType `{body}` but was sent as `{content_type}`")]
    MediaTypeMismatch { content_type: String, body: String },
    #[error("media type `{0}` is not supported")]
    UnsupportedMediaType(String),
    #[error("Docker image manifests of schema 1 are not supported")]
    Schema1,
    #[error("schemaVersion is {0}; it must be 2")]
    SchemaVersion(i64),
    #[error("manifest is ambiguous: it has both `{0}` and `{1}`")]
    Ambiguous(&'static str, &'static str),
    #[error("{kind} has no `{field}`")]
    Missing { kind: &'static str, field: &'static str },
    /// Such a type is no media type, and databases know no such text.
    #[error("manifest has an artifact type with a NUL character")]
    Nul,
}

/// What Berth reads of a manifest. The bytes themselves stay the truth and are never rewritten
/// from this view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestView {
    pub kind: ManifestKind,
    /// The type under which the document is stored and served.
    pub media_type: String,
    /// Of images only.
    pub config: Option<Descriptor>,
    /// Of images only.
    pub layers: Vec<Descriptor>,
    /// Of indexes only.
    pub manifests: Vec<Descriptor>,
    pub subject: Option<Descriptor>,
    pub artifact_type: Option<String>,
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<i64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    #[serde(default, deserialize_with = "present")]
    config: Option<Option<Descriptor>>,
    #[serde(default, deserialize_with = "present")]
    layers: Option<Option<Vec<Descriptor>>>,
    #[serde(default, deserialize_with = "present")]
    manifests: Option<Option<Vec<Descriptor>>>,
    /// Of schema 1 only.
    #[serde(default, rename = "fsLayers", deserialize_with = "present")]
    fs_layers: Option<Option<serde::de::IgnoredAny>>,
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: BTreeMap<String, String>,
}

/// Tells a field that is there, even as `null`, from one that is not.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

impl ManifestView {
    /// Reads a manifest.
    ///
    /// `content_type` is the header that came with it; `None` and types that say nothing
    /// (`application/json`, `application/octet-stream`, `text/plain`) leave the decision to the
    /// document.
    ///
    /// # Errors
    /// [`ManifestError`] for documents above 4 MiB, of schema 1, of an unknown type, of a type
    /// that differs from `content_type`, and for documents that could be read both as image and as
    /// index (CVE-2021-41190).
    pub fn parse(content_type: Option<&str>, bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge(bytes.len()));
        }
        let declared = content_type.map(media_type::essence).filter(|name| says_something(name));
        if declared.as_deref().is_some_and(is_schema1) {
            return Err(ManifestError::Schema1);
        }
        if let Some(name) = declared.as_deref().filter(|name| !is_known(name)) {
            return Err(ManifestError::UnsupportedMediaType(name.to_owned()));
        }
        let raw: Raw = serde_json::from_slice(bytes)?;
        raw.check_version()?;
        let media_type = raw.media_type(declared)?;
        let view = if media_type::is_index(&media_type) {
            raw.into_index(media_type)?
        } else {
            raw.into_image(media_type)?
        };
        if view.effective_artifact_type().is_some_and(|name| name.contains('\0')) {
            return Err(ManifestError::Nul);
        }
        Ok(view)
    }

    pub fn is_index(&self) -> bool {
        self.kind == ManifestKind::Index
    }

    /// The type of the config when the document is a container image's manifest: OCI's or Docker's,
    /// also where a Docker manifest gives its config a type that says nothing.
    pub fn image_config_type(&self) -> Option<&str> {
        let name = &self.config.as_ref()?.media_type;
        if media_type::is_image_config(name) {
            return Some(name);
        }
        let docker = self.media_type == media_type::DOCKER_MANIFEST;
        (docker && media_type::is_untyped_config(name)).then_some(media_type::DOCKER_CONFIG)
    }

    /// The artifact type that the referrers API shows: the field, else the config's media type.
    pub fn effective_artifact_type(&self) -> Option<&str> {
        self.artifact_type
            .as_deref()
            .filter(|text| !text.is_empty())
            .or_else(|| self.config.as_ref().map(|config| config.media_type.as_str()))
    }

    /// Config and layers whose bytes a registry must hold: every blob of an image except foreign
    /// layers, each digest once, config first.
    pub fn blobs(&self) -> Vec<&Descriptor> {
        let mut seen: HashSet<&Digest> = HashSet::new();
        let layers = self.layers.iter().filter(|one| !one.is_foreign_layer());
        self.config.iter().chain(layers).filter(|one| seen.insert(&one.digest)).collect()
    }

    /// Bytes of config and layers as the descriptors say.
    pub fn image_size(&self) -> u64 {
        let config = self.config.as_ref().map_or(0, |config| config.size);
        self.layers.iter().fold(config, |sum, layer| sum.saturating_add(layer.size))
    }
}

impl Raw {
    fn check_version(&self) -> Result<(), ManifestError> {
        let schema1 =
            self.fs_layers.is_some() || self.media_type.as_deref().is_some_and(is_schema1);
        match self.schema_version {
            _ if schema1 => Err(ManifestError::Schema1),
            Some(1) => Err(ManifestError::Schema1),
            Some(2) => Ok(()),
            Some(other) => Err(ManifestError::SchemaVersion(other)),
            None => Err(ManifestError::Missing { kind: "manifest", field: "schemaVersion" }),
        }
    }

    /// The one type on which header, field and shape agree.
    fn media_type(&self, declared: Option<String>) -> Result<String, ManifestError> {
        let body = self.media_type.clone().filter(|name| !name.is_empty());
        if let Some(name) = body.as_deref().filter(|name| !is_known(name)) {
            return Err(ManifestError::UnsupportedMediaType(name.to_owned()));
        }
        match (declared, body) {
            (Some(content_type), Some(body)) if content_type != body => {
                Err(ManifestError::MediaTypeMismatch { content_type, body })
            }
            (Some(name), _) | (None, Some(name)) => Ok(name),
            (None, None) if self.manifests.is_some() => Ok(media_type::OCI_INDEX.to_owned()),
            (None, None) => Ok(media_type::OCI_MANIFEST.to_owned()),
        }
    }

    fn into_index(self, media_type: String) -> Result<ManifestView, ManifestError> {
        if self.layers.is_some() {
            return Err(ManifestError::Ambiguous("manifests", "layers"));
        }
        if self.config.is_some() {
            return Err(ManifestError::Ambiguous("manifests", "config"));
        }
        let missing = ManifestError::Missing { kind: "index", field: "manifests" };
        Ok(ManifestView {
            kind: ManifestKind::Index,
            media_type,
            config: None,
            layers: Vec::new(),
            manifests: self.manifests.ok_or(missing)?.unwrap_or_default(),
            subject: self.subject,
            artifact_type: self.artifact_type,
            annotations: self.annotations,
        })
    }

    fn into_image(self, media_type: String) -> Result<ManifestView, ManifestError> {
        if self.manifests.is_some() {
            return Err(ManifestError::Ambiguous("layers", "manifests"));
        }
        let missing = |field| ManifestError::Missing { kind: "image manifest", field };
        Ok(ManifestView {
            kind: ManifestKind::Image,
            media_type,
            config: Some(self.config.flatten().ok_or_else(|| missing("config"))?),
            layers: self.layers.ok_or_else(|| missing("layers"))?.unwrap_or_default(),
            manifests: Vec::new(),
            subject: self.subject,
            artifact_type: self.artifact_type,
            annotations: self.annotations,
        })
    }
}

fn says_something(media_type: &str) -> bool {
    !matches!(media_type, "" | "application/json" | "application/octet-stream" | "text/plain")
}

fn is_known(media_type: &str) -> bool {
    media_type::MANIFESTS.contains(&media_type)
}

fn is_schema1(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.docker.distribution.manifest.v1+")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn image(extra: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,{extra}
            "config":{{"mediaType":"{config}","digest":"{DIGEST}","size":3}},
            "layers":[{{"mediaType":"{layer}","digest":"{DIGEST}","size":40,"urls":null}}]}}"#,
            config = media_type::OCI_CONFIG,
            layer = media_type::OCI_LAYER_GZIP,
        )
    }

    fn index(extra: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,{extra}"manifests":[{{"mediaType":"{manifest}",
            "digest":"{DIGEST}","size":7,
            "platform":{{"os":"linux","architecture":"arm","variant":"v7","os.version":"1"}}}}]}}"#,
            manifest = media_type::OCI_MANIFEST,
        )
    }

    #[test]
    fn reads_images_and_indexes() {
        let view = ManifestView::parse(Some(media_type::OCI_MANIFEST), image("").as_bytes())
            .expect("image");
        assert_eq!((view.kind, view.image_size()), (ManifestKind::Image, 43));
        assert_eq!(view.blobs().len(), 1, "one digest once");
        assert_eq!(view.effective_artifact_type(), Some(media_type::OCI_CONFIG));
        let view = ManifestView::parse(None, index("").as_bytes()).expect("index");
        assert_eq!(view.media_type, media_type::OCI_INDEX);
        let platform = view.manifests.first().and_then(|one| one.platform.clone());
        assert_eq!(platform.map(|one| one.to_string()).as_deref(), Some("linux/arm/v7"));
        let empty = br#"{"schemaVersion":2,"manifests":null}"#;
        assert!(ManifestView::parse(Some(media_type::OCI_INDEX), empty).expect("empty").is_index());
        let parameters = format!("{}; charset=utf-8", media_type::OCI_MANIFEST);
        assert!(ManifestView::parse(Some(&parameters), image("").as_bytes()).is_ok());
        assert!(ManifestView::parse(Some("application/json"), image("").as_bytes()).is_ok());
    }

    #[test]
    fn refuses_what_can_be_read_in_two_ways() {
        let both = image(r#""manifests":[],"#);
        for content_type in [None, Some(media_type::OCI_MANIFEST), Some(media_type::OCI_INDEX)] {
            let error = ManifestView::parse(content_type, both.as_bytes()).expect_err("both");
            assert!(matches!(error, ManifestError::Ambiguous(..)), "{error}");
        }
        let both = index(r#""layers":null,"#);
        assert!(ManifestView::parse(None, both.as_bytes()).is_err());
        let twice = image(&format!(r#""layers":[],"mediaType":"{}","#, media_type::OCI_MANIFEST));
        assert!(ManifestView::parse(None, twice.as_bytes()).is_err(), "a field twice");
        let lying = image(&format!(r#""mediaType":"{}","#, media_type::DOCKER_MANIFEST));
        let error = ManifestView::parse(Some(media_type::OCI_MANIFEST), lying.as_bytes());
        assert!(matches!(error, Err(ManifestError::MediaTypeMismatch { .. })));
        let error = ManifestView::parse(Some(media_type::OCI_INDEX), image("").as_bytes());
        assert!(matches!(error, Err(ManifestError::Ambiguous(..))));
    }

    #[test]
    fn refuses_what_is_no_manifest() {
        let schema1 = br#"{"schemaVersion":1,"fsLayers":[],"name":"x"}"#;
        assert!(matches!(ManifestView::parse(None, schema1), Err(ManifestError::Schema1)));
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"schemaVersion":2}"#,
            r#"{"schemaVersion":3,"manifests":[]}"#,
            r#"{"schemaVersion":2,"config":null,"layers":[]}"#,
            r#"{"schemaVersion":2,"manifests":[{"mediaType":"a","digest":"sha256:00","size":1}]}"#,
        ] {
            assert!(ManifestView::parse(None, bad.as_bytes()).is_err(), "{bad}");
        }
        let negative = image("").replace("\"size\":40", "\"size\":-1");
        assert!(ManifestView::parse(None, negative.as_bytes()).is_err());
        let unknown = ManifestView::parse(Some("application/x"), image("").as_bytes());
        assert!(matches!(unknown, Err(ManifestError::UnsupportedMediaType(_))));
        let large = vec![b' '; MAX_MANIFEST_BYTES + 1];
        assert!(matches!(ManifestView::parse(None, &large), Err(ManifestError::TooLarge(_))));
    }

    #[test]
    fn attestations_name_their_image() {
        let text = index("").replace(
            "\"size\":7,",
            &format!(
                r#""size":7,"annotations":{{"vnd.docker.reference.type":"attestation-manifest",
                "vnd.docker.reference.digest":"{DIGEST}"}},"#
            ),
        );
        let view = ManifestView::parse(None, text.as_bytes()).expect("index");
        assert_eq!(view.manifests.first().and_then(Descriptor::attestation_of), Some(DIGEST));
    }
}
