//! What a converted layer's bytes depend on, as one hash: the key under which it is found again.
//!
//! The key is made of blob digests, not of the diff ids that a config claims, so that an image
//! can never reach the converted layers of another one whose blobs it does not have.

use berth_types::{Algorithm, Digest, Hasher};

/// Changes whenever the writer makes other bytes of the same input.
const WRITER_VERSION: &str = "overlaybd-ext4-2";

/// The keys of all layers of a chain, lowest first.
///
/// `options` names everything else that the bytes depend on (algorithm, block size, disk size).
pub fn keys<'a>(options: &str, blobs: impl IntoIterator<Item = &'a Digest>) -> Vec<String> {
    let mut below = String::new();
    let mut keys = Vec::new();
    for blob in blobs {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        for part in [WRITER_VERSION, options, &below, blob.as_str()] {
            hasher.update(part.as_bytes());
            hasher.update(b"\n");
        }
        below = hasher.finish().as_str().to_owned();
        keys.push(below.clone());
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_everything_below_and_on_nothing_above() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|text| Digest::sha256(text));
        let two = keys("x", [&a, &b]);
        assert_eq!(two, keys("x", [&a, &b, &c])[..2]);
        assert_ne!(two[1], keys("x", [&c, &b])[1]);
        assert_ne!(two[0], keys("y", [&a])[0]);
    }
}
