//! Tags by which an image's signatures and other referrers are found where a registry has no
//! referrers API: `sha256-<hex>` (distribution-spec 1.1, "Referrers Tag Schema"), and those that
//! cosign writes with an ending.

use berth_types::{Digest, Tag};

/// What cosign puts behind the digest for signatures, attestations and SBOMs.
pub(crate) const COSIGN_ENDINGS: [&str; 3] = [".sig", ".att", ".sbom"];

/// The tag of an image's digest; the ending is empty for the index of its referrers.
pub(crate) fn tag_of(image: &Digest, ending: &str) -> Option<Tag> {
    format!("{}-{}{ending}", image.algorithm().name(), image.hex()).parse().ok()
}

/// Whether a tag has the name of one that belongs to an image's digest.
pub(crate) fn is_referrer_tag(name: &str) -> bool {
    let name = COSIGN_ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    let Some((algorithm, hex)) = name.split_once('-') else { return false };
    format!("{algorithm}:{hex}").parse::<Digest>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let image = Digest::sha256(b"image");
        for ending in ["", ".sig", ".att", ".sbom"] {
            let tag = tag_of(&image, ending).expect("a tag");
            assert!(is_referrer_tag(tag.as_str()), "{tag}");
        }
        for name in ["latest", "sha256-abc", "v1-rc.sig", "sha256", ".sig"] {
            assert!(!is_referrer_tag(name), "{name}");
        }
    }
}
