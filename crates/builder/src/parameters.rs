//! The `Parameters` of a build rule, with ACR's names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{BuildError, BuildErrorKind};

/// What a build makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BuildType {
    /// OverlayBD, for Kubernetes nodes.
    #[serde(rename = "IMAGE_TO_ACCELERATED_IMAGE")]
    Accelerated,
    /// Nydus RAFS, for VM-isolated containers.
    #[serde(rename = "IMAGE_TO_ECI_ACCELERATED_IMAGE")]
    EciAccelerated,
}

impl BuildType {
    /// ACR's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accelerated => "IMAGE_TO_ACCELERATED_IMAGE",
            Self::EciAccelerated => "IMAGE_TO_ECI_ACCELERATED_IMAGE",
        }
    }
}

impl fmt::Display for BuildType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BuildType {
    type Err = BuildError;

    fn from_str(text: &str) -> Result<Self, BuildError> {
        match text {
            "IMAGE_TO_ACCELERATED_IMAGE" => Ok(Self::Accelerated),
            "IMAGE_TO_ECI_ACCELERATED_IMAGE" => Ok(Self::EciAccelerated),
            _ => Err(BuildError::refused(
                BuildErrorKind::InvalidParameter("ArtifactBuildType"),
                format!("ArtifactBuildType `{text}` is not known"),
            )),
        }
    }
}

/// Parameters of a rule or of one build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Parameters {
    /// Index over the original layers instead of new layers. Clients send `true` and `"true"`.
    #[serde(deserialize_with = "lenient_bool")]
    pub image_index_only: bool,
    /// Base64 of newline-separated absolute paths that a start reads first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_file: Option<String>,
    /// 1 to 5, higher first.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient_integer")]
    pub priority: Option<i64>,
    /// Extension: what to build; empty means `IMAGE_TO_ACCELERATED_IMAGE`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub build_types: Vec<BuildType>,
}

/// The priority of a build that asks for none.
pub(crate) const DEFAULT_PRIORITY: i64 = 3;

impl Parameters {
    /// Reads stored JSON back.
    pub(crate) fn from_json(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())
    }

    pub(crate) fn effective_priority(&self) -> i64 {
        self.priority.unwrap_or(DEFAULT_PRIORITY)
    }

    /// Refuses what no build could honour.
    ///
    /// # Errors
    /// `InvalidParameter` or `Unsupported`, naming the parameter.
    pub fn check(&self) -> Result<(), BuildError> {
        let invalid = |message: String| {
            Err(BuildError::refused(BuildErrorKind::InvalidParameter("Parameters"), message))
        };
        if let Some(priority) = self.priority
            && !(1..=5).contains(&priority)
        {
            return invalid(format!("Parameters.Priority is {priority}; it must be 1 to 5"));
        }
        if self.priority_file.is_some() {
            return Err(BuildError::refused(
                BuildErrorKind::Unsupported,
                "Parameters.PriorityFile is not supported by this version of Berth",
            ));
        }
        if self.image_index_only {
            return Err(BuildError::refused(
                BuildErrorKind::Unsupported,
                "Parameters.ImageIndexOnly is not supported by this version of Berth; \
                 leave it out to build full-mode images",
            ));
        }
        if self.build_types.iter().any(|build_type| *build_type != BuildType::Accelerated) {
            return Err(BuildError::refused(
                BuildErrorKind::Unsupported,
                "only IMAGE_TO_ACCELERATED_IMAGE is supported by this version of Berth",
            ));
        }
        Ok(())
    }
}

fn lenient_bool<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Bool(bool),
        Text(String),
    }
    match Either::deserialize(deserializer)? {
        Either::Bool(value) => Ok(value),
        Either::Text(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Either::Text(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Either::Text(text) => {
            Err(serde::de::Error::custom(format!("`{text}` is neither true nor false")))
        }
    }
}

fn lenient_integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Integer(i64),
        Text(String),
    }
    match Option::<Either>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Either::Integer(value)) => Ok(Some(value)),
        Some(Either::Text(text)) => text
            .parse()
            .map(Some)
            .map_err(|_| serde::de::Error::custom(format!("`{text}` is not an integer"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_clients_spell_booleans_and_numbers_as_text() {
        let read: Parameters =
            serde_json::from_str(r#"{"ImageIndexOnly":"true","Priority":"4"}"#).expect("reads");
        assert!(read.image_index_only);
        assert_eq!(read.priority, Some(4));
        assert!(serde_json::from_str::<Parameters>(r#"{"ImageIndexOnly":"maybe"}"#).is_err());
        assert_eq!(serde_json::from_str::<Parameters>("{}").expect("reads"), Parameters::default());
    }

    #[test]
    fn refuses_what_it_cannot_honour() {
        let priority = Parameters { priority: Some(6), ..Parameters::default() };
        assert_eq!(
            priority.check().expect_err("refused").kind(),
            BuildErrorKind::InvalidParameter("Parameters")
        );
        let index = Parameters { image_index_only: true, ..Parameters::default() };
        assert_eq!(index.check().expect_err("refused").kind(), BuildErrorKind::Unsupported);
        assert!(Parameters::default().check().is_ok());
    }
}
