//! One block: compressed, followed by the checksum of its compressed bytes.

use std::io;

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};
use serde::{Deserialize, Serialize};

use super::crc;
use crate::overlaybd::OverlayError;

/// How blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// LZ4 block format.
    Lz4,
    /// A zstd frame, level 3.
    Zstd,
}

impl Algorithm {
    /// The number in the header.
    pub(crate) fn id(self) -> u8 {
        match self {
            Self::Lz4 => 1,
            Self::Zstd => 2,
        }
    }

    pub(crate) fn of_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Lz4),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// The level of zstd blocks, the one that writers in the field use.
const ZSTD_LEVEL: i32 = 3;

/// Bytes of the checksum behind each block.
pub(crate) const CRC_SIZE: usize = 4;

/// Compresses block after block with tables that are allocated once.
pub(crate) struct Compressor {
    engine: Engine,
    /// Room for the worst case of one block.
    scratch: Vec<u8>,
}

enum Engine {
    Lz4(Box<CompressTable>),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Compressor {
    pub(crate) fn new(algorithm: Algorithm, block_size: usize) -> io::Result<Self> {
        let (engine, worst) = match algorithm {
            Algorithm::Lz4 => {
                let table = Box::new(CompressTable::small());
                (Engine::Lz4(table), get_maximum_output_size(block_size))
            }
            Algorithm::Zstd => {
                let compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
                (Engine::Zstd(compressor), zstd::zstd_safe::compress_bound(block_size))
            }
        };
        Ok(Self { engine, scratch: vec![0; worst] })
    }

    /// Appends the stored form of `block` to `out` and gives its length.
    pub(crate) fn append(&mut self, block: &[u8], out: &mut Vec<u8>) -> io::Result<u32> {
        let len = match &mut self.engine {
            Engine::Lz4(table) => compress_into_with_table(block, &mut self.scratch, table)
                .map_err(|error| io::Error::other(error.to_string()))?,
            Engine::Zstd(compressor) => compressor.compress_to_buffer(block, &mut self.scratch)?,
        };
        let stored = self.scratch.get(..len).unwrap_or_default();
        out.extend_from_slice(stored);
        out.extend_from_slice(&crc::raw(crc::BLOCK, stored).to_le_bytes());
        u32::try_from(len + CRC_SIZE).map_err(io::Error::other)
    }
}

/// Checks (when `verify`) and decompresses the stored form of block `number` into `out`, which
/// has the exact length of the block.
pub(crate) fn restore(
    algorithm: Algorithm,
    verify: bool,
    number: u64,
    stored: &[u8],
    out: &mut [u8],
) -> Result<(), OverlayError> {
    let body = if verify {
        let Some((body, sum)) = stored.split_last_chunk::<CRC_SIZE>() else {
            let reason = format!("block {number} is shorter than its checksum");
            return Err(OverlayError::invalid("zfile block", reason));
        };
        let (stored, computed) = (u32::from_le_bytes(*sum), crc::raw(crc::BLOCK, body));
        if stored != computed {
            let part = format!("zfile block {number}");
            return Err(OverlayError::Checksum { part, stored, computed });
        }
        body
    } else {
        stored
    };
    let len = match algorithm {
        Algorithm::Lz4 => decompress_into(body, out).map_err(|error| error.to_string()),
        Algorithm::Zstd => {
            zstd::bulk::decompress_to_buffer(body, out).map_err(|error| error.to_string())
        }
    };
    match len {
        Ok(len) if len == out.len() => Ok(()),
        Ok(len) => {
            let reason = format!("block {number} has {len} bytes instead of {}", out.len());
            Err(OverlayError::invalid("zfile block", reason))
        }
        Err(error) => {
            let reason = format!("block {number} does not decompress: {error}");
            Err(OverlayError::invalid("zfile block", reason))
        }
    }
}
