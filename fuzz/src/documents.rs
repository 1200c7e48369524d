//! Documents and headers that clients and other registries send.

use berth_oci::{ConfigView, ManifestView, media_type};
use berth_types::{Digest, Platform, Reference, RepoName, Tag};

/// Runs the target of this name; false when there is none.
pub fn run(target: &str, bytes: &[u8]) -> bool {
    match target {
        "manifest" => manifest(bytes),
        "config" => config(bytes),
        "headers" => headers(bytes),
        "names" => names(bytes),
        _ => return false,
    }
    true
}

/// Manifests and indexes of every type: what one type takes, another may refuse, none may read as both.
pub fn manifest(bytes: &[u8]) {
    let mut kinds = Vec::new();
    for content_type in [None].into_iter().chain(media_type::MANIFESTS.iter().copied().map(Some)) {
        let Ok(view) = ManifestView::parse(content_type, bytes) else { continue };
        assert_eq!(view.is_index(), media_type::is_index(&view.media_type));
        assert!(view.blobs().len() <= view.layers.len() + 1);
        let _ = (view.image_size(), view.effective_artifact_type());
        for child in &view.manifests {
            let _ = (child.attestation_of(), child.is_foreign_layer());
        }
        kinds.push(view.kind);
    }
    kinds.dedup();
    assert!(kinds.len() <= 1, "one document, two readings");
}

/// Image configs.
pub fn config(bytes: &[u8]) {
    // An error is a fine end.
    drop(ConfigView::parse(bytes));
}

/// `Link` and `WWW-Authenticate`.
pub fn headers(bytes: &[u8]) {
    berth_oci::client::fuzzing::headers(bytes);
}

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
