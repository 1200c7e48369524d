//! Places for extended attributes.

use super::allocator::Run;
use super::content::Content;
use super::error::Ext4Error;
use super::extents;
use super::geometry::inode_number;
use super::image::Image;
use super::placement::BLOCK_SIZE;
use super::work::Work;
use super::{inode, xattr};
use crate::fields::put;
use crate::layer::Metadata;
use crate::tree::{NodeId, NodeKind};

impl Image {
    /// Checks that ext4 can hold an inode and gives its attributes their place.
    pub(super) fn place_attributes(
        &mut self,
        node: NodeId,
        work: &mut Work,
    ) -> Result<(), Ext4Error> {
        for value in std::mem::take(&mut self.allocations[node.0 as usize].values) {
            self.release(value, work);
            self.tree.remove_unnamed(value);
        }
        let Some(found) = self.tree.get(node) else { return Ok(()) };
        inode::check(found).map_err(|problem| self.unsupported(node, problem.to_string()))?;
        let current = self.allocations[node.0 as usize].xattr_block;
        self.allocations[node.0 as usize].value_blocks = 0;
        if found.metadata.xattrs.is_empty() && current == 0 {
            return Ok(());
        }
        let metadata = found.metadata.clone();
        let arrangement = xattr::arrange(&metadata.xattrs)
            .map_err(|error| self.unsupported(node, error.to_string()))?;
        let mut values = Vec::new();
        let mut value_blocks = 0;
        for value in arrangement.outside() {
            let made = self.place_value(node, &metadata, &value, work)?;
            value_blocks += self.allocations[made.0 as usize].data_blocks();
            values.push(made);
        }
        let inodes: Vec<u32> = values.iter().map(|value| inode_number(*value)).collect();
        let number = match (arrangement.block(&inodes), current) {
            (None, 0) => 0,
            (None, block) => {
                self.allocator.release(Run { start: block, len: 1 });
                0
            }
            (Some(content), 0) => self.allocate_block(content, node, work)?,
            (Some(content), block) => {
                work.metadata.insert(block, content);
                block
            }
        };
        let allocation = &mut self.allocations[node.0 as usize];
        allocation.xattr_block = number;
        allocation.values = values;
        allocation.value_blocks = value_blocks;
        Ok(())
    }

    /// Makes an inode for one value; its content is written like other metadata.
    fn place_value(
        &mut self,
        owner: NodeId,
        metadata: &Metadata,
        value: &[u8],
        work: &mut Work,
    ) -> Result<NodeId, Ext4Error> {
        self.large_attributes = true;
        let content =
            Content::Attribute { size: value.len() as u64, hash: xattr::value_hash(value) };
        let metadata =
            Metadata { mode: 0o600, uid: metadata.uid, gid: metadata.gid, ..Metadata::default() };
        let made = self.tree.insert_unnamed(NodeKind::File(content), metadata);
        self.make_room_for_inodes()?;
        let mut blocks = value.chunks(BLOCK_SIZE);
        let count = u32::try_from(blocks.len()).unwrap_or(u32::MAX);
        let mut logical = 0;
        for run in self.allocate(count, owner)? {
            extents::push(&mut self.allocations[made.0 as usize].extents, logical, run);
            logical += run.len;
            for (number, bytes) in (run.start..run.start + run.len).zip(&mut blocks) {
                let mut block = Box::new([0; BLOCK_SIZE]);
                put(&mut *block, 0, bytes);
                work.metadata.insert(number, block);
            }
        }
        self.place_extent_tree(made)?;
        work.inodes.insert(inode_number(made));
        Ok(made)
    }
}
