//! Reads a ZFile at any place.

use std::io;
use std::sync::Arc;

use super::codec::restore;
use super::crc;
use super::header::{HEADER_SIZE, Header};
use crate::fields::Fields;
use crate::overlaybd::OverlayError;
use crate::overlaybd::lru::Lru;
use crate::read_at::ReadAt;

/// More blocks than this (256 GiB of original at 4 KiB) are not opened.
const MAX_BLOCKS: u64 = 1 << 26;

/// Bytes of decompressed blocks that are kept.
const CACHE_BYTES: usize = 2 << 20;

/// The most stored bytes that one read asks for.
const MAX_READ: u64 = 1 << 20;

/// An open ZFile. Reads check every block that they touch.
pub struct ZFile<R> {
    header: Header,
    /// Where each block begins in the file, and where the last one ends.
    offsets: Vec<u64>,
    file: R,
    cache: Lru,
}

impl<R: ReadAt> ZFile<R> {
    /// Reads the header, the trailer when the header is not complete, and the jump table.
    ///
    /// # Errors
    /// Those of [`Header::parse`]; [`OverlayError::Invalid`] when positions do not agree.
    pub fn open(file: R) -> Result<Self, OverlayError> {
        let mut record = [0; 512];
        let len = file.len();
        if len < 2 * HEADER_SIZE {
            return Err(OverlayError::invalid("zfile", "it is shorter than header and trailer"));
        }
        file.read_at(&mut record, 0)?;
        let mut header = Header::parse(&record)?;
        if !header.is_header {
            return Err(OverlayError::invalid("zfile header", "it is a trailer"));
        }
        if !header.complete {
            file.read_at(&mut record, len - HEADER_SIZE)?;
            header = Header::parse(&record)?;
            if header.is_header {
                return Err(OverlayError::invalid("zfile trailer", "it is a header"));
            }
        }
        let offsets = read_jump_table(&file, &header, len)?;
        let slots = CACHE_BYTES / header.block_size as usize;
        Ok(Self { header, offsets, file, cache: Lru::new(slots) })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Stored bytes of all blocks.
    pub fn stored_bytes(&self) -> u64 {
        self.offsets.last().copied().unwrap_or_default().saturating_sub(HEADER_SIZE)
    }

    /// Where the original's byte `at` lies: position and length of its stored block.
    pub fn stored_block(&self, at: u64) -> Option<(u64, u64)> {
        let number = at / u64::from(self.header.block_size);
        let (from, to) = self.bounds(number, number + 1)?;
        Some((from, to - from))
    }

    /// Reads and checks every block, front to back; `tell` gets the original's bytes in order.
    ///
    /// # Errors
    /// The first damaged block; the error of `tell`.
    pub fn scan(
        &self,
        mut tell: impl FnMut(&[u8]) -> Result<(), OverlayError>,
    ) -> Result<(), OverlayError> {
        let mut first = 0;
        while first < self.header.blocks {
            let (end, stored) = self.read_stored(first, self.header.blocks)?;
            for number in first..end {
                tell(&self.restore_from(&stored, first, number)?)?;
            }
            first = end;
        }
        Ok(())
    }

    fn bounds(&self, first: u64, end: u64) -> Option<(u64, u64)> {
        let at = |number: u64| self.offsets.get(usize::try_from(number).ok()?).copied();
        Some((at(first)?, at(end)?))
    }

    /// Stored bytes of the blocks from `first`: up to `end`, or fewer when they are many.
    fn read_stored(&self, first: u64, end: u64) -> Result<(u64, Vec<u8>), OverlayError> {
        let missing = || OverlayError::invalid("zfile", "a block number is out of range");
        let mut stop = first + 1;
        let (from, mut to) = self.bounds(first, stop).ok_or_else(missing)?;
        while stop < end {
            let (_, next) = self.bounds(first, stop + 1).ok_or_else(missing)?;
            if next - from > MAX_READ {
                break;
            }
            stop += 1;
            to = next;
        }
        let mut stored = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
        self.file.read_at(&mut stored, from)?;
        Ok((stop, stored))
    }

    /// Decompresses block `number` out of the stored bytes of the blocks from `first`.
    fn restore_from(
        &self,
        stored: &[u8],
        first: u64,
        number: u64,
    ) -> Result<Vec<u8>, OverlayError> {
        let missing = || OverlayError::invalid("zfile", "a block number is out of range");
        let (base, _) = self.bounds(first, first + 1).ok_or_else(missing)?;
        let (from, to) = self.bounds(number, number + 1).ok_or_else(missing)?;
        let range = usize::try_from(from - base).unwrap_or(usize::MAX)
            ..usize::try_from(to - base).unwrap_or(usize::MAX);
        let stored = stored.get(range).ok_or_else(missing)?;
        let block_size = u64::from(self.header.block_size);
        let left = self.header.original_size.saturating_sub(number * block_size);
        let mut out = vec![0; usize::try_from(left.min(block_size)).unwrap_or_default()];
        restore(self.header.algorithm, self.header.verify, number, stored, &mut out)?;
        Ok(out)
    }

    /// The blocks `first..end`, from the cache or in as few reads as they allow.
    fn blocks(&self, first: u64, end: u64) -> Result<Vec<Arc<[u8]>>, OverlayError> {
        self.cache.range(first, end, |from, to| {
            let (stop, stored) = self.read_stored(from, to)?;
            let restore = |number| self.restore_from(&stored, from, number).map(Arc::from);
            (from..stop).map(restore).collect()
        })
    }
}

impl<R: ReadAt> ReadAt for ZFile<R> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.header.original_size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let block_size = u64::from(self.header.block_size);
        let (mut at, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            // At most a cache's worth at a time.
            let first = at / block_size;
            let last = (at + rest.len() as u64 - 1) / block_size;
            let end = (last + 1).min(first + MAX_READ / block_size);
            for block in self.blocks(first, end).map_err(OverlayError::into_io)? {
                let skip = usize::try_from(at % block_size).unwrap_or_default();
                let from = block.get(skip..).unwrap_or_default();
                let take = from.len().min(rest.len());
                let (now, later) = rest.split_at_mut(take);
                now.copy_from_slice(from.get(..take).unwrap_or_default());
                rest = later;
                at += take as u64;
            }
        }
        Ok(())
    }

    fn len(&self) -> u64 {
        self.header.original_size
    }
}

fn read_jump_table<R: ReadAt>(
    file: &R,
    header: &Header,
    len: u64,
) -> Result<Vec<u64>, OverlayError> {
    let part = "zfile jump table";
    if header.blocks > MAX_BLOCKS {
        return Err(OverlayError::Limit(format!("a zfile of {} blocks", header.blocks)));
    }
    if header.blocks != header.original_size.div_ceil(u64::from(header.block_size)) {
        return Err(OverlayError::invalid(part, "block count and original size do not agree"));
    }
    let bytes = header.blocks * 4;
    let end = header.index_offset.checked_add(bytes);
    if header.index_offset < HEADER_SIZE || end.is_none_or(|end| end > len - HEADER_SIZE) {
        return Err(OverlayError::invalid(part, "it lies outside of the file"));
    }
    let mut table = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    file.read_at(&mut table, header.index_offset)?;
    let computed = crc::raw(crc::PLAIN, &table);
    if header.checked && computed != header.index_crc {
        let stored = header.index_crc;
        return Err(OverlayError::Checksum { part: part.to_owned(), stored, computed });
    }
    let shortest = if header.verify { 5 } else { 1 };
    let longest = 2 * header.block_size;
    let mut offsets = Vec::with_capacity(table.len() / 4 + 1);
    let mut offset = HEADER_SIZE;
    offsets.push(offset);
    for entry in table.chunks_exact(4) {
        let length = Fields(entry).u32(0);
        if !(shortest..=longest).contains(&length) {
            let reason = format!("block {} has stored length {length}", offsets.len() - 1);
            return Err(OverlayError::invalid(part, reason));
        }
        offset += u64::from(length);
        offsets.push(offset);
    }
    if offset != header.index_offset {
        return Err(OverlayError::invalid(part, "its lengths do not end where it begins"));
    }
    Ok(offsets)
}
