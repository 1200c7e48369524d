//! Content digests (OCI image-spec, "Digests"): `sha256:<64 hex>` and `sha512:<128 hex>`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::digest::common::hazmat::{DeserializeStateError, SerializableState};
use sha2::{Digest as _, Sha256, Sha512};

/// The hash algorithms that OCI registers and Berth accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    /// The name as written before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the hexadecimal part.
    pub fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    #[error("digest `{0}` has no `algorithm:hex` form")]
    Form(String),
    #[error("digest algorithm `{0}` is not supported; use sha256 or sha512")]
    Algorithm(String),
    #[error("digest `{0}` must have {1} lower-case hexadecimal digits")]
    Hex(String, usize),
}

/// A validated content digest. Cheap to compare, ordered by its text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    text: Box<str>,
    algorithm: Algorithm,
}

impl Digest {
    /// Digest of bytes in memory, sha256.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, bytes)
    }

    /// Digest of bytes in memory.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The part after the colon.
    pub fn hex(&self) -> &str {
        &self.text[self.algorithm.name().len() + 1..]
    }

    fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Self {
        let text = format!("{}:{}", algorithm.name(), hex::encode(hash));
        Self { text: text.into(), algorithm }
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text.split_once(':').ok_or_else(|| DigestError::Form(text.to_owned()))?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(DigestError::Algorithm(name.to_owned())),
        };
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hex.len() != algorithm.hex_len() || !hex.bytes().all(lower_hex) {
            return Err(DigestError::Hex(text.to_owned(), algorithm.hex_len()));
        }
        Ok(Self { text: text.into(), algorithm })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An incremental digest whose state can be stored and taken up again, also by another process
/// (an upload that continues on another server is never read again).
#[derive(Clone)]
pub enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

/// The stored state of a [`Hasher`]: algorithm byte, then the state of the hash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HasherState(pub Vec<u8>);

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(hash) => Digest::from_hash(Algorithm::Sha256, &hash.finalize()),
            Self::Sha512(hash) => Digest::from_hash(Algorithm::Sha512, &hash.finalize()),
        }
    }

    /// The state as bytes for a database row.
    pub fn save(&self) -> HasherState {
        let (tag, state) = match self {
            Self::Sha256(hash) => (1u8, hash.serialize().to_vec()),
            Self::Sha512(hash) => (2u8, hash.serialize().to_vec()),
        };
        let mut bytes = Vec::with_capacity(state.len() + 1);
        bytes.push(tag);
        bytes.extend_from_slice(&state);
        HasherState(bytes)
    }

    /// Takes a stored state up again; `None` when the bytes are not such a state.
    pub fn restore(state: &HasherState) -> Option<Self> {
        let (tag, bytes) = state.0.split_first()?;
        match tag {
            1 => restore_state(bytes).ok().map(Self::Sha256),
            2 => restore_state(bytes).ok().map(Self::Sha512),
            _ => None,
        }
    }
}

fn restore_state<H: SerializableState>(bytes: &[u8]) -> Result<H, DeserializeStateError> {
    let state = bytes.try_into().map_err(|_| DeserializeStateError)?;
    H::deserialize(&state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_refuses() {
        let digest = Digest::sha256(b"");
        assert_eq!(
            digest.as_str(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(digest.as_str().parse::<Digest>().as_ref(), Ok(&digest));
        for bad in ["", "sha256", "sha256:", "md5:00", "sha256:E3", "sha512:00"] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_stored_state_continues() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let mut first = Hasher::new(algorithm);
            first.update(&[7; 777_777]);
            let mut second = Hasher::restore(&first.save()).expect("state restores");
            second.update(b"rest");
            first.update(b"rest");
            assert_eq!(first.finish(), second.finish());
        }
        assert!(Hasher::restore(&HasherState(vec![1, 2, 3])).is_none());
        assert!(Hasher::restore(&HasherState(vec![])).is_none());
    }
}
