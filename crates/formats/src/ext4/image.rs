//! The file system across layers.

use super::allocator::{Allocator, Run};
use super::content::{Allocation, Content};
use super::directory::{self, MAX_UNINDEXED};
use super::error::Ext4Error;
use super::extents;
use super::files::{self, FileProblem};
use super::geometry::{Geometry, Layout, inode_number};
use super::groups::Group;
use super::index::Index;
use super::inode::FAST_SYMLINK;
use super::placement::{BLOCK_SIZE, Block, Placement};
use super::work::Work;
use crate::fields::put;
use crate::layer::{LayerEntries, Metadata};
use crate::tree::{NodeId, NodeKind, Tree};

const LOST_AND_FOUND: &[u8] = b"lost+found";

/// The ext4 file system that a chain of layers makes.
///
/// Inode numbers and blocks depend on nothing but the layers applied so far, so that the same
/// chain always gives the same placements. The root always has a `lost+found` directory, as
/// every ext4 has; a layer may describe it like any other directory.
#[derive(Clone, Debug)]
pub struct Image {
    pub(super) layout: Layout,
    pub(super) tree: Tree<Content>,
    pub(super) allocations: Vec<Allocation>,
    pub(super) allocator: Allocator,
    pub(super) groups: Vec<Group>,
    pub(super) started: bool,
    /// Some attribute value has, or had, an inode of its own.
    pub(super) large_attributes: bool,
}

impl Image {
    /// An empty file system. Nothing is on the disk before the first layer.
    pub fn new(geometry: Geometry) -> Result<Self, Ext4Error> {
        let layout = Layout::new(geometry)?;
        Ok(Self {
            layout,
            tree: Tree::new(),
            allocations: Vec::new(),
            allocator: Allocator::new(&layout),
            groups: (0..layout.groups).map(|group| Group::new(&layout, group)).collect(),
            started: false,
            large_attributes: false,
        })
    }

    /// Puts one layer on top and tells which sectors it writes. After an error the image must be
    /// dropped.
    pub fn apply(&mut self, layer: &LayerEntries) -> Result<Placement, Ext4Error> {
        let mut work = Work::default();
        self.tree.begin_layer();
        if !self.started {
            self.ensure_lost_and_found();
        }
        for entry in &layer.entries {
            self.tree.apply(entry.clone().map_file(Content::Pending))?;
        }
        self.ensure_lost_and_found();
        let changes = self.tree.end_layer();
        self.make_room_for_inodes()?;
        for node in &changes.freed {
            self.release(*node, &mut work);
        }
        for node in &changes.directories {
            self.place_directory(*node, &mut work)?;
        }
        for node in &changes.changed {
            self.place_attributes(*node, &mut work)?;
            work.inodes.insert(inode_number(*node));
        }
        for node in &changes.changed {
            self.place_content(*node, &mut work)?;
        }
        self.finish(work)
    }

    pub(super) fn make_room_for_inodes(&mut self) -> Result<(), Ext4Error> {
        let limit = self.layout.inodes();
        if inode_number(NodeId(self.tree.node_limit() - 1)) > limit {
            return Err(Ext4Error::InodesFull { limit });
        }
        self.allocations.resize_with(self.tree.node_limit() as usize, Allocation::default);
        Ok(())
    }

    fn ensure_lost_and_found(&mut self) {
        let metadata = Metadata { mode: 0o700, ..Metadata::default() };
        self.tree.ensure_root_directory(LOST_AND_FOUND, metadata);
    }

    /// Gives back everything that an inode without names occupies.
    pub(super) fn release(&mut self, node: NodeId, work: &mut Work) {
        work.inodes.insert(inode_number(node));
        let allocation = std::mem::take(&mut self.allocations[node.0 as usize]);
        for extent in &allocation.extents {
            self.allocator.release(extent.run);
        }
        let metadata = allocation.tree_blocks.iter().chain(Some(&allocation.xattr_block));
        for block in metadata.filter(|block| **block != 0) {
            self.allocator.release(Run { start: *block, len: 1 });
        }
        for value in allocation.values {
            self.release(value, work);
            self.tree.remove_unnamed(value);
        }
    }

    fn place_directory(&mut self, node: NodeId, work: &mut Work) -> Result<(), Ext4Error> {
        let allocation = &mut self.allocations[node.0 as usize];
        let before = allocation.data_blocks();
        let entries = self.tree.get_mut(node).and_then(|node| node.as_directory_mut());
        let Some(entries) = entries else { return Ok(()) };
        let parent = entries.parent;
        let placed = if let Some(index) = &mut allocation.index {
            index.place_names(entries, before)
        } else {
            let placed = directory::place_names(entries, before);
            if placed.blocks > MAX_UNINDEXED {
                Index::build(entries).map(|(index, placed)| {
                    allocation.index = Some(Box::new(index));
                    placed
                })
            } else {
                Some(placed)
            }
        };
        let too_many = || self.unsupported(node, "the directory has too many names".into());
        let placed = placed.ok_or_else(too_many)?;
        if placed.blocks > before {
            let runs = self.allocate(placed.blocks - before, node)?;
            let mut logical = before;
            for run in runs {
                extents::push(&mut self.allocations[node.0 as usize].extents, logical, run);
                logical += run.len;
            }
            self.place_extent_tree(node)?;
            work.inodes.insert(inode_number(node));
        }
        let allocation = &mut self.allocations[node.0 as usize];
        let index = allocation.index.as_mut();
        let nodes = index.map(|index| index.render(inode_number(node), inode_number(parent)));
        let extents = &allocation.extents;
        let leaves = directory::render(&self.tree, node, &placed.dirty);
        for (slot, block) in leaves.into_iter().chain(nodes.into_iter().flatten()) {
            if let Some(number) = extents::find(extents, slot) {
                work.metadata.insert(number, block);
            }
        }
        Ok(())
    }

    fn place_content(&mut self, node: NodeId, work: &mut Work) -> Result<(), Ext4Error> {
        match self.tree.get(node).map(|node| &node.kind) {
            Some(NodeKind::File(Content::Pending(data))) => {
                let size = data.size;
                let placed = files::place(data, &mut self.allocator)
                    .map_err(|problem| self.file_problem(node, problem))?;
                work.data.extend(placed.data);
                work.zeroed.extend(placed.zeroed);
                let extents = &mut self.allocations[node.0 as usize].extents;
                *extents = placed.extents;
                extents.shrink_to_fit();
                if let Some(node) = self.tree.get_mut(node) {
                    node.kind = NodeKind::File(Content::Placed { size });
                }
                self.place_extent_tree(node)
            }
            Some(NodeKind::Symlink(target))
                if target.len() >= FAST_SYMLINK
                    && self.allocations[node.0 as usize].extents.is_empty() =>
            {
                let mut content = Box::new([0; BLOCK_SIZE]);
                put(&mut *content, 0, target);
                let start = self.allocate_block(content, node, work)?;
                let extents = &mut self.allocations[node.0 as usize].extents;
                extents::push(extents, 0, Run { start, len: 1 });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Gives the extent tree of an inode as many blocks as it needs.
    pub(super) fn place_extent_tree(&mut self, node: NodeId) -> Result<(), Ext4Error> {
        let allocation = &self.allocations[node.0 as usize];
        let wanted = extents::tree_blocks(allocation.extents.len());
        let missing = wanted.saturating_sub(allocation.tree_blocks.len());
        for run in self.allocate(u32::try_from(missing).unwrap_or(u32::MAX), node)? {
            let blocks = &mut self.allocations[node.0 as usize].tree_blocks;
            blocks.extend(run.start..run.start + run.len);
        }
        Ok(())
    }

    pub(super) fn allocate_block(
        &mut self,
        content: Block,
        node: NodeId,
        work: &mut Work,
    ) -> Result<u32, Ext4Error> {
        let run = self.allocate(1, node)?.into_iter().next();
        let number = run.map_or(0, |run| run.start);
        work.metadata.insert(number, content);
        Ok(number)
    }

    /// Takes blocks that the current layer will write in full.
    pub(super) fn allocate(&mut self, count: u32, node: NodeId) -> Result<Vec<Run>, Ext4Error> {
        let runs = self.allocator.allocate(count).ok_or_else(|| self.full(node))?;
        for run in &runs {
            self.allocator.covered(*run);
        }
        Ok(runs)
    }

    fn path(&self, node: NodeId) -> String {
        let path = self.tree.find_path(node).unwrap_or_default();
        String::from_utf8_lossy(&path).into_owned()
    }

    fn full(&self, node: NodeId) -> Ext4Error {
        let virtual_size = u64::from(self.layout.blocks) * BLOCK_SIZE as u64;
        Ext4Error::DiskFull { path: self.path(node), virtual_size }
    }

    pub(super) fn unsupported(&self, node: NodeId, reason: String) -> Ext4Error {
        Ext4Error::Unsupported { path: self.path(node), reason }
    }

    fn file_problem(&self, node: NodeId, problem: FileProblem) -> Ext4Error {
        match problem {
            FileProblem::Full => self.full(node),
            FileProblem::Unsupported(reason) => self.unsupported(node, reason),
            FileProblem::BadData(reason) => {
                Ext4Error::BadFileData { path: self.path(node), reason }
            }
        }
    }
}
