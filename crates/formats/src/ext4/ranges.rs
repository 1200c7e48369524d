//! Sets of block numbers kept as ranges.

use std::collections::BTreeMap;

/// Disjoint ranges of blocks, never adjacent to one another.
#[derive(Clone, Debug, Default)]
pub(super) struct RangeSet {
    /// End (exclusive) by start.
    ranges: BTreeMap<u32, u32>,
}

impl RangeSet {
    /// Adds blocks, some of which may be there already; returns the range they are now part of.
    pub(super) fn insert(&mut self, start: u32, len: u32) -> (u32, u32) {
        let (mut start, mut end) = (start, start + len);
        while let Some((&first, &last)) = self.ranges.range(..=end).next_back() {
            if last < start {
                break;
            }
            start = start.min(first);
            end = end.max(last);
            self.ranges.remove(&first);
        }
        self.ranges.insert(start, end);
        (start, end)
    }

    /// Takes blocks out, some of which may not be there.
    pub(super) fn remove(&mut self, start: u32, len: u32) {
        let end = start + len;
        while let Some((&first, &last)) = self.ranges.range(..end).next_back() {
            if last <= start {
                break;
            }
            self.ranges.remove(&first);
            if first < start {
                self.ranges.insert(first, start);
            }
            if last > end {
                self.ranges.insert(end, last);
            }
        }
    }

    pub(super) fn contains(&self, block: u32) -> bool {
        self.ranges.range(..=block).next_back().is_some_and(|(_, end)| *end > block)
    }

    /// The ranges that begin in `start..end`, as start and end.
    pub(super) fn starting_in(&self, start: u32, end: u32) -> impl Iterator<Item = (u32, u32)> {
        self.ranges.range(start..end).map(|(start, end)| (*start, *end))
    }
}

#[cfg(test)]
mod tests {
    use super::RangeSet;

    #[test]
    fn ranges_join_and_split() {
        let mut set = RangeSet::default();
        set.insert(10, 5);
        set.insert(20, 5);
        assert_eq!(set.insert(15, 5), (10, 25));
        set.remove(12, 2);
        assert_eq!(set.starting_in(0, 100).collect::<Vec<_>>(), [(10, 12), (14, 25)]);
        assert!(set.contains(11) && !set.contains(12) && !set.contains(25));
        assert_eq!(set.insert(0, 100), (0, 100));
        set.remove(0, 100);
        assert_eq!(set.starting_in(0, 100).count(), 0);
    }
}
