//! Which blocks are free, and choosing among them.

use std::collections::BTreeSet;

use super::geometry::{BLOCKS_PER_GROUP, Layout};
use super::ranges::RangeSet;

/// A run of blocks on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: u32,
    pub(super) len: u32,
}

/// Free blocks. Choices depend on nothing but the set of free blocks, thus on the layers below.
#[derive(Clone, Debug)]
pub(super) struct Allocator {
    free: RangeSet,
    /// The same ranges as (length, start).
    by_len: BTreeSet<(u32, u32)>,
    free_blocks: u32,
    /// Free blocks that some layer has written: they do not read as zeros.
    stale: RangeSet,
    /// Groups whose bitmap the current layer changed.
    touched: BTreeSet<u32>,
}

impl Allocator {
    pub(super) fn new(layout: &Layout) -> Self {
        let mut allocator = Self {
            free: RangeSet::default(),
            by_len: BTreeSet::new(),
            free_blocks: 0,
            stale: RangeSet::default(),
            touched: BTreeSet::new(),
        };
        for group in 0..layout.groups {
            let overhead = layout.overhead(group);
            let start = Layout::group_start(group) + overhead;
            let len = layout.group_blocks(group) - overhead;
            allocator.free.insert(start, len);
            allocator.by_len.insert((len, start));
            allocator.free_blocks += len;
        }
        allocator
    }

    pub(super) fn free_blocks(&self) -> u32 {
        self.free_blocks
    }

    /// Free blocks of one group. Ranges never cross groups: each group starts with metadata.
    pub(super) fn free_in_group(&self, group: u32) -> impl Iterator<Item = Run> {
        let start = Layout::group_start(group);
        let ranges = self.free.starting_in(start, start + BLOCKS_PER_GROUP);
        ranges.map(|(start, end)| Run { start, len: end - start })
    }

    /// Groups changed since the last call.
    pub(super) fn take_touched(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.touched)
    }

    /// Takes blocks in as few runs as possible: the smallest free range that holds all, or else
    /// the largest ranges one after another. `None`, and nothing taken, when there are too few.
    pub(super) fn allocate(&mut self, count: u32) -> Option<Vec<Run>> {
        if count > self.free_blocks {
            return None;
        }
        let mut runs = Vec::new();
        let mut wanted = count;
        while wanted > 0 {
            let fitting = self.by_len.range((wanted, 0)..).next().copied();
            let (len, start) = fitting.or_else(|| {
                let (longest, _) = *self.by_len.last()?;
                self.by_len.range((longest, 0)..).next().copied()
            })?;
            let taken = len.min(wanted);
            self.by_len.remove(&(len, start));
            if taken < len {
                self.by_len.insert((len - taken, start + taken));
            }
            self.free.remove(start, taken);
            self.free_blocks -= taken;
            self.touched.insert(start / BLOCKS_PER_GROUP);
            runs.push(Run { start, len: taken });
            wanted -= taken;
        }
        Some(runs)
    }

    /// Whether a block that is free, or was just allocated, may hold what a lower layer wrote.
    pub(super) fn is_stale(&self, block: u32) -> bool {
        self.stale.contains(block)
    }

    /// Notes that the current layer decides what allocated blocks read as.
    pub(super) fn covered(&mut self, run: Run) {
        self.stale.remove(run.start, run.len);
    }

    /// Gives blocks back that a lower layer wrote.
    pub(super) fn release(&mut self, run: Run) {
        // Neighbours that are free become part of the same range.
        let end = run.start + run.len;
        let merged = {
            let before = self.free.insert(run.start, run.len);
            for (len, start) in [(run.start - before.0, before.0), (before.1 - end, end)] {
                if len > 0 {
                    self.by_len.remove(&(len, start));
                }
            }
            before
        };
        self.by_len.insert((merged.1 - merged.0, merged.0));
        self.free_blocks += run.len;
        self.stale.insert(run.start, run.len);
        self.touched.insert(run.start / BLOCKS_PER_GROUP);
    }
}

#[cfg(test)]
mod tests {
    use super::{Allocator, Run};
    use crate::ext4::geometry::{Geometry, Layout};

    #[test]
    fn holes_are_used_when_they_fit_and_runs_stay_whole() {
        let layout = Layout::new(Geometry { virtual_size: 1 << 30 }).expect("layout");
        let mut allocator = Allocator::new(&layout);
        let before = allocator.free_blocks();
        let first = allocator.allocate(10).expect("room")[0];
        allocator.release(Run { start: first.start + 2, len: 3 });
        assert!(allocator.is_stale(first.start + 2) && !allocator.is_stale(first.start + 1));
        assert_eq!(allocator.allocate(4).expect("room")[0].start, first.start + 10);
        let hole = allocator.allocate(3).expect("room");
        assert_eq!(hole, [Run { start: first.start + 2, len: 3 }]);
        allocator.covered(hole[0]);
        assert!(!allocator.is_stale(first.start + 2));
        allocator.release(Run { start: first.start, len: 14 });
        assert_eq!(allocator.free_blocks(), before);
        let all = allocator.allocate(before).expect("room");
        assert_eq!(all.len(), layout.groups as usize);
        assert_eq!(allocator.allocate(1), None);
    }
}
