//! A layer on its way through the conversion.

use std::path::Path;

use berth_types::Digest;

use super::Spool;
use super::uuid::Lineage;
use super::zfile::{Algorithm, Parameters, ZFileWriter};
use crate::ext4::Placement;
use crate::layer::LayerEntries;

/// What the output looks like. All of it changes the bytes of layers, except `compress_threads`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub algorithm: Algorithm,
    /// Bytes of a ZFile block: 4096, 8192, 16384 or 32768.
    pub block_size: u32,
    /// Bytes of the virtual disk.
    pub virtual_size: u64,
    /// Threads that compress beside the one that reads a layer; 0 for none.
    pub compress_threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::Lz4,
            block_size: 4096,
            virtual_size: 64 << 30,
            compress_threads: 1,
        }
    }
}

impl Options {
    pub(crate) fn zfile(&self) -> Parameters {
        Parameters {
            algorithm: self.algorithm,
            block_size: self.block_size,
            threads: self.compress_threads,
        }
    }
}

/// What a source layer may make of us: bounds on what it comes to, not on how well it was compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of uncompressed tar.
    pub inflated: u64,
    /// Entries of the tar.
    pub entries: u64,
    /// Bytes that a zstd frame may look back, which memory must hold; above 2 GiB nothing is read.
    pub window: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { inflated: 256 << 30, entries: 4_000_000, window: 2 << 30 }
    }
}

/// Amounts of one pass over a source layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Bytes that came from the caller's reader.
    pub compressed: u64,
    /// Bytes of uncompressed tar.
    pub inflated: u64,
    /// Entries of the tar.
    pub entries: u64,
    /// Bytes of file data, holes and zero blocks left out.
    pub data: u64,
}

/// What a source layer says.
pub struct ReadLayer {
    /// Entries in archive order, file data replaced by their places in the data stream.
    pub entries: LayerEntries,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    pub amounts: Amounts,
    /// Position in the data stream from which segments are padded to whole blocks.
    pub(crate) dense_from: u64,
}

/// A layer whose file data are in the spool, not yet placed.
pub struct IngestedLayer {
    pub read: ReadLayer,
    pub(crate) output: ZFileWriter<Spool>,
    pub(crate) lineage: Lineage,
    pub(crate) virtual_size: u64,
}

/// A layer whose places on the virtual disk are known.
pub struct PlacedLayer {
    pub(crate) diff_id: Digest,
    pub(crate) amounts: Amounts,
    pub(crate) dense_from: u64,
    pub(crate) output: ZFileWriter<Spool>,
    pub(crate) placement: Placement,
    pub(crate) lineage: Lineage,
    pub(crate) virtual_size: u64,
}

/// A layer blob that is done.
pub struct FinishedLayer {
    /// The file; removed when dropped, unless kept or taken over.
    pub spool: Spool,
    /// Digest of the blob, which is also its diff-id: the blob is an uncompressed tar.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// Digest of the source layer's uncompressed tar.
    pub source_diff_id: Digest,
    pub amounts: Amounts,
    /// Entries of the LSMT index.
    pub segments: u64,
    /// Bytes of ext4 metadata in the blob before compression.
    pub metadata: u64,
}

impl FinishedLayer {
    pub fn path(&self) -> &Path {
        self.spool.path()
    }
}
