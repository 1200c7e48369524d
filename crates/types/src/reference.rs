//! Repository names, tags and references (OCI distribution-spec, "Pulling manifests").

use std::fmt;
use std::str::FromStr;

use crate::Digest;

/// Why a name or tag is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("repository name `{0}` needs a namespace and a name, as in `namespace/repository`")]
    NoNamespace(String),
    #[error(
        "`{0}` is not a valid repository name: each part has lower-case letters and digits, \
         separated by `.`, `_`, `__` or dashes"
    )]
    Name(String),
    #[error("repository name is longer than 255 characters")]
    TooLong,
    #[error("`{0}` is not a valid tag: [A-Za-z0-9_][A-Za-z0-9._-]{{0,127}}")]
    Tag(String),
}

/// `namespace/repository`, where the repository part may have further slashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoName {
    text: Box<str>,
    namespace_len: usize,
}

impl RepoName {
    /// From its two parts.
    ///
    /// # Errors
    /// [`NameError`] when a part breaks the grammar of the distribution specification.
    pub fn new(namespace: &str, name: &str) -> Result<Self, NameError> {
        format!("{namespace}/{name}").parse()
    }

    /// The first path component: the ACR namespace.
    pub fn namespace(&self) -> &str {
        &self.text[..self.namespace_len]
    }

    /// Everything after the namespace: the ACR repository name.
    pub fn name(&self) -> &str {
        &self.text[self.namespace_len + 1..]
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for RepoName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > 255 {
            return Err(NameError::TooLong);
        }
        let (namespace, _) =
            text.split_once('/').ok_or_else(|| NameError::NoNamespace(text.to_owned()))?;
        if !text.split('/').all(is_path_component) {
            return Err(NameError::Name(text.to_owned()));
        }
        Ok(Self { text: text.into(), namespace_len: namespace.len() })
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(part: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let mut index = 0;
    loop {
        let word = bytes[index..].iter().take_while(|byte| alphanumeric(**byte)).count();
        if word == 0 {
            return false;
        }
        index += word;
        let rest = &bytes[index..];
        let separator = match rest {
            [] => return true,
            [b'.', ..] => 1,
            [b'_', b'_', ..] => 2,
            [b'_', ..] => 1,
            _ => rest.iter().take_while(|byte| **byte == b'-').count(),
        };
        if separator == 0 {
            return false;
        }
        index += separator;
    }
}

/// A tag: `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Box<str>);

impl Tag {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let valid = text.len() <= 128
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-');
        if valid { Ok(Self(text.into())) } else { Err(NameError::Tag(text.to_owned())) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands after `/manifests/`: a tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    Tag(Tag),
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = NameError;

    /// A text with a colon is read as a digest, since no tag has one.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains(':') {
            text.parse().map(Self::Digest).map_err(|_| NameError::Tag(text.to_owned()))
        } else {
            text.parse().map(Self::Tag)
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_names() {
        for good in ["a/b", "ns1/app", "a/b/c", "a.b/c_d", "a__b/c", "a---b/c-d"] {
            let name: RepoName = good.parse().expect(good);
            assert_eq!(format!("{}/{}", name.namespace(), name.name()), good);
        }
        for bad in ["", "a", "/a", "a/", "A/b", "a//b", "a/.b", "a/b.", "a/b___c", "a/b..c", "a/é"]
        {
            assert!(bad.parse::<RepoName>().is_err(), "{bad}");
        }
        assert_eq!(format!("a/{}", "b".repeat(254)).parse::<RepoName>(), Err(NameError::TooLong));
    }

    #[test]
    fn tags_and_references() {
        for good in ["latest", "v1.0", "_x", "1", "a-b.c_D"] {
            assert!(good.parse::<Tag>().is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "a b", "a/b", "a:b"] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
        assert!("a".repeat(129).parse::<Tag>().is_err());
        let digest = Digest::sha256(b"x");
        assert_eq!(digest.as_str().parse(), Ok(Reference::Digest(digest)));
    }
}
