//! The platform filter: what of a multi-platform index is kept.

use berth_oci::{Descriptor, ManifestView};
use berth_types::Platform;
use bytes::Bytes;
use serde_json::Value;

/// Whether the patterns cover every platform, and so everything of an index is kept.
pub(crate) fn all(patterns: &[Platform]) -> bool {
    patterns.iter().any(|one| one.os == "*" && one.architecture == "*" && one.variant.is_none())
}

/// Which children are kept, by position: those of the platforms, and the attestations of those.
///
/// # Errors
/// In words, when no child has one of the platforms.
pub(crate) fn kept(view: &ManifestView, patterns: &[Platform]) -> Result<Vec<bool>, String> {
    if all(patterns) {
        return Ok(vec![true; view.manifests.len()]);
    }
    let wanted = |child: &Descriptor| {
        let matches = |platform| patterns.iter().any(|pattern| pattern.matches(platform));
        child.attestation_of().is_none() && child.platform.as_ref().is_some_and(matches)
    };
    let digests: Vec<&str> = view
        .manifests
        .iter()
        .filter(|child| wanted(child))
        .map(|one| one.digest.as_str())
        .collect();
    if digests.is_empty() {
        let mut there: Vec<String> = view
            .manifests
            .iter()
            .filter(|child| child.attestation_of().is_none())
            .filter_map(|child| child.platform.as_ref().map(ToString::to_string))
            .collect();
        there.sort();
        there.dedup();
        let asked: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        return Err(format!(
            "no image for {} in the index; it has {}",
            asked.join(", "),
            if there.is_empty() { "no platforms".to_owned() } else { there.join(", ") }
        ));
    }
    let kept = |child: &Descriptor| {
        wanted(child) || child.attestation_of().is_some_and(|image| digests.contains(&image))
    };
    Ok(view.manifests.iter().map(kept).collect())
}

/// The index with the kept children only. Its other fields and the order stay; when everything is
/// kept, so do the bytes.
///
/// # Errors
/// In words, when the bytes are not an index.
pub(crate) fn restrict(body: &Bytes, kept: &[bool]) -> Result<Bytes, String> {
    if kept.iter().all(|kept| *kept) {
        return Ok(body.clone());
    }
    let mut index: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let children = index.get_mut("manifests").and_then(Value::as_array_mut);
    let children = children.ok_or_else(|| "the index has no manifests".to_owned())?;
    let mut keep = kept.iter().copied();
    children.retain(|_| keep.next().unwrap_or(false));
    serde_json::to_vec(&index).map(Bytes::from).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use berth_oci::media_type;
    use berth_types::Digest;

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

    #[test]
    fn keeps_platforms_with_their_attestations() {
        let (_, view) = index();
        for (patterns, expected) in [
            (&["*/*"][..], [true, true, true, true, true, true]),
            (&["linux/amd64"], [true, false, false, false, true, false]),
            (&["linux/arm64", "windows/x86-64"], [false, true, false, true, false, true]),
            (&["linux/arm"], [false, false, true, false, false, false]),
            (&["linux/*"], [true, true, true, false, true, true]),
        ] {
            assert_eq!(
                kept(&view, &platforms(patterns)).as_deref(),
                Ok(&expected[..]),
                "{patterns:?}"
            );
        }
        let error = kept(&view, &platforms(&["linux/s390x"])).expect_err("nothing kept");
        assert!(error.contains("linux/s390x") && error.contains("windows/amd64"), "{error}");
    }

    #[test]
    fn a_restricted_index_keeps_the_rest_and_a_whole_one_its_bytes() {
        let (body, view) = index();
        assert_eq!(restrict(&body, &[true; 6]), Ok(body.clone()));
        let kept = kept(&view, &platforms(&["linux/amd64"])).expect("kept");
        let restricted = restrict(&body, &kept).expect("restricted");
        let again = ManifestView::parse(Some(media_type::OCI_INDEX), &restricted).expect("index");
        assert_eq!(again.manifests.len(), 2);
        assert_eq!(again.manifests.first(), view.manifests.first());
        assert_eq!(again.annotations, view.annotations);
        let text = String::from_utf8_lossy(&restricted).into_owned();
        assert!(text.starts_with(r#"{"schemaVersion":2,"zeta":1,"#), "{text}");
    }
}
