//! The ways in which layers are compressed.

use flate2::Compression as Level;
use flate2::write::GzEncoder;
use std::io::{Read, Write};

/// How the bytes of a layer are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// One gzip member.
    Gzip,
    /// Several gzip members one after another, as parallel compressors write them.
    GzipMembers(usize),
    /// One zstd frame.
    Zstd,
}

impl Compression {
    /// The suffix of the OCI layer media type.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip | Compression::GzipMembers(_) => "+gzip",
            Compression::Zstd => "+zstd",
        }
    }
}

/// Compresses a layer.
///
/// # Panics
/// When an encoder fails, which it does not in memory.
#[must_use]
pub fn compress(bytes: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::None => bytes.to_vec(),
        Compression::Gzip => gzip(bytes),
        Compression::GzipMembers(members) => {
            let length = bytes.len().div_ceil(members.max(1)).max(1);
            bytes.chunks(length).flat_map(gzip).collect()
        }
        Compression::Zstd => zstd::encode_all(bytes, 3).expect("zstd in memory"),
    }
}

/// The inverse of gzip, over all members.
///
/// # Panics
/// When the bytes are not gzip.
#[must_use]
pub fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut content).expect("gzip in memory");
    content
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::new(3));
    encoder.write_all(bytes).expect("gzip in memory");
    encoder.finish().expect("gzip in memory")
}
