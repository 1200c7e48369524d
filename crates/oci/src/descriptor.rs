//! Descriptors (image-spec "Content Descriptors").

use std::collections::BTreeMap;

use berth_types::{Digest, Platform};
use serde::{Deserialize, Deserializer};

/// What one document says about another: type, digest, size.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    #[serde(default, deserialize_with = "null_is_default")]
    pub urls: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "platform")]
    pub platform: Option<Platform>,
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// The content itself in Base64, when it was embedded.
    #[serde(default)]
    pub data: Option<String>,
}

impl Descriptor {
    /// A descriptor of the three required fields.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
            data: None,
        }
    }

    /// Whether the bytes of this layer may be outside any registry.
    pub fn is_foreign_layer(&self) -> bool {
        crate::media_type::is_foreign_layer(&self.media_type)
    }

    /// The digest of the image manifest that this BuildKit attestation speaks of, when the
    /// descriptor is one (`vnd.docker.reference.type` = `attestation-manifest`).
    pub fn attestation_of(&self) -> Option<&str> {
        let kind = self.annotations.get("vnd.docker.reference.type")?;
        (kind == "attestation-manifest")
            .then(|| self.annotations.get("vnd.docker.reference.digest").map(String::as_str))
            .flatten()
    }
}

/// Go writes empty slices and maps as `null`.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

fn platform<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Platform>, D::Error> {
    let raw = Option::<RawPlatform>::deserialize(deserializer)?;
    Ok(raw.map(|raw| Platform {
        os: raw.os,
        architecture: raw.architecture,
        variant: raw.variant.filter(|variant| !variant.is_empty()),
    }))
}
