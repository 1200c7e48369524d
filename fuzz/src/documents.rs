//! Documents that clients and other registries send.

use berth_oci::{ConfigView, ManifestView, media_type};

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
