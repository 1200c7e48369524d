//! Image configs (image-spec "OCI Image Configuration"), read from their bytes.

use berth_types::{Digest, Millis, Platform};
use chrono::DateTime;
use serde::Deserialize;

use crate::descriptor::null_is_default;

/// What Berth reads of an image config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigView {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
    /// When the image was made; `None` when it does not say, or says it in no RFC 3339 time.
    pub created: Option<Millis>,
    /// Digests of the uncompressed layers, base first.
    pub diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default, deserialize_with = "null_is_default")]
    os: String,
    #[serde(default, deserialize_with = "null_is_default")]
    architecture: String,
    variant: Option<String>,
    created: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    rootfs: RootFs,
}

#[derive(Deserialize, Default)]
struct RootFs {
    #[serde(default, deserialize_with = "null_is_default")]
    diff_ids: Vec<Digest>,
}

impl ConfigView {
    /// Reads a config.
    ///
    /// # Errors
    /// When the bytes are not JSON of a config's shape.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let raw: Raw = serde_json::from_slice(bytes)?;
        let created =
            raw.created.as_deref().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        Ok(Self {
            os: raw.os,
            architecture: raw.architecture,
            variant: raw.variant.filter(|variant| !variant.is_empty()),
            created: created.map(|time| time.timestamp_millis()),
            diff_ids: raw.rootfs.diff_ids,
        })
    }

    pub fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_needs() {
        let digest = Digest::sha256(b"layer");
        let text = format!(
            r#"{{"os":"linux","architecture":"amd64","created":"2024-01-02T03:04:05.678Z",
            "rootfs":{{"type":"layers","diff_ids":["{digest}"]}},"config":{{"Env":["A=1"]}}}}"#
        );
        let config = ConfigView::parse(text.as_bytes()).expect("config");
        assert_eq!(config.created, Some(1_704_164_645_678));
        assert_eq!(config.diff_ids, [digest]);
        assert_eq!(config.platform().to_string(), "linux/amd64");
        let empty = ConfigView::parse(b"{}").expect("OCI's empty config is one too");
        assert_eq!((empty.created, empty.diff_ids.len()), (None, 0));
        assert!(ConfigView::parse(br#"{"rootfs":{"diff_ids":["x"]}}"#).is_err());
    }
}
