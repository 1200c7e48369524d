//! What one layer writes, gathered while it is placed and put in order at the end.

use std::collections::{BTreeMap, BTreeSet};

use super::content::Allocation;
use super::error::Ext4Error;
use super::extents;
use super::files::SECTORS_PER_BLOCK;
use super::geometry::{DESCRIPTOR_SIZE, DESCRIPTORS_PER_BLOCK, INODES_PER_BLOCK, Layout, node_of};
use super::groups::{block_bitmap, inode_bitmap};
use super::image::Image;
use super::inode::{self, INODE_SIZE};
use super::placement::{BLOCK_SIZE, Block, DataExtent, Placement, SECTOR_SIZE, SectorRange};
use super::superblock::{Counters, superblock};
use crate::fields::put;
use crate::tree::Node;

/// Where the superblock stands in block 0; its copies stand at the start of theirs.
const SUPERBLOCK_OFFSET: usize = 1024;
/// The group whose copies of superblock and descriptors are written, once.
const BACKUP_GROUP: u32 = 1;

/// The writes of one layer, in no order.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) metadata: BTreeMap<u32, Block>,
    pub(super) data: Vec<DataExtent>,
    pub(super) zeroed: Vec<SectorRange>,
    /// Inodes to be written.
    pub(super) inodes: BTreeSet<u32>,
}

impl Image {
    /// Writes inodes, bitmaps, descriptors and superblock, and puts everything in order.
    pub(super) fn finish(&mut self, mut work: Work) -> Result<Placement, Ext4Error> {
        let inodes = std::mem::take(&mut work.inodes);
        self.write_inodes(&inodes, &mut work);
        let mut touched: BTreeSet<u32> = BTreeSet::new();
        for inode in &inodes {
            let group = self.layout.inode_group(*inode);
            if touched.insert(group) {
                self.write_inode_group(group, &mut work);
            }
        }
        let mut with_blocks = self.allocator.take_touched();
        // A group with inodes has both bitmaps; the last one's marks the disk's end.
        let unready = touched.iter().copied().filter(|group| !self.group_ready(*group));
        with_blocks.extend(unready);
        if !self.started {
            with_blocks.insert(self.layout.groups - 1);
        }
        for group in with_blocks {
            self.write_block_group(group, &mut work);
            touched.insert(group);
        }
        if !self.started {
            touched.extend(0..self.layout.groups);
        }
        self.write_descriptors(&touched, &mut work);
        let first = !std::mem::replace(&mut self.started, true);
        self.write_superblocks(first, &mut work);
        Ok(work.into_placement())
    }

    fn group_ready(&self, group: u32) -> bool {
        self.groups.get(group as usize).is_some_and(|group| group.blocks_ready)
    }

    fn write_inodes(&self, inodes: &BTreeSet<u32>, work: &mut Work) {
        let mut blocks = BTreeSet::new();
        for inode in inodes {
            blocks.insert((
                self.layout.inode_place(*inode).0,
                inode - (inode - 1) % INODES_PER_BLOCK,
            ));
            let found =
                node_of(*inode).and_then(|node| self.node(*inode).zip(self.allocation(node.0)));
            if let Some((_, allocation)) = found {
                let (_, nodes) = extents::render(&allocation.extents, &allocation.tree_blocks);
                work.metadata.extend(nodes);
            }
        }
        for (number, first) in blocks {
            let mut block = Box::new([0; BLOCK_SIZE]);
            for place in 0..INODES_PER_BLOCK {
                let found = self
                    .node(first + place)
                    .zip(node_of(first + place).and_then(|node| self.allocation(node.0)));
                if let Some((node, allocation)) = found {
                    let bytes = inode::render(node, allocation);
                    put(&mut *block, place as usize * INODE_SIZE, &bytes);
                }
            }
            work.metadata.insert(number, block);
        }
    }

    fn node(&self, inode: u32) -> Option<&Node<super::content::Content>> {
        self.tree.get(node_of(inode)?)
    }

    fn allocation(&self, node: u32) -> Option<&Allocation> {
        self.allocations.get(node as usize)
    }

    /// Whether an inode number is taken; reserved ones always are.
    fn in_use(&self, inode: u32) -> bool {
        node_of(inode).is_none_or(|node| self.tree.get(node).is_some())
    }

    fn write_inode_group(&mut self, number: u32, work: &mut Work) {
        let first = number * self.layout.inodes_per_group + 1;
        let places = 0..self.layout.inodes_per_group;
        let used: Vec<u32> = places.filter(|place| self.in_use(first + place)).collect();
        let directories = used
            .iter()
            .filter(|place| self.node(first + **place).is_some_and(Node::is_directory))
            .count();
        let bitmap = inode_bitmap(&self.layout, used.iter().copied());
        work.metadata.insert(self.layout.inode_bitmap(number), bitmap);
        let all = self.layout.inodes_per_group;
        if let Some(group) = self.groups.get_mut(number as usize) {
            group.inodes_ready = true;
            group.free_inodes = all - u32::try_from(used.len()).unwrap_or(all);
            group.directories = u32::try_from(directories).unwrap_or(all);
            group.unused_inodes = used.last().map_or(all, |last| all - 1 - last);
        }
    }

    fn write_block_group(&mut self, number: u32, work: &mut Work) {
        let bitmap = block_bitmap(&self.layout, &self.allocator, number);
        work.metadata.insert(self.layout.block_bitmap(number), bitmap);
        let free = self.allocator.free_in_group(number).map(|run| run.len).sum();
        if let Some(group) = self.groups.get_mut(number as usize) {
            group.blocks_ready = true;
            group.free_blocks = free;
        }
    }

    fn write_descriptors(&self, touched: &BTreeSet<u32>, work: &mut Work) {
        let blocks: BTreeSet<u32> =
            touched.iter().map(|group| group / DESCRIPTORS_PER_BLOCK).collect();
        for block in blocks {
            work.metadata.insert(1 + block, self.descriptor_block(block));
        }
    }

    fn descriptor_block(&self, block: u32) -> Block {
        let mut bytes = Box::new([0; BLOCK_SIZE]);
        let first = block * DESCRIPTORS_PER_BLOCK;
        let groups = self.groups.iter().skip(first as usize);
        for (group, place) in groups.zip(0..DESCRIPTORS_PER_BLOCK) {
            let descriptor = group.descriptor(&self.layout, first + place);
            put(&mut *bytes, place as usize * DESCRIPTOR_SIZE, &descriptor);
        }
        bytes
    }

    fn write_superblocks(&self, first: bool, work: &mut Work) {
        let counters = Counters {
            free_blocks: self.allocator.free_blocks(),
            free_inodes: self.groups.iter().map(|group| group.free_inodes).sum(),
            ea_inode: self.large_attributes,
        };
        let mut block = Box::new([0; BLOCK_SIZE]);
        put(&mut *block, SUPERBLOCK_OFFSET, &superblock(&self.layout, counters, 0));
        work.metadata.insert(0, block);
        if first && self.layout.groups > BACKUP_GROUP {
            let start = Layout::group_start(BACKUP_GROUP);
            let mut block = Box::new([0; BLOCK_SIZE]);
            put(&mut *block, 0, &superblock(&self.layout, counters, 1));
            work.metadata.insert(start, block);
            for number in 0..self.layout.descriptor_blocks {
                work.metadata.insert(start + 1 + number, self.descriptor_block(number));
            }
        }
    }
}

impl Work {
    fn into_placement(self) -> Placement {
        let Self { metadata, mut data, mut zeroed, .. } = self;
        let mut blocks = Vec::with_capacity(metadata.len());
        for (number, block) in metadata {
            if block.iter().all(|byte| *byte == 0) {
                let sector = u64::from(number) * SECTORS_PER_BLOCK;
                zeroed.push(SectorRange { sector, sectors: SECTORS_PER_BLOCK });
            } else {
                blocks.push((u64::from(number), block));
            }
        }
        data.sort_unstable_by_key(|extent| extent.sector);
        data.dedup_by(|next, last| {
            let follows = last.sector + last.sectors == next.sector
                && last.stream_offset + last.sectors * SECTOR_SIZE == next.stream_offset;
            if follows {
                last.sectors += next.sectors;
            }
            follows
        });
        zeroed.sort_unstable_by_key(|range| range.sector);
        zeroed.dedup_by(|next, last| {
            let follows = last.sector + last.sectors == next.sector;
            if follows {
                last.sectors += next.sectors;
            }
            follows
        });
        Placement { data, zeroed, metadata: blocks }
    }
}
