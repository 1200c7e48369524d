//! Where the fixed parts of the file system lie.
//!
//! Every group holds its own metadata at its start, without `flex_bg`: group *g* begins with a
//! superblock copy and descriptor table if *g* is 0, 1 or a power of 3, 5 or 7, then come block
//! bitmap, inode bitmap and inode table. Kernels compute the same places for groups whose
//! bitmaps were never written, which is what makes untouched groups free.

use super::error::Ext4Error;
use crate::tree::{NodeId, ROOT};

/// Blocks of a whole group: as many as one bitmap block has bits.
pub(super) const BLOCKS_PER_GROUP: u32 = 32_768;
/// Inodes in one block of an inode table.
pub(super) const INODES_PER_BLOCK: u32 = 16;
/// Bytes of a group descriptor without the `64bit` feature.
pub(super) const DESCRIPTOR_SIZE: usize = 32;
/// Group descriptors in one block.
pub(super) const DESCRIPTORS_PER_BLOCK: u32 = 128;
/// The first inode number that is not reserved.
pub(super) const FIRST_INODE: u32 = 11;
/// Inode number of the root directory.
pub(super) const ROOT_INODE: u32 = 2;

/// The inode number of a node of the tree: the root has a reserved one, all others follow the
/// reserved ones.
pub(super) fn inode_number(node: NodeId) -> u32 {
    if node == ROOT { ROOT_INODE } else { FIRST_INODE - 1 + node.0 }
}

/// The node of the tree that has an inode number, if it is not a reserved one.
pub(super) fn node_of(inode: u32) -> Option<NodeId> {
    match inode {
        ROOT_INODE => Some(ROOT),
        FIRST_INODE.. => Some(NodeId(inode - (FIRST_INODE - 1))),
        _ => None,
    }
}

const INODES_PER_GROUP: u32 = 8_192;
const MINIMUM_SIZE: u64 = 16 << 20;

/// Size of the virtual disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes, a multiple of 4096 from 16 MiB to just below 16 TiB. 64 GiB unless the image is
    /// larger: untouched space costs nothing.
    pub virtual_size: u64,
}

impl Default for Geometry {
    fn default() -> Self {
        Self { virtual_size: 64 << 30 }
    }
}

/// The places that follow from a [`Geometry`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) blocks: u32,
    pub(super) groups: u32,
    pub(super) inodes_per_group: u32,
    pub(super) descriptor_blocks: u32,
}

impl Layout {
    pub(super) fn new(geometry: Geometry) -> Result<Self, Ext4Error> {
        let size = geometry.virtual_size;
        let refuse = |reason| Ext4Error::Geometry { size, reason };
        if !size.is_multiple_of(4096) {
            return Err(refuse("it must be a multiple of 4096"));
        }
        if size < MINIMUM_SIZE {
            return Err(refuse("it must be at least 16 MiB"));
        }
        let blocks = u32::try_from(size / 4096)
            .ok()
            .filter(|blocks| *blocks < u32::MAX - BLOCKS_PER_GROUP)
            .ok_or_else(|| refuse("it must be below 16 TiB"))?;
        let groups = blocks.div_ceil(BLOCKS_PER_GROUP);
        let inodes_per_group = if groups == 1 {
            (blocks / 4).next_multiple_of(INODES_PER_BLOCK).min(INODES_PER_GROUP)
        } else {
            INODES_PER_GROUP
        };
        let descriptor_blocks = groups.div_ceil(DESCRIPTORS_PER_BLOCK);
        let mut layout = Self { blocks, groups, inodes_per_group, descriptor_blocks };
        // A last group that can hold little more than its own metadata is left out.
        let last = groups - 1;
        if layout.group_blocks(last) < layout.overhead(last) + 64 {
            layout.blocks = last * BLOCKS_PER_GROUP;
            layout.groups = last;
        }
        Ok(layout)
    }

    pub(super) fn inodes(&self) -> u32 {
        self.groups * self.inodes_per_group
    }

    /// Whether a group starts with a copy of the superblock and the descriptors.
    pub(super) fn has_super(group: u32) -> bool {
        let is_power_of = |base: u32| {
            let mut power = base;
            while power < group {
                power = power.saturating_mul(base);
            }
            power == group
        };
        group <= 1 || is_power_of(3) || is_power_of(5) || is_power_of(7)
    }

    pub(super) fn group_start(group: u32) -> u32 {
        group * BLOCKS_PER_GROUP
    }

    /// Blocks of a group, fewer for the last one.
    pub(super) fn group_blocks(&self, group: u32) -> u32 {
        (self.blocks - Self::group_start(group)).min(BLOCKS_PER_GROUP)
    }

    pub(super) fn block_bitmap(&self, group: u32) -> u32 {
        let copy = if Self::has_super(group) { 1 + self.descriptor_blocks } else { 0 };
        Self::group_start(group) + copy
    }

    pub(super) fn inode_bitmap(&self, group: u32) -> u32 {
        self.block_bitmap(group) + 1
    }

    pub(super) fn inode_table(&self, group: u32) -> u32 {
        self.block_bitmap(group) + 2
    }

    /// Blocks at a group's start that are never free.
    pub(super) fn overhead(&self, group: u32) -> u32 {
        self.inode_table(group) - Self::group_start(group)
            + self.inodes_per_group / INODES_PER_BLOCK
    }

    /// The block of an inode table that holds an inode, and which of its 16 places.
    pub(super) fn inode_place(&self, inode: u32) -> (u32, u32) {
        let group = self.inode_group(inode);
        let index = (inode - 1) % self.inodes_per_group;
        (self.inode_table(group) + index / INODES_PER_BLOCK, index % INODES_PER_BLOCK)
    }

    pub(super) fn inode_group(&self, inode: u32) -> u32 {
        (inode - 1) / self.inodes_per_group
    }
}

#[cfg(test)]
mod tests {
    use super::{Geometry, Layout};

    #[test]
    fn copies_are_sparse() {
        let with_copy: Vec<u32> = (0..400).filter(|group| Layout::has_super(*group)).collect();
        assert_eq!(with_copy, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343]);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for size in [0, 4096, (1 << 30) + 1, 1 << 44] {
            assert!(Layout::new(Geometry { virtual_size: size }).is_err(), "{size}");
        }
        let layout = Layout::new(Geometry::default()).expect("layout");
        assert_eq!((layout.groups, layout.descriptor_blocks), (512, 4));
    }

    #[test]
    fn a_useless_last_group_is_left_out() {
        let size = (u64::from(super::BLOCKS_PER_GROUP) + 100) * 4096;
        let layout = Layout::new(Geometry { virtual_size: size }).expect("layout");
        assert_eq!((layout.groups, layout.blocks), (1, super::BLOCKS_PER_GROUP));
    }
}
