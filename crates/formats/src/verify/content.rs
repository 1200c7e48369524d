//! Digests of file content that take no time for holes.

use sha2::{Digest as _, Sha256};

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
        if block.iter().any(|byte| *byte != 0) {
            self.hasher.update(at.to_le_bytes());
            self.hasher.update(block);
            self.bytes += block.len() as u64;
        }
    }

    pub(super) fn finish(self, size: u64) -> Content {
        Content { size, digest: self.hasher.finalize().into() }
    }
}
