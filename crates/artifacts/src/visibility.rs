//! Who may pull from a repository.

use std::fmt;
use std::str::FromStr;

/// ACR's `RepoType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepoType {
    /// Anybody may pull.
    Public,
    Private,
}

impl RepoType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "PUBLIC",
            Self::Private => "PRIVATE",
        }
    }
}

impl fmt::Display for RepoType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no [`RepoType`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither PUBLIC nor PRIVATE")]
pub struct UnknownRepoType(String);

impl FromStr for RepoType {
    type Err = UnknownRepoType;

    fn from_str(text: &str) -> Result<Self, UnknownRepoType> {
        match text {
            "PUBLIC" => Ok(Self::Public),
            "PRIVATE" => Ok(Self::Private),
            _ => Err(UnknownRepoType(text.to_owned())),
        }
    }
}
