//! Digests of file content that take no time for holes.

use std::io::Read;

use sha2::{Digest as _, Sha256};

use crate::overlaybd::blocks::{BlockReader, BlockSink, is_zero};
use crate::overlaybd::{Cancel, OverlayError};
use crate::tar::TarFile;

/// A file's size and the digest of its blocks of 4096 bytes that are not zero, each with its
/// place, so that a hole and zeros are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) size: u64,
    pub(super) digest: [u8; 32],
}

/// Takes the blocks of a file in ascending order.
#[derive(Default)]
pub(super) struct BlockHasher {
    hasher: Sha256,
    /// Bytes that were hashed.
    pub(super) bytes: u64,
}

impl BlockHasher {
    pub(super) fn block(&mut self, at: u64, block: &[u8]) {
        if !is_zero(block) {
            self.hasher.update(at.to_le_bytes());
            self.hasher.update(block);
            self.bytes += block.len() as u64;
        }
    }

    pub(super) fn finish(self, size: u64) -> Content {
        Content { size, digest: self.hasher.finalize().into() }
    }
}

impl BlockSink for BlockHasher {
    fn block(&mut self, at: u64, block: &[u8]) -> Result<(), OverlayError> {
        BlockHasher::block(self, at, block);
        Ok(())
    }
}

/// Keeps the digest of every file of a source layer.
pub(super) struct Hashing(BlockReader);

impl Hashing {
    pub(super) fn new() -> Self {
        Self(BlockReader::new())
    }
}

impl crate::overlaybd::source::Intake for Hashing {
    type File = Content;

    fn take(
        &mut self,
        input: &mut impl Read,
        file: &TarFile,
        cancel: &Cancel,
    ) -> Result<Content, OverlayError> {
        let mut hasher = BlockHasher::default();
        self.0.read(input, file, &mut hasher, cancel)?;
        Ok(hasher.finish(file.size))
    }
}
