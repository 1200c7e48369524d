//! The platform filter: what of a multi-platform index is kept.

use berth_oci::{Descriptor, ManifestView, media_type};
use berth_types::{Digest, Platform};
use bytes::Bytes;
use serde_json::Value;

/// What a child of an index is to the filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Nature {
    /// An image for this platform.
    Image(Platform),
    /// An index, of which `keeps` says whether any of its own children is kept.
    Index { keeps: bool },
    /// It speaks of another manifest, as an attestation or a signature does.
    About(String),
    /// Neither: a chart, a disk, any other artifact.
    Other,
}

/// Whether the patterns cover every platform, and so everything of an index is kept.
pub(crate) fn all(patterns: &[Platform]) -> bool {
    patterns.iter().any(|one| one.os == "*" && one.architecture == "*" && one.variant.is_none())
}

/// What the index itself says about a child; `None` when its manifest must be looked at.
pub(crate) fn told(child: &Descriptor) -> Option<Nature> {
    if media_type::is_index(&child.media_type) {
        return None;
    }
    if let Some(image) = child.attestation_of() {
        return Some(Nature::About(image.to_owned()));
    }
    match &child.platform {
        Some(platform) if !platform.os.is_empty() && platform.os != "unknown" => {
            Some(Nature::Image(platform.clone()))
        }
        _ if !media_type::is_image_manifest(&child.media_type) => Some(Nature::Other),
        _ => None,
    }
}

/// Which children are kept, by position: the images of the platforms, the indexes that have any,
/// what speaks of a kept sibling, and whatever is no image.
pub(crate) fn kept(children: &[(&Digest, &Nature)], patterns: &[Platform]) -> Vec<bool> {
    if all(patterns) {
        return vec![true; children.len()];
    }
    let by_itself = |nature: &Nature| match nature {
        Nature::Image(platform) => patterns.iter().any(|pattern| pattern.matches(platform)),
        Nature::Index { keeps } => *keeps,
        Nature::About(_) | Nature::Other => true,
    };
    let kept = |(_, nature): &(&Digest, &Nature)| {
        let Nature::About(subject) = nature else { return by_itself(nature) };
        let mut named = children.iter().filter(|(digest, _)| digest.as_str() == subject).peekable();
        // Of what is elsewhere nobody can say that it is left out.
        named.peek().is_none() || named.any(|(_, nature)| by_itself(nature))
    };
    children.iter().map(kept).collect()
}

/// Why bytes are no index whose children could be left out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestrictError {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("the index has no manifests")]
    NoManifests,
}

/// The index with the kept children only. Its other fields and the order stay; when everything is
/// kept, so do the bytes.
///
/// # Errors
/// When the bytes are not an index.
pub(crate) fn restrict(body: &Bytes, kept: &[bool]) -> Result<Bytes, RestrictError> {
    if kept.iter().all(|kept| *kept) {
        return Ok(body.clone());
    }
    let mut index: Value = serde_json::from_slice(body)?;
    let children = index.get_mut("manifests").and_then(Value::as_array_mut);
    let children = children.ok_or(RestrictError::NoManifests)?;
    let mut keep = kept.iter().copied();
    children.retain(|_| keep.next().unwrap_or(false));
    Ok(serde_json::to_vec(&index)?.into())
}

/// Whether a manifest without a platform is a file system of some platform after all; its config
/// says of which. BuildKit's attestations have such a config too, but no layer of an image.
pub(crate) fn is_image(view: &ManifestView) -> bool {
    view.image_config_type().is_some()
        && view
            .layers
            .iter()
            .all(|layer| media_type::is_layer(&layer.media_type) || layer.is_foreign_layer())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(name: &str, platform: &str) -> String {
        let (os, architecture) = platform.split_once('/').expect(platform);
        let (architecture, variant) = architecture.split_once('/').unwrap_or((architecture, ""));
        format!(
            r#"{{"mediaType":"{}","digest":"{}","size":9,"platform":
            {{"architecture":"{architecture}","os":"{os}","variant":"{variant}"}}}}"#,
            media_type::OCI_MANIFEST,
            Digest::sha256(name.as_bytes()),
        )
    }

    fn attestation(of: &str) -> String {
        let digest = Digest::sha256(of.as_bytes());
        child(&format!("attestation of {of}"), "unknown/unknown").replace(
            "\"size\":9,",
            &format!(
                r#""size":9,"annotations":{{"vnd.docker.reference.type":"attestation-manifest",
                "vnd.docker.reference.digest":"{digest}"}},"#
            ),
        )
    }

    fn index() -> (Bytes, ManifestView) {
        let children = [
            child("amd64", "linux/amd64"),
            child("arm64", "linux/arm64/v8"),
            child("arm", "linux/arm/v7"),
            child("windows", "windows/amd64"),
            attestation("amd64"),
            attestation("arm64"),
        ];
        let text = format!(
            r#"{{"schemaVersion":2,"zeta":1,"mediaType":"{}","manifests":[{}],"annotations":{{"a":"b"}}}}"#,
            media_type::OCI_INDEX,
            children.join(",")
        );
        let view = ManifestView::parse(None, text.as_bytes()).expect("index");
        (Bytes::from(text), view)
    }

    fn platforms(names: &[&str]) -> Vec<Platform> {
        names.iter().map(|name| name.parse().expect(name)).collect()
    }

    fn kept_of(view: &ManifestView, patterns: &[&str]) -> Vec<bool> {
        let natures: Vec<Nature> =
            view.manifests.iter().map(|child| told(child).expect("told")).collect();
        let digests = view.manifests.iter().map(|child| &child.digest);
        let children: Vec<_> = digests.zip(&natures).collect();
        kept(&children, &platforms(patterns))
    }

    #[test]
    fn a_docker_manifest_is_an_image_also_where_its_config_has_no_type_of_its_own() {
        for (media_type, expected) in
            [(media_type::DOCKER_MANIFEST, true), (media_type::OCI_MANIFEST, false)]
        {
            let digest = Digest::sha256(b"config");
            let text = format!(
                r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{{"mediaType":
                "application/octet-stream","digest":"{digest}","size":2}},"layers":[]}}"#
            );
            let view = ManifestView::parse(None, text.as_bytes()).expect("manifest");
            assert_eq!(is_image(&view), expected, "{media_type}");
        }
    }

    #[test]
    fn keeps_platforms_with_their_attestations() {
        let (_, view) = index();
        for (patterns, expected) in [
            (&["*/*"][..], [true, true, true, true, true, true]),
            (&["linux/amd64"], [true, false, false, false, true, false]),
            (&["linux/arm64", "windows/x86-64"], [false, true, false, true, false, true]),
            (&["linux/arm"], [false, false, true, false, false, false]),
            (&["linux/*"], [true, true, true, false, true, true]),
            (&["linux/s390x"], [false; 6]),
        ] {
            assert_eq!(kept_of(&view, patterns), expected, "{patterns:?}");
        }
    }

    #[test]
    fn indexes_follow_their_children_and_what_is_no_image_comes_along() {
        let names = ["empty", "full", "about empty", "about full", "about elsewhere", "chart"];
        let [empty, full, others @ ..] = names.map(|name| Digest::sha256(name.as_bytes()));
        let about = |digest: &Digest| Nature::About(digest.to_string());
        let natures = [
            Nature::Index { keeps: false },
            Nature::Index { keeps: true },
            about(&empty),
            about(&full),
            about(&Digest::sha256(b"elsewhere")),
            Nature::Other,
        ];
        let digests = [&empty, &full].into_iter().chain(&others);
        let children: Vec<_> = digests.zip(&natures).collect();
        let kept = kept(&children, &platforms(&["linux/amd64"]));
        assert_eq!(kept, [false, true, false, true, true, true]);
    }

    #[test]
    fn a_restricted_index_keeps_the_rest_and_a_whole_one_its_bytes() {
        let (body, view) = index();
        assert_eq!(restrict(&body, &[true; 6]).expect("an index"), body);
        let kept = kept_of(&view, &["linux/amd64"]);
        let restricted = restrict(&body, &kept).expect("restricted");
        let again = ManifestView::parse(Some(media_type::OCI_INDEX), &restricted).expect("index");
        assert_eq!(again.manifests.len(), 2);
        assert_eq!(again.manifests.first(), view.manifests.first());
        assert_eq!(again.annotations, view.annotations);
        let text = String::from_utf8_lossy(&restricted).into_owned();
        assert!(text.starts_with(r#"{"schemaVersion":2,"zeta":1,"#), "{text}");
    }
}
