//! Platforms as `os/architecture[/variant]`.

use std::fmt;
use std::str::FromStr;

/// A platform of an image, or a pattern with `*` for one of its parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("platform `{0}` is not of the form os/architecture[/variant]")]
pub struct PlatformError(String);

impl Platform {
    /// Whether this pattern covers `other`. Parts that are `*` cover anything, a missing variant
    /// covers every variant, and ACR's names for Windows (`x86`, `x86-64`) stand for Go's.
    pub fn matches(&self, other: &Self) -> bool {
        let part = |pattern: &str, value: &str| pattern == "*" || pattern == value;
        part(&self.os, &other.os)
            && part(canonical(&self.architecture), canonical(&other.architecture))
            && match (&self.variant, &other.variant) {
                (None, _) => true,
                (Some(pattern), Some(value)) => part(pattern, value),
                (Some(pattern), None) => pattern == "*",
            }
    }
}

fn canonical(architecture: &str) -> &str {
    match architecture {
        "x86" => "386",
        "x86-64" | "x86_64" => "amd64",
        other => other,
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let mut parts = text.split('/');
        let mut next = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
        let (os, architecture, variant) = (next(), next(), next());
        match (os, architecture, parts.next()) {
            (Some(os), Some(architecture), None) if !text.ends_with('/') => {
                Ok(Self { os, architecture, variant })
            }
            _ => Err(PlatformError(text.to_owned())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let platform = |text: &str| text.parse::<Platform>().expect(text);
        assert!(platform("*/*").matches(&platform("linux/arm/v7")));
        assert!(platform("linux/arm").matches(&platform("linux/arm/v7")));
        assert!(!platform("linux/arm/v6").matches(&platform("linux/arm/v7")));
        assert!(platform("windows/x86-64").matches(&platform("windows/amd64")));
        assert!(!platform("linux/amd64").matches(&platform("linux/arm64")));
        for bad in ["", "linux", "linux/", "/amd64", "a/b/c/d", "a/b/"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }
}
