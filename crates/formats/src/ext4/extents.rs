//! Extent trees: which blocks of the disk hold which blocks of a file.

use super::allocator::Run;
use super::placement::{BLOCK_SIZE, Block};
use crate::fields::put;

const MAGIC: u16 = 0xf30a;
/// Bytes of the header of a node, and of each entry.
const ENTRY: usize = 12;
/// Entries in the inode itself.
const ROOT_ENTRIES: usize = 4;
/// Entries in a block.
const NODE_ENTRIES: usize = (BLOCK_SIZE - ENTRY) / ENTRY;
/// Longest extent that counts as written.
const MAX_LEN: u32 = 32_768;

/// Blocks of a file that lie together on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// First block of the file.
    pub(super) logical: u32,
    /// Where it lies.
    pub(super) run: Run,
}

/// Adds blocks behind those in `extents`, joined with the last one where possible.
pub(super) fn push(extents: &mut Vec<Extent>, mut logical: u32, mut run: Run) {
    while run.len > 0 {
        let mut taken = run.len.min(MAX_LEN);
        match extents.last_mut() {
            Some(last)
                if last.logical + last.run.len == logical
                    && last.run.start + last.run.len == run.start
                    && last.run.len < MAX_LEN =>
            {
                taken = taken.min(MAX_LEN - last.run.len);
                last.run.len += taken;
            }
            _ => extents.push(Extent { logical, run: Run { start: run.start, len: taken } }),
        }
        logical += taken;
        run = Run { start: run.start + taken, len: run.len - taken };
    }
}

/// The block of the disk that holds a block of the file.
pub(super) fn find(extents: &[Extent], logical: u32) -> Option<u32> {
    let after = extents.partition_point(|extent| extent.logical <= logical);
    let extent = extents.get(after.checked_sub(1)?)?;
    let within = logical - extent.logical;
    (within < extent.run.len).then(|| extent.run.start + within)
}

/// Blocks that the tree of so many extents needs outside the inode.
pub(super) fn tree_blocks(extents: usize) -> usize {
    let mut total = 0;
    let mut level = extents;
    while level > ROOT_ENTRIES {
        level = level.div_ceil(NODE_ENTRIES);
        total += level;
    }
    total
}

/// The 60 bytes for the inode, and the contents of `blocks`, which must be as many as
/// [`tree_blocks`] says. Nodes are packed full and the tree is as flat as it can be.
pub(super) fn render(extents: &[Extent], blocks: &[u32]) -> ([u8; 60], Vec<(u32, Block)>) {
    let mut free = blocks.iter();
    let mut written = Vec::new();
    let mut depth = 0;
    let mut level: Vec<(u32, [u8; ENTRY])> =
        extents.iter().map(|extent| (extent.logical, leaf_entry(extent))).collect();
    while level.len() > ROOT_ENTRIES {
        let mut above = Vec::new();
        for entries in level.chunks(NODE_ENTRIES) {
            let (Some(block), Some((first, _))) = (free.next(), entries.first()) else { break };
            let mut node = Box::new([0; BLOCK_SIZE]);
            render_node(&mut *node, entries, NODE_ENTRIES, depth);
            written.push((*block, node));
            above.push((*first, index_entry(*first, *block)));
        }
        level = above;
        depth += 1;
    }
    let mut root = [0; 60];
    render_node(&mut root, &level, ROOT_ENTRIES, depth);
    (root, written)
}

fn render_node(node: &mut [u8], entries: &[(u32, [u8; ENTRY])], room: usize, depth: u16) {
    put(node, 0, &MAGIC.to_le_bytes());
    put(node, 2, &small(entries.len()));
    put(node, 4, &small(room));
    put(node, 6, &depth.to_le_bytes());
    for (index, (_, entry)) in entries.iter().enumerate() {
        put(node, ENTRY * (index + 1), entry);
    }
}

fn leaf_entry(extent: &Extent) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    put(&mut entry, 0, &extent.logical.to_le_bytes());
    put(&mut entry, 4, &small(extent.run.len as usize));
    put(&mut entry, 8, &extent.run.start.to_le_bytes());
    entry
}

fn index_entry(first: u32, block: u32) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    put(&mut entry, 0, &first.to_le_bytes());
    put(&mut entry, 4, &block.to_le_bytes());
    entry
}

/// Counts here are at most 32768.
fn small(count: usize) -> [u8; 2] {
    u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes()
}
