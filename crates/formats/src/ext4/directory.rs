//! Blocks of directory entries.

use std::collections::{BTreeMap, BTreeSet};

use super::content::Content;
use super::geometry::inode_number;
use super::inode::dirent_type;
use super::placement::{BLOCK_SIZE, Block};
use crate::fields::put;
use crate::tree::{Directory, NodeId, Tree, UNPLACED};

const DIRENT_HEADER: usize = 8;
const TYPE_DIRECTORY: u8 = 2;

/// Bytes that a name takes.
pub(super) fn dirent_size(name: &[u8]) -> usize {
    (DIRENT_HEADER + name.len()).next_multiple_of(4)
}

/// Bytes of `.` and `..` in the first block.
const DOTS: usize = 24;

/// Blocks that a directory may have before it gets an index.
pub(super) const MAX_UNINDEXED: u32 = 4;

/// What placing names did to a directory.
#[derive(Debug)]
pub(super) struct Placed {
    /// Blocks it has now.
    pub(super) blocks: u32,
    /// Those whose content changed.
    pub(super) dirty: BTreeSet<u32>,
}

/// Gives every new name a block of a directory that has no index, the first one with room from
/// where the last name found some; names that have a place keep it.
pub(super) fn place_names(directory: &mut Directory, blocks: u32) -> Placed {
    let mut used = vec![0; blocks.max(1) as usize];
    used[0] = DOTS;
    let mut dirty: BTreeSet<u32> = std::mem::take(&mut directory.vacated).into_iter().collect();
    if blocks == 0 {
        dirty.insert(0);
    }
    for (name, dirent) in &directory.entries {
        if let Some(used) = used.get_mut(dirent.slot as usize) {
            *used += dirent_size(name);
        }
    }
    let mut slot = 0;
    for (name, dirent) in &mut directory.entries {
        if dirent.slot != UNPLACED {
            continue;
        }
        let size = dirent_size(name);
        while used.get(slot).is_some_and(|used| used + size > BLOCK_SIZE) {
            slot += 1;
        }
        if slot == used.len() {
            used.push(0);
        }
        used[slot] += size;
        // A directory of 2^32 blocks would need more names than there are inodes.
        dirent.slot = u32::try_from(slot).unwrap_or(UNPLACED);
        dirty.insert(dirent.slot);
    }
    Placed { blocks: u32::try_from(used.len()).unwrap_or(UNPLACED), dirty }
}

/// The contents of some blocks of a directory that hold entries.
pub(super) fn render(tree: &Tree<Content>, id: NodeId, slots: &BTreeSet<u32>) -> Vec<(u32, Block)> {
    let Some(directory) = tree.get(id).and_then(|node| node.as_directory()) else {
        return Vec::new();
    };
    let mut names: BTreeMap<u32, Vec<(&[u8], NodeId)>> =
        slots.iter().map(|slot| (*slot, Vec::new())).collect();
    for (name, dirent) in &directory.entries {
        if let Some(names) = names.get_mut(&dirent.slot) {
            names.push((name, dirent.node));
        }
    }
    let render_block = |(slot, names): (u32, Vec<(&[u8], NodeId)>)| {
        let mut writer = BlockWriter::new();
        if slot == 0 {
            writer.entry(b".", inode_number(id), TYPE_DIRECTORY);
            writer.entry(b"..", inode_number(directory.parent), TYPE_DIRECTORY);
        }
        for (name, child) in names {
            let kind = tree.get(child).map_or(0, |node| dirent_type(&node.kind));
            writer.entry(name, inode_number(child), kind);
        }
        (slot, writer.finish())
    };
    names.into_iter().map(render_block).collect()
}

/// Writes entries one behind the other.
struct BlockWriter {
    block: Block,
    last: usize,
    end: usize,
}

impl BlockWriter {
    fn new() -> Self {
        Self { block: Box::new([0; BLOCK_SIZE]), last: 0, end: 0 }
    }

    fn entry(&mut self, name: &[u8], inode: u32, kind: u8) {
        let size = dirent_size(name);
        let at = self.end;
        put(&mut *self.block, at, &inode.to_le_bytes());
        put(&mut *self.block, at + 4, &u16::try_from(size).unwrap_or(0).to_le_bytes());
        put(&mut *self.block, at + 6, &[u8::try_from(name.len()).unwrap_or(0), kind]);
        put(&mut *self.block, at + DIRENT_HEADER, name);
        self.last = at;
        self.end = at + size;
    }

    /// The last entry reaches to the block's end; a block without entries has one for nothing.
    fn finish(mut self) -> Block {
        let reach = u16::try_from(BLOCK_SIZE - self.last).unwrap_or(0);
        put(&mut *self.block, self.last + 4, &reach.to_le_bytes());
        self.block
    }
}
