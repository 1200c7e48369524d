//! Names as users and clients write them.

use berth_types::{Digest, Platform, Reference, RepoName, Tag};

/// Repository names, tags, digests, references, platforms.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(name) = text.parse::<RepoName>() {
        assert_eq!(format!("{}/{}", name.namespace(), name.name()), text);
    }
    if let Ok(tag) = text.parse::<Tag>() {
        assert_eq!(tag.as_str(), text);
        assert!(text.parse::<Digest>().is_err());
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.as_str(), text);
    }
    drop(text.parse::<Reference>());
    drop(text.parse::<Platform>());
}
