//! Cuts the stored bytes of a file of an archive into its blocks of 4096 bytes.

use std::io::Read;

use super::{BLOCK, Cancel, OverlayError};
use crate::tar::{SparseRegion, TarFile};

const BLOCK_LEN: usize = 4096;
const CHUNK: usize = 1 << 20;

/// Takes the blocks of one file.
pub(crate) trait BlockSink {
    /// A block that is not all zero, at a multiple of 4096, ascending; shorter than 4096 bytes
    /// only at the end of the file.
    fn block(&mut self, at: u64, block: &[u8]) -> Result<(), OverlayError>;
}

/// Cuts file after file; keeps its buffers.
pub(crate) struct BlockReader {
    chunk: Vec<u8>,
    /// A block of which only a part has come; what has not is zero.
    partial: Box<[u8; BLOCK_LEN]>,
    /// File offset of `partial`, when it holds something.
    partial_at: Option<u64>,
    size: u64,
}

impl BlockReader {
    pub(crate) fn new() -> Self {
        let partial = Box::new([0; BLOCK_LEN]);
        Self { chunk: vec![0; CHUNK], partial, partial_at: None, size: 0 }
    }

    /// Reads the stored bytes of `file` from `input`. Zero blocks and holes are left out.
    ///
    /// # Errors
    /// [`OverlayError::Invalid`] for sparse regions out of order or bounds and when `input` fails,
    /// [`OverlayError::Canceled`], those of `sink`.
    pub(crate) fn read(
        &mut self,
        input: &mut impl Read,
        file: &TarFile,
        sink: &mut impl BlockSink,
        cancel: &Cancel,
    ) -> Result<(), OverlayError> {
        let whole = [SparseRegion { offset: 0, len: file.size }];
        let regions = file.sparse.as_deref().unwrap_or(&whole);
        self.size = file.size;
        self.partial_at = None;
        let mut free_from = 0;
        for region in regions {
            let end = region.offset.checked_add(region.len).filter(|end| *end <= file.size);
            let Some(end) = end.filter(|_| region.offset >= free_from) else {
                return Err(OverlayError::invalid(
                    "sparse map",
                    "a region overlaps another or lies beyond the end of the file",
                ));
            };
            free_from = end;
            let mut at = region.offset;
            while at < end {
                cancel.check()?;
                let want = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
                let mut chunk = std::mem::take(&mut self.chunk);
                let bytes = chunk.get_mut(..want).unwrap_or_default();
                let read = input
                    .read_exact(bytes)
                    .map_err(|error| OverlayError::invalid("file data", error.to_string()));
                let result = read.and_then(|()| self.take(at, bytes, sink));
                self.chunk = chunk;
                result?;
                at += want as u64;
            }
        }
        self.flush(sink)
    }

    /// Takes bytes of the file at `at`, in ascending order.
    fn take(
        &mut self,
        mut at: u64,
        mut bytes: &[u8],
        sink: &mut impl BlockSink,
    ) -> Result<(), OverlayError> {
        while !bytes.is_empty() {
            let block_at = at - at % BLOCK;
            if self.partial_at.is_some_and(|partial| partial != block_at) {
                self.flush(sink)?;
            }
            if self.partial_at.is_none()
                && at == block_at
                && let Some((block, rest)) = bytes.split_first_chunk::<BLOCK_LEN>()
            {
                if !is_zero(block) {
                    sink.block(at, block)?;
                }
                bytes = rest;
                at += BLOCK;
                continue;
            }
            let inside = usize::try_from(at - block_at).unwrap_or_default();
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK_LEN - inside));
            let target = self.partial.get_mut(inside..inside + now.len());
            target.unwrap_or_default().copy_from_slice(now);
            self.partial_at = Some(block_at);
            at += now.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    fn flush(&mut self, sink: &mut impl BlockSink) -> Result<(), OverlayError> {
        if let Some(at) = self.partial_at.take() {
            let len = usize::try_from(self.size - at).unwrap_or(BLOCK_LEN).min(BLOCK_LEN);
            let block = self.partial.get(..len).unwrap_or_default();
            if !is_zero(block) {
                sink.block(at, block)?;
            }
            self.partial.fill(0);
        }
        Ok(())
    }
}

/// Whether at most 4096 bytes are all zero.
pub(crate) fn is_zero(block: &[u8]) -> bool {
    const ZEROS: [u8; BLOCK_LEN] = [0; BLOCK_LEN];
    block.first().is_none_or(|first| *first == 0) && ZEROS.get(..block.len()) == Some(block)
}
