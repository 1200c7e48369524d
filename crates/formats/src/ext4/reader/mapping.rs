//! Which blocks of the device hold which blocks of a file.

use super::Ext4Reader;
use super::error::ReadError;
use super::inode::Inode;
use crate::fields::Fields;
use crate::read_at::ReadAt;

const EXTENT_MAGIC: u16 = 0xf30a;
const MAX_DEPTH: u16 = 5;
const MAX_INITIALISED: u32 = 32_768;

/// More extents or map blocks than this are not read of one file.
const MAX_PIECES: usize = 4_000_000;

/// A run of blocks of a file, in blocks of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub logical: u64,
    pub blocks: u64,
    pub physical: u64,
    /// Allocated but never written: reads as zeros.
    pub unwritten: bool,
}

/// The extents of a file, ascending; what none covers is a hole.
pub(super) fn extents<R: ReadAt>(
    reader: &Ext4Reader<R>,
    inode: &Inode,
) -> Result<Vec<Extent>, ReadError> {
    let mut walk = Walk { reader, inode: inode.number, extents: Vec::new(), pieces: 0 };
    if inode.has_extents() {
        let depth = Fields(inode.map()).u16(6);
        if depth > MAX_DEPTH {
            return Err(walk.corrupt("the extent tree is too deep"));
        }
        walk.extent_node(inode.map(), depth)?;
    } else {
        walk.block_map(inode.map(), inode.size)?;
    }
    Ok(walk.extents)
}

struct Walk<'a, R> {
    reader: &'a Ext4Reader<R>,
    inode: u32,
    extents: Vec<Extent>,
    pieces: usize,
}

impl<R: ReadAt> Walk<'_, R> {
    fn corrupt(&self, what: &str) -> ReadError {
        ReadError::corrupt(format!("{what} (inode {})", self.inode))
    }

    fn count(&mut self) -> Result<(), ReadError> {
        self.pieces += 1;
        if self.pieces > MAX_PIECES { Err(self.corrupt("too many extents")) } else { Ok(()) }
    }

    fn extent_node(&mut self, node: &[u8], depth: u16) -> Result<(), ReadError> {
        let fields = Fields(node);
        if fields.u16(0) != EXTENT_MAGIC || fields.u16(6) != depth {
            return Err(self.corrupt("an extent node is not one"));
        }
        let entries = usize::from(fields.u16(2));
        if (entries + 1) * 12 > node.len() {
            return Err(self.corrupt("an extent node has too many entries"));
        }
        for entry in node.chunks_exact(12).skip(1).take(entries) {
            self.count()?;
            let entry = Fields(entry);
            if depth > 0 {
                let block = u64::from(entry.u32(4)) | u64::from(entry.u16(8)) << 32;
                let child = self.reader.read_block(block, "extent node")?;
                self.extent_node(&child, depth - 1)?;
                continue;
            }
            let stored = u32::from(entry.u16(4));
            let unwritten = stored > MAX_INITIALISED;
            let blocks = if unwritten { stored - MAX_INITIALISED } else { stored };
            self.push(Extent {
                logical: u64::from(entry.u32(0)),
                blocks: u64::from(blocks),
                physical: u64::from(entry.u32(8)) | u64::from(entry.u16(6)) << 32,
                unwritten,
            })?;
        }
        Ok(())
    }

    /// The map of ext2: twelve blocks, then one, two and three levels of blocks of numbers.
    fn block_map(&mut self, map: &[u8], size: u64) -> Result<(), ReadError> {
        let block_size = u64::from(self.reader.superblock.block_size);
        let end = size.div_ceil(block_size);
        let mut logical = 0;
        let fields = Fields(map);
        for slot in 0..12 {
            self.pointer(fields.u32(slot * 4), 0, &mut logical, end)?;
        }
        for level in 1..=3_u8 {
            let slot = 11 + usize::from(level);
            self.pointer(fields.u32(slot * 4), level, &mut logical, end)?;
        }
        Ok(())
    }

    fn pointer(
        &mut self,
        block: u32,
        level: u8,
        logical: &mut u64,
        end: u64,
    ) -> Result<(), ReadError> {
        let per_block = u64::from(self.reader.superblock.block_size) / 4;
        if *logical >= end {
            return Ok(());
        }
        if block == 0 {
            *logical += per_block.pow(u32::from(level));
            return Ok(());
        }
        self.count()?;
        if level == 0 {
            let physical = u64::from(block);
            self.push(Extent { logical: *logical, blocks: 1, physical, unwritten: false })?;
            *logical += 1;
            return Ok(());
        }
        let numbers = self.reader.read_block(u64::from(block), "block map")?;
        for number in numbers.chunks_exact(4) {
            self.pointer(Fields(number).u32(0), level - 1, logical, end)?;
        }
        Ok(())
    }

    fn push(&mut self, extent: Extent) -> Result<(), ReadError> {
        let end = extent.physical.checked_add(extent.blocks);
        if extent.blocks == 0 || end.is_none_or(|end| end > self.reader.superblock.blocks) {
            return Err(self.corrupt("an extent lies outside of the file system"));
        }
        if let Some(last) = self.extents.last_mut() {
            let free_from = last.logical + last.blocks;
            if extent.logical < free_from {
                return Err(self.corrupt("extents overlap or are out of order"));
            }
            let joins = extent.logical == free_from
                && extent.physical == last.physical + last.blocks
                && extent.unwritten == last.unwritten;
            if joins {
                last.blocks += extent.blocks;
                return Ok(());
            }
        }
        self.extents.push(extent);
        Ok(())
    }
}
