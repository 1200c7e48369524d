//! The content of a file.

use std::io::{self, Read};

use super::Ext4Reader;
use super::error::ReadError;
use super::inode::Inode;
use super::mapping::{Extent, extents};
use crate::read_at::ReadAt;

/// The content of a file: as a stream through [`Read`], or at any place.
pub struct Content<'a, R> {
    reader: &'a Ext4Reader<R>,
    extents: Vec<Extent>,
    size: u64,
    position: u64,
}

impl<'a, R: ReadAt> Content<'a, R> {
    pub(super) fn of(reader: &'a Ext4Reader<R>, inode: &Inode) -> Result<Self, ReadError> {
        Ok(Self { reader, extents: extents(reader, inode)?, size: inode.size, position: 0 })
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where the content lies; what no extent covers reads as zeros.
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// The byte ranges of the file that have content, ascending: all else reads as zeros.
    pub fn data_ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        let block_size = u64::from(self.reader.superblock.block_size);
        let written = self.extents.iter().filter(|extent| !extent.unwritten);
        written.filter_map(move |extent| {
            let from = extent.logical.saturating_mul(block_size);
            let to = (extent.logical + extent.blocks).saturating_mul(block_size).min(self.size);
            (from < to).then_some((from, to))
        })
    }

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// [`ReadError::Io`] with `UnexpectedEof` beyond the end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size);
        let beyond = || ReadError::io("file content", io::ErrorKind::UnexpectedEof.into());
        let end = end.ok_or_else(beyond)?;
        buffer.fill(0);
        let block_size = u64::from(self.reader.superblock.block_size);
        let first = self
            .extents
            .partition_point(|extent| (extent.logical + extent.blocks) * block_size <= offset);
        for extent in self.extents.iter().skip(first) {
            let from = (extent.logical * block_size).max(offset);
            let to = ((extent.logical + extent.blocks) * block_size).min(end);
            if from >= to {
                break;
            }
            if extent.unwritten {
                continue;
            }
            let at = |byte: u64| usize::try_from(byte - offset).unwrap_or_default();
            let piece = buffer.get_mut(at(from)..at(to)).unwrap_or_default();
            let physical = extent.physical * block_size + (from - extent.logical * block_size);
            self.reader.read_device(piece, physical, "file content")?;
        }
        Ok(())
    }
}

impl<R: ReadAt> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.position).unwrap_or(usize::MAX);
        let take = left.min(buffer.len());
        let piece = buffer.get_mut(..take).unwrap_or_default();
        self.read_at(piece, self.position).map_err(ReadError::into_io)?;
        self.position += take as u64;
        Ok(take)
    }
}
