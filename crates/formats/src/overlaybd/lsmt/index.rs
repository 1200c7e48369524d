//! The index of an LSMT blob: 16-byte entries, strictly ascending and disjoint on the device.
//!
//! Entry: u64 `lba:50 | sectors:14`, u64 `location:55 | zeroed:1 | tag:8`.

use super::header::HEADER_SIZE;
use crate::overlaybd::{OverlayError, SECTOR};

/// The most entries that readers of a layer take, padding included.
pub const MAX_ENTRIES: usize = 1_000_000;

/// The longest run that is written, in sectors. The field holds one more, which writers in the
/// field never use.
pub const MAX_RUN: u32 = 16_382;

const LBA_BITS: u32 = 50;
const LBA_MASK: u64 = (1 << LBA_BITS) - 1;
const LOCATION_BITS: u32 = 55;
const LOCATION_MASK: u64 = (1 << LOCATION_BITS) - 1;
const FIRST_SECTOR: u64 = HEADER_SIZE / SECTOR;

/// A run of the device and where its bytes are. Positions and lengths are in sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    pub lba: u64,
    pub sectors: u32,
    /// Position in the blob (or, in an index-only layer, in the source tar for tag 1).
    pub location: u64,
    /// Reads as zeros; `location` has no meaning.
    pub zeroed: bool,
    pub tag: u8,
}

impl Mapping {
    /// First sector after the run.
    pub fn end(&self) -> u64 {
        self.lba.saturating_add(u64::from(self.sectors))
    }

    /// The entry as it stands in the index.
    pub fn encode(&self) -> [u8; 16] {
        let first = (self.lba & LBA_MASK) | (u64::from(self.sectors) << LBA_BITS);
        let second = (self.location & LOCATION_MASK)
            | (u64::from(self.zeroed) << LOCATION_BITS)
            | (u64::from(self.tag) << (LOCATION_BITS + 1));
        let mut out = [0; 16];
        let (low, high) = out.split_at_mut(8);
        low.copy_from_slice(&first.to_le_bytes());
        high.copy_from_slice(&second.to_le_bytes());
        out
    }

    /// Parses an entry; `None` for the padding mark.
    pub fn decode(first: u64, second: u64) -> Option<Self> {
        let lba = first & LBA_MASK;
        let [.., low, high] = (first >> LBA_BITS).to_be_bytes();
        (lba != LBA_MASK).then_some(Self {
            lba,
            sectors: u32::from(u16::from_be_bytes([low, high])),
            location: second & LOCATION_MASK,
            zeroed: second >> LOCATION_BITS & 1 == 1,
            tag: second.to_be_bytes()[0],
        })
    }

    /// Whether `next` continues this run on the device and in the blob.
    fn continues(&self, next: &Mapping) -> bool {
        self.end() == next.lba
            && self.zeroed == next.zeroed
            && self.tag == next.tag
            && (self.zeroed || self.location + u64::from(self.sectors) == next.location)
    }
}

/// Collects runs in any order and makes the sorted, coalesced index of them.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    data: Vec<Run>,
    zeroed: Vec<Run>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    lba: u64,
    sectors: u64,
    location: u64,
}

impl Run {
    fn end(&self) -> u64 {
        self.lba.saturating_add(self.sectors)
    }
}

impl IndexBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Maps `sectors` sectors at `lba` to those at `location` of the blob.
    pub fn map(&mut self, lba: u64, sectors: u64, location: u64) {
        if sectors > 0 {
            self.data.push(Run { lba, sectors, location });
        }
    }

    /// Makes `sectors` sectors at `lba` read as zeros, except where data is mapped. Runs may
    /// overlap each other and data.
    pub fn zero(&mut self, lba: u64, sectors: u64) {
        if sectors > 0 {
            self.zeroed.push(Run { lba, sectors, location: FIRST_SECTOR });
        }
    }

    /// The index.
    ///
    /// # Errors
    /// [`OverlayError::Invalid`] when data runs overlap or leave the addressable device,
    /// [`OverlayError::Limit`] when there are more entries than readers take.
    pub fn finish(mut self) -> Result<Vec<Mapping>, OverlayError> {
        self.data.sort_unstable_by_key(|run| run.lba);
        self.zeroed.sort_unstable_by_key(|run| run.lba);
        let mut out = Output::default();
        let mut zeroed = self.zeroed.into_iter().peekable();
        // Everything below `done` is decided.
        let mut done = 0_u64;
        for run in &self.data {
            if run.lba < done && out.data_end > run.lba {
                return Err(OverlayError::invalid(
                    "lsmt index",
                    format!("two data runs cover sector {}", run.lba),
                ));
            }
            while let Some(zero) = zeroed.peek().copied() {
                if zero.lba >= run.lba {
                    break;
                }
                let from = zero.lba.max(done);
                let to = zero.end().min(run.lba);
                out.push_zeroed(from, to)?;
                done = done.max(to);
                if zero.end() > run.lba {
                    break;
                }
                zeroed.next();
            }
            out.push_data(run)?;
            done = run.end();
        }
        for zero in zeroed {
            let from = zero.lba.max(done);
            out.push_zeroed(from, zero.end())?;
            done = done.max(zero.end());
        }
        Ok(out.mappings)
    }
}

#[derive(Default)]
struct Output {
    mappings: Vec<Mapping>,
    data_end: u64,
}

impl Output {
    fn push_data(&mut self, run: &Run) -> Result<(), OverlayError> {
        if run.end() > LBA_MASK || run.location.saturating_add(run.sectors) > LOCATION_MASK {
            return Err(OverlayError::invalid("lsmt index", "a run leaves the device"));
        }
        self.data_end = run.end();
        self.push_split(run, false)
    }

    fn push_zeroed(&mut self, from: u64, to: u64) -> Result<(), OverlayError> {
        if to > LBA_MASK {
            return Err(OverlayError::invalid("lsmt index", "a zeroed run leaves the device"));
        }
        let run = Run { lba: from, sectors: to.saturating_sub(from), location: FIRST_SECTOR };
        self.push_split(&run, true)
    }

    /// Appends in pieces of at most [`MAX_RUN`], the first joined to the last entry if it
    /// continues it.
    fn push_split(&mut self, run: &Run, zeroed: bool) -> Result<(), OverlayError> {
        let (mut lba, mut location, mut left) = (run.lba, run.location, run.sectors);
        while left > 0 {
            let joined = self.mappings.last_mut().filter(|last| {
                let next = Mapping { lba, sectors: 1, location, zeroed, tag: 0 };
                last.sectors < MAX_RUN && last.continues(&next)
            });
            let space = joined.as_ref().map_or(MAX_RUN, |last| MAX_RUN - last.sectors);
            let take = u32::try_from(left).unwrap_or(u32::MAX).min(space);
            match joined {
                Some(last) => last.sectors += take,
                None => {
                    self.mappings.push(Mapping { lba, sectors: take, location, zeroed, tag: 0 });
                }
            }
            lba += u64::from(take);
            left -= u64::from(take);
            if !zeroed {
                location += u64::from(take);
            }
            if self.mappings.len() > MAX_ENTRIES {
                return Err(OverlayError::Limit(format!(
                    "the layer needs more than {MAX_ENTRIES} index entries"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST_SECTOR, IndexBuilder, MAX_RUN, Mapping};

    fn data(lba: u64, sectors: u32, location: u64) -> Mapping {
        Mapping { lba, sectors, location, zeroed: false, tag: 0 }
    }

    fn zero(lba: u64, sectors: u32) -> Mapping {
        Mapping { lba, sectors, location: FIRST_SECTOR, zeroed: true, tag: 0 }
    }

    #[test]
    fn entries_survive_a_round_trip() {
        let all = [
            data(0, 1, 8),
            Mapping { lba: (1 << 50) - 2, sectors: 16_383, location: 9, zeroed: true, tag: 255 },
        ];
        for mapping in all {
            let bytes = mapping.encode();
            let (low, high) = bytes.split_at(8);
            let word = |part: &[u8]| u64::from_le_bytes(part.try_into().expect("eight bytes"));
            assert_eq!(Mapping::decode(word(low), word(high)), Some(mapping));
        }
        assert_eq!(Mapping::decode(0x0003_ffff_ffff_ffff, 0), None);
    }

    #[test]
    fn sorts_joins_and_splits() {
        let mut index = IndexBuilder::new();
        index.map(100, 8, 40);
        index.map(0, 8, 8);
        index.map(8, 8, 16);
        index.map(108, 4, 90);
        index.map(1_000, u64::from(MAX_RUN) + 10, 1_000);
        assert_eq!(
            index.finish().expect("disjoint runs"),
            [
                data(0, 16, 8),
                data(100, 8, 40),
                data(108, 4, 90),
                data(1_000, MAX_RUN, 1_000),
                data(1_000 + u64::from(MAX_RUN), 10, 1_000 + u64::from(MAX_RUN)),
            ]
        );
    }

    #[test]
    fn zeros_fill_only_the_gaps() {
        let mut index = IndexBuilder::new();
        index.map(10, 2, 8);
        index.map(14, 2, 10);
        index.zero(8, 16);
        index.zero(12, 4);
        index.zero(40, 8);
        index.zero(44, 8);
        assert_eq!(
            index.finish().expect("disjoint runs"),
            [zero(8, 2), data(10, 2, 8), zero(12, 2), data(14, 2, 10), zero(16, 8), zero(40, 12)]
        );
    }

    #[test]
    fn refuses_overlaps() {
        for (lba, sectors) in [(0, 9), (8, 1), (15, 4), (0, 100)] {
            let mut index = IndexBuilder::new();
            index.map(8, 8, 8);
            index.map(lba, sectors, 100);
            assert!(index.finish().is_err(), "{lba}+{sectors}");
        }
    }
}
