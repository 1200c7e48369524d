//! What must hold before a manifest is stored.

use std::collections::HashSet;

use berth_metadata::Session;
use berth_metadata::tables::manifest::{ManifestReference, ReferenceKind};
use berth_metadata::tables::{blob, manifest};
use berth_oci::{Descriptor, ManifestView};
use berth_types::{Digest, Reference};
use bytes::Bytes;

use crate::ArtifactError;
use crate::ingest::digest_of;

/// Most blobs and manifests that one manifest may name.
const MOST_REFERENCES: usize = 4096;

/// Documents from here on are parsed off the runtime's threads.
const LARGE: usize = 128 * 1024;

/// A manifest whose bytes are understood.
pub(super) struct Parsed {
    pub(super) digest: Digest,
    pub(super) view: ManifestView,
    /// Everything that it names, each once.
    pub(super) references: Vec<ManifestReference>,
}

/// Reads a manifest. The digest is the one that the client pushes to, by its algorithm; sha256 for
/// a tag.
pub(super) async fn parse(
    reference: &Reference,
    content_type: Option<&str>,
    body: &Bytes,
) -> Result<Parsed, ArtifactError> {
    if body.len() > berth_oci::MAX_MANIFEST_BYTES {
        return Err(berth_oci::ManifestError::TooLarge(body.len()).into());
    }
    let digest = match reference {
        Reference::Tag(_) => digest_of(berth_types::Algorithm::Sha256, body).await,
        Reference::Digest(expected) => {
            let actual = digest_of(expected.algorithm(), body).await;
            if actual != *expected {
                return Err(ArtifactError::DigestMismatch { expected: expected.clone(), actual });
            }
            actual
        }
    };
    let view = if body.len() < LARGE {
        ManifestView::parse(content_type, body)?
    } else {
        let (content_type, body) = (content_type.map(str::to_owned), body.clone());
        let parse = move || ManifestView::parse(content_type.as_deref(), &body);
        let parsed = tokio::task::spawn_blocking(parse).await;
        parsed.map_err(|error| ArtifactError::Internal(error.to_string()))??
    };
    let references = references(&view);
    if references.len() > MOST_REFERENCES {
        return Err(ArtifactError::ManifestInvalid(format!(
            "it names {} blobs and manifests; the limit is {MOST_REFERENCES}",
            references.len()
        )));
    }
    Ok(Parsed { digest, view, references })
}

fn references(view: &ManifestView) -> Vec<ManifestReference> {
    let config = view.config.iter().map(|one| (one, ReferenceKind::Config));
    let layers = view.layers.iter().map(|one| (one, ReferenceKind::Layer));
    let manifests = view.manifests.iter().map(|one| (one, ReferenceKind::Manifest));
    let mut seen = HashSet::new();
    config
        .chain(layers)
        .chain(manifests)
        .filter(|(one, kind)| seen.insert((&one.digest, kind.as_str())))
        .map(|(one, kind)| ManifestReference { child: one.digest.clone(), kind })
        .collect()
}

/// The image's measures, once everything that it names is found to be there: every blob that may
/// not be elsewhere, with the size that the manifest says. Children of an index may be missing
/// (distribution-spec 1.1: a registry may accept sparse indexes).
pub(super) async fn measure(
    session: &mut Session,
    repo_id: &str,
    view: &ManifestView,
) -> Result<(i64, i64), ArtifactError> {
    if view.is_index() {
        return measure_index(session, repo_id, &view.manifests).await;
    }
    let mut seen = HashSet::new();
    let blobs = view.config.iter().chain(&view.layers).filter(|one| !one.is_foreign_layer());
    for descriptor in blobs.filter(|one| seen.insert((&one.digest, one.size))) {
        let found = blob::find_in_repo(session, repo_id, &descriptor.digest).await?;
        let found =
            found.ok_or_else(|| ArtifactError::ManifestBlobUnknown(descriptor.digest.clone()))?;
        if i64::try_from(descriptor.size) != Ok(found.size) {
            return Err(ArtifactError::ManifestInvalid(format!(
                "it says that {} has {} bytes, but it has {}",
                descriptor.digest, descriptor.size, found.size
            )));
        }
    }
    let size = i64::try_from(view.image_size())
        .map_err(|_| ArtifactError::ManifestInvalid("its sizes are absurd".to_owned()))?;
    Ok((size, i64::try_from(view.layers.len()).unwrap_or(i64::MAX)))
}

async fn measure_index(
    session: &mut Session,
    repo_id: &str,
    children: &[Descriptor],
) -> Result<(i64, i64), ArtifactError> {
    let (mut size, mut layers) = (0i64, 0i64);
    let mut seen = HashSet::new();
    for child in children.iter().filter(|one| seen.insert(&one.digest)) {
        let found = manifest::find_measures(session, repo_id, &child.digest).await?;
        if let Some(measures) = found {
            size = size.saturating_add(measures.image_size);
            layers = layers.max(measures.layer_count);
        }
    }
    Ok((size, layers))
}
