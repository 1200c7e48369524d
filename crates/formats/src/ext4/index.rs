//! Hash indexes of large directories.
//!
//! Block 0 becomes the root: it maps ranges of hashes to blocks of entries, directly or, for very
//! large directories, through one level of nodes. Every name stands in the block whose range
//! holds its hash; names of one hash may run on into the next block, whose range then begins
//! with the hash's lowest bit set.

use std::collections::{BTreeMap, BTreeSet};

use super::directory::{Placed, dirent_size};
use super::name_hash::hash;
use super::placement::{BLOCK_SIZE, Block};
use crate::fields::put;
use crate::tree::{Directory, UNPLACED};

const ROOT_HEADER: usize = 32;
const NODE_HEADER: usize = 8;
const ENTRY: usize = 8;
/// Entries in the root and in a node; the first one's hash field holds limit and count.
const ROOT_ENTRIES: usize = (BLOCK_SIZE - ROOT_HEADER) / ENTRY;
const NODE_ENTRIES: usize = (BLOCK_SIZE - NODE_HEADER) / ENTRY;
/// How full blocks and nodes are after a split, so that the next names find room.
const FILL: usize = BLOCK_SIZE / 4 * 3;
const NODE_FILL: usize = NODE_ENTRIES / 4 * 3;
const HALF_MD4: u8 = 1;
const ROOT_INFO_SIZE: u8 = 8;

/// The index of one directory.
#[derive(Clone, Debug)]
pub(super) struct Index {
    nodes: Vec<Node>,
    /// Blocks of the index (not of entries) that the current layer must write.
    dirty: BTreeSet<u32>,
}

#[derive(Clone, Debug)]
struct Node {
    /// The node's block; 0 if the root itself lists the leaves.
    slot: u32,
    leaves: Vec<Leaf>,
}

/// A block of entries and the first hash of its range.
#[derive(Clone, Copy, Debug)]
struct Leaf {
    start: u32,
    slot: u32,
}

/// Where a block is cut: names from (hash, name) on go to another block.
type Cut = (u32, Vec<u8>, u32);

impl Index {
    /// Turns a directory without index, whose names all need a block, into one with index.
    pub(super) fn build(directory: &mut Directory) -> Option<(Self, Placed)> {
        for dirent in directory.entries.values_mut() {
            dirent.slot = UNPLACED;
        }
        let leaves = vec![Leaf { start: 0, slot: 1 }];
        let nodes = vec![Node { slot: 0, leaves }];
        let mut index = Self { nodes, dirty: BTreeSet::from([0]) };
        let placed = index.place_names(directory, 2)?;
        Some((index, placed))
    }

    /// Gives every new name its block and splits blocks that overflow; `None` when the index
    /// would become too deep. The result names blocks of entries only.
    pub(super) fn place_names(&mut self, directory: &mut Directory, blocks: u32) -> Option<Placed> {
        let mut used = vec![0; blocks as usize];
        let mut dirty: BTreeSet<u32> = std::mem::take(&mut directory.vacated).into_iter().collect();
        let mut overflowing = BTreeSet::new();
        for (name, dirent) in &directory.entries {
            if let Some(used) = used.get_mut(dirent.slot as usize) {
                *used += dirent_size(name);
            }
        }
        for (name, dirent) in &mut directory.entries {
            if dirent.slot != UNPLACED {
                continue;
            }
            dirent.slot = self.find(hash(name));
            dirty.insert(dirent.slot);
            let used = used.get_mut(dirent.slot as usize)?;
            *used += dirent_size(name);
            if *used > BLOCK_SIZE {
                overflowing.insert(dirent.slot);
            }
        }
        let mut blocks = blocks;
        if !overflowing.is_empty() {
            let cuts = self.split(directory, &overflowing, &mut blocks);
            for (name, dirent) in &mut directory.entries {
                if let Some(cuts) = cuts.get(&dirent.slot) {
                    let key = (hash(name), &name[..]);
                    let behind = cuts.partition_point(|(hash, name, _)| (*hash, &name[..]) <= key);
                    if let Some((_, _, slot)) = behind.checked_sub(1).and_then(|cut| cuts.get(cut))
                    {
                        dirent.slot = *slot;
                    }
                }
            }
            dirty.extend(cuts.values().flatten().map(|(_, _, slot)| *slot));
            self.balance(&mut blocks)?;
        }
        Some(Placed { blocks, dirty })
    }

    fn find(&self, hash: u32) -> u32 {
        let behind = |node: &Node| node.leaves.first().is_some_and(|leaf| leaf.start <= hash);
        let node = self.nodes.partition_point(behind).saturating_sub(1);
        let leaves = self.nodes.get(node).map_or(&[][..], |node| &node.leaves);
        let leaf = leaves.partition_point(|leaf| leaf.start <= hash).saturating_sub(1);
        leaves.get(leaf).map_or(UNPLACED, |leaf| leaf.slot)
    }

    /// Cuts blocks that hold too much into several; the first part stays where it was.
    fn split(
        &mut self,
        directory: &Directory,
        overflowing: &BTreeSet<u32>,
        blocks: &mut u32,
    ) -> BTreeMap<u32, Vec<Cut>> {
        let mut content: BTreeMap<u32, Vec<(u32, &[u8])>> =
            overflowing.iter().map(|slot| (*slot, Vec::new())).collect();
        for (name, dirent) in &directory.entries {
            if let Some(names) = content.get_mut(&dirent.slot) {
                names.push((hash(name), name));
            }
        }
        let mut all = BTreeMap::new();
        for node in &mut self.nodes {
            let mut leaves = Vec::with_capacity(node.leaves.len());
            for leaf in &node.leaves {
                leaves.push(*leaf);
                let Some(names) = content.get_mut(&leaf.slot) else { continue };
                names.sort_unstable();
                let mut cuts = Vec::new();
                for (start, first) in cut(names) {
                    leaves.push(Leaf { start, slot: *blocks });
                    cuts.push((start & !1, first.to_vec(), *blocks));
                    *blocks += 1;
                }
                self.dirty.insert(node.slot);
                all.insert(leaf.slot, cuts);
            }
            node.leaves = leaves;
        }
        all
    }

    /// Splits nodes that list too many blocks.
    fn balance(&mut self, blocks: &mut u32) -> Option<()> {
        let flat = self.nodes.first().is_some_and(|node| node.slot == 0);
        let room = if flat { ROOT_ENTRIES } else { NODE_ENTRIES };
        if self.nodes.iter().all(|node| node.leaves.len() <= room) {
            return Some(());
        }
        let mut nodes = Vec::new();
        for node in std::mem::take(&mut self.nodes) {
            if !flat && node.leaves.len() <= NODE_ENTRIES {
                nodes.push(node);
                continue;
            }
            let parts = node.leaves.len().div_ceil(NODE_FILL);
            let per_part = node.leaves.len().div_ceil(parts);
            for (number, leaves) in node.leaves.chunks(per_part).enumerate() {
                let mut slot = node.slot;
                if slot == 0 || number > 0 {
                    slot = *blocks;
                    *blocks += 1;
                }
                self.dirty.insert(slot);
                nodes.push(Node { slot, leaves: leaves.to_vec() });
            }
        }
        self.nodes = nodes;
        self.dirty.insert(0);
        (self.nodes.len() <= ROOT_ENTRIES).then_some(())
    }

    /// The blocks of the index that changed since the last call.
    pub(super) fn render(&mut self, itself: u32, parent: u32) -> Vec<(u32, Block)> {
        let dirty = std::mem::take(&mut self.dirty);
        let mut written = Vec::new();
        if dirty.contains(&0) {
            written.push((0, self.render_root(itself, parent)));
        }
        for node in self.nodes.iter().filter(|node| node.slot != 0 && dirty.contains(&node.slot)) {
            let mut block = Box::new([0; BLOCK_SIZE]);
            // One directory entry for nothing, so that nodes look empty to older readers.
            put(&mut *block, 4, &small(BLOCK_SIZE));
            let entries = node.leaves.iter().map(|leaf| (leaf.start, leaf.slot));
            put_entries(&mut block, NODE_HEADER, NODE_ENTRIES, entries);
            written.push((node.slot, block));
        }
        written
    }

    fn render_root(&self, itself: u32, parent: u32) -> Block {
        let flat = self.nodes.first().filter(|node| node.slot == 0);
        let mut block = Box::new([0; BLOCK_SIZE]);
        put(&mut *block, 0, &itself.to_le_bytes());
        put(&mut *block, 4, &[12, 0, 1, 2, b'.']);
        put(&mut *block, 12, &parent.to_le_bytes());
        put(&mut *block, 16, &small(BLOCK_SIZE - 12));
        put(&mut *block, 18, &[2, 2, b'.', b'.']);
        put(&mut *block, 28, &[HALF_MD4, ROOT_INFO_SIZE, u8::from(flat.is_none())]);
        if let Some(node) = flat {
            let entries = node.leaves.iter().map(|leaf| (leaf.start, leaf.slot));
            put_entries(&mut block, ROOT_HEADER, ROOT_ENTRIES, entries);
        } else {
            let start = |node: &Node| node.leaves.first().map_or(0, |leaf| leaf.start);
            let entries = self.nodes.iter().map(|node| (start(node), node.slot));
            put_entries(&mut block, ROOT_HEADER, ROOT_ENTRIES, entries);
        }
        block
    }
}

/// Where to cut sorted names into blocks that are evenly filled: first hash (its lowest bit set
/// if the names before have the same hash) and first name of every part but the first.
fn cut<'a>(names: &[(u32, &'a [u8])]) -> Vec<(u32, &'a [u8])> {
    let total: usize = names.iter().map(|(_, name)| dirent_size(name)).sum();
    let parts = total.div_ceil(FILL).max(2);
    let target = total.div_ceil(parts);
    let mut cuts = Vec::new();
    let mut filled = 0;
    let mut last = None;
    for (hash, name) in names {
        let size = dirent_size(name);
        let same = last == Some(*hash);
        // Names of one hash stay together where they fit.
        if (filled + size > target && !same && filled > 0) || filled + size > BLOCK_SIZE {
            cuts.push((hash | u32::from(same), *name));
            filled = 0;
        }
        filled += size;
        last = Some(*hash);
    }
    cuts
}

fn put_entries(
    block: &mut Block,
    at: usize,
    limit: usize,
    entries: impl ExactSizeIterator<Item = (u32, u32)>,
) {
    let count = entries.len();
    for (number, (start, slot)) in entries.enumerate() {
        put(&mut **block, at + number * ENTRY, &start.to_le_bytes());
        put(&mut **block, at + number * ENTRY + 4, &slot.to_le_bytes());
    }
    put(&mut **block, at, &small(limit));
    put(&mut **block, at + 2, &small(count));
}

/// Numbers here are at most 4096.
fn small(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn names_of_one_hash_run_on_with_the_lowest_bit_set() {
        let names: Vec<Vec<u8>> = (0..60u8).map(|number| vec![number; 250]).collect();
        let same: Vec<(u32, &[u8])> = names.iter().map(|name| (8, &name[..])).collect();
        let cuts = cut(&same);
        assert!(cuts.len() >= 3 && cuts.iter().all(|(start, _)| *start == 9), "{cuts:?}");
        let others: Vec<(u32, &[u8])> =
            names.iter().zip((0..).step_by(2)).map(|(name, hash)| (hash, &name[..])).collect();
        assert!(cut(&others).iter().all(|(start, _)| start % 2 == 0));
    }
}
