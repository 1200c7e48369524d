//! What an inode occupies on the disk.

use super::extents::Extent;
use super::index::Index;
use crate::layer::FileData;
use crate::tree::NodeId;

/// The content of a regular file before and after it has a place.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Brought by the current layer.
    Pending(FileData),
    /// On the disk.
    Placed {
        /// Bytes of the file.
        size: u64,
    },
    /// Not a file of the tree but an attribute value too large for its owner's block.
    Attribute {
        /// Bytes of the value.
        size: u64,
        /// Checksum that the inode carries.
        hash: u32,
    },
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Pending(data) => data.size,
            Self::Placed { size } | Self::Attribute { size, .. } => *size,
        }
    }
}

/// The blocks that belong to one inode.
#[derive(Clone, Debug, Default)]
pub(super) struct Allocation {
    /// Blocks of content, ascending in the file.
    pub(super) extents: Vec<Extent>,
    /// Blocks of the extent tree outside the inode.
    pub(super) tree_blocks: Vec<u32>,
    /// The attribute block, or 0.
    pub(super) xattr_block: u32,
    /// Inodes of attribute values that do not fit into the block, in the order of the names.
    pub(super) values: Vec<NodeId>,
    /// Blocks that those values fill, which count for their owner too.
    pub(super) value_blocks: u32,
    /// The hash index of a large directory.
    pub(super) index: Option<Box<Index>>,
}

impl Allocation {
    pub(super) fn data_blocks(&self) -> u32 {
        self.extents.iter().map(|extent| extent.run.len).sum()
    }

    pub(super) fn blocks(&self) -> u64 {
        u64::from(self.data_blocks())
            + self.tree_blocks.len() as u64
            + u64::from(self.xattr_block != 0)
            + u64::from(self.value_blocks)
    }
}
