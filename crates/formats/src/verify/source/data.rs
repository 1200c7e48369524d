//! The digest of a file's content from the pieces that an archive has of it.

use std::io::{self, Read};

use crate::overlaybd::{Cancel, OverlayError};
use crate::verify::content::{BlockHasher, Content};

const BLOCK: u64 = 4096;

/// A run of stored bytes of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) at: u64,
    pub(super) len: u64,
}

/// Reads a file's stored bytes, one piece after another.
pub(super) fn read(
    input: &mut impl Read,
    size: u64,
    pieces: &[Piece],
    cancel: &Cancel,
) -> Result<Content, OverlayError> {
    let mut blocks = Blocks { hasher: BlockHasher::default(), size, at: 0, bytes: Vec::new() };
    let mut buffer = vec![0; 256 * 1024];
    for piece in pieces {
        let (mut at, mut left) = (piece.at, piece.len);
        while left > 0 {
            cancel.check()?;
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let part = buffer.get_mut(..most).unwrap_or_default();
            let count = input.read(part)?;
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            blocks.put(at, part.get(..count).unwrap_or_default());
            at += count as u64;
            left -= count as u64;
        }
    }
    blocks.flush();
    Ok(blocks.hasher.finish(size))
}

/// The block that is being filled; the rest of it is zeros.
struct Blocks {
    hasher: BlockHasher,
    size: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl Blocks {
    fn put(&mut self, mut at: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let begin = at / BLOCK * BLOCK;
            if begin != self.at || self.bytes.is_empty() {
                self.flush();
                self.at = begin;
                let len = self.size.saturating_sub(begin).min(BLOCK);
                self.bytes = vec![0; usize::try_from(len).unwrap_or_default()];
            }
            let from = usize::try_from(at - begin).unwrap_or_default();
            let count = self.bytes.len().saturating_sub(from).min(bytes.len());
            let (now, later) = bytes.split_at(count);
            if count == 0 {
                // Beyond the end of the file.
                return;
            }
            if let Some(place) = self.bytes.get_mut(from..from + count) {
                place.copy_from_slice(now);
            }
            at += count as u64;
            bytes = later;
        }
    }

    fn flush(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.hasher.block(self.at, &bytes);
    }
}
