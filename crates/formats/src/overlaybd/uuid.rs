//! Names of layers: each is called after the chain of source layers that it ends.

use berth_types::Digest;

/// The name of a layer and that of the layer below it, as they stand in the LSMT records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    pub uuid: String,
    /// `None` for the lowest layer.
    pub parent: Option<String>,
}

impl Lineage {
    /// Names for the layer that ends `chain` (the chain IDs of the image up to it).
    pub fn of(chain_id: &Digest, parent_chain_id: Option<&Digest>) -> Self {
        Self { uuid: chain_uuid(chain_id), parent: parent_chain_id.map(chain_uuid) }
    }
}

/// Chain IDs of an image's layers (OCI image-spec, config, "Layer ChainID").
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let next = match chain.last() {
            None => diff_id.clone(),
            Some(below) => Digest::sha256(format!("{below} {diff_id}").as_bytes()),
        };
        chain.push(next);
    }
    chain
}

/// The first 32 digits of a chain ID in the form `8-4-4-4-12`, upper case.
pub fn chain_uuid(chain_id: &Digest) -> String {
    let mut out = String::with_capacity(36);
    for (at, digit) in chain_id.hex().chars().take(32).enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        out.push(digit.to_ascii_uppercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use berth_types::Digest;

    use super::{chain_ids, chain_uuid};

    #[test]
    fn chains_follow_the_image_specification() {
        let first = Digest::sha256(b"");
        let second = Digest::sha256(b"x");
        let chain = chain_ids(&[first.clone(), second.clone()]);
        let expected = Digest::sha256(format!("{first} {second}").as_bytes());
        assert_eq!(chain, [first.clone(), expected]);
        assert_eq!(chain_uuid(&first), "E3B0C442-98FC-1C14-9AFB-F4C8996FB924");
    }
}
