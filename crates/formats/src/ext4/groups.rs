//! Bitmaps and group descriptors.

use super::allocator::Allocator;
use super::checksum::crc16;
use super::geometry::{BLOCKS_PER_GROUP, DESCRIPTOR_SIZE, Layout};
use super::placement::{BLOCK_SIZE, Block};
use super::superblock::UUID;
use crate::fields::put;

const INODE_UNINIT: u16 = 1;
const BLOCK_UNINIT: u16 = 2;
const INODE_ZEROED: u16 = 4;

/// What the descriptor of one group says beyond fixed places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) free_blocks: u32,
    pub(super) free_inodes: u32,
    pub(super) directories: u32,
    /// Inodes at the table's end that were never used or are unused again.
    pub(super) unused_inodes: u32,
    /// The block bitmap was written.
    pub(super) blocks_ready: bool,
    /// The inode bitmap was written.
    pub(super) inodes_ready: bool,
}

impl Group {
    /// A group that no file has touched.
    pub(super) fn new(layout: &Layout, group: u32) -> Self {
        Self {
            free_blocks: layout.group_blocks(group) - layout.overhead(group),
            free_inodes: layout.inodes_per_group,
            directories: 0,
            unused_inodes: layout.inodes_per_group,
            blocks_ready: false,
            inodes_ready: false,
        }
    }

    /// The descriptor's bytes, checksum included (`gdt_csum`).
    pub(super) fn descriptor(&self, layout: &Layout, group: u32) -> [u8; DESCRIPTOR_SIZE] {
        let mut flags = INODE_ZEROED;
        if !self.blocks_ready {
            flags |= BLOCK_UNINIT;
        }
        if !self.inodes_ready {
            flags |= INODE_UNINIT;
        }
        let mut bytes = [0; DESCRIPTOR_SIZE];
        put(&mut bytes, 0, &layout.block_bitmap(group).to_le_bytes());
        put(&mut bytes, 4, &layout.inode_bitmap(group).to_le_bytes());
        put(&mut bytes, 8, &layout.inode_table(group).to_le_bytes());
        // Every count is at most 32768.
        put(&mut bytes, 12, &low16(self.free_blocks));
        put(&mut bytes, 14, &low16(self.free_inodes));
        put(&mut bytes, 16, &low16(self.directories));
        put(&mut bytes, 18, &flags.to_le_bytes());
        put(&mut bytes, 28, &low16(self.unused_inodes));
        let checksum = crc16(0xffff, &UUID);
        let checksum = crc16(checksum, &group.to_le_bytes());
        let checksum = crc16(checksum, &bytes[..30]);
        put(&mut bytes, 30, &checksum.to_le_bytes());
        bytes
    }
}

fn low16(count: u32) -> [u8; 2] {
    let [low, high, _, _] = count.to_le_bytes();
    [low, high]
}

/// A group's block bitmap; bits beyond the disk's end are set.
pub(super) fn block_bitmap(layout: &Layout, allocator: &Allocator, group: u32) -> Block {
    let mut bitmap = Box::new([0xff; BLOCK_SIZE]);
    debug_assert!(layout.group_blocks(group) <= BLOCKS_PER_GROUP);
    for run in allocator.free_in_group(group) {
        let first = run.start - Layout::group_start(group);
        for bit in first..first + run.len {
            bitmap[bit as usize / 8] &= !(1 << (bit % 8));
        }
    }
    bitmap
}

/// An inode bitmap from the places (from 0) in use; bits beyond the table's end are set.
pub(super) fn inode_bitmap(layout: &Layout, used: impl Iterator<Item = u32>) -> Block {
    let mut bitmap = Box::new([0; BLOCK_SIZE]);
    let end = BLOCK_SIZE * 8;
    for bit in used.map(|bit| bit as usize).chain(layout.inodes_per_group as usize..end) {
        bitmap[bit / 8] |= 1 << (bit % 8);
    }
    bitmap
}
