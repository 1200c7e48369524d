//! Places for the content of regular files.

use super::allocator::{Allocator, Run};
use super::extents::{self, Extent};
use super::placement::{BLOCK_SIZE, DataExtent, SECTOR_SIZE, SectorRange};
use crate::layer::{FileData, Segment};

const BLOCK_BYTES: u64 = BLOCK_SIZE as u64;
pub(super) const SECTORS_PER_BLOCK: u64 = BLOCK_BYTES / SECTOR_SIZE;
/// Bytes beyond which a file's blocks cannot be numbered.
const MAX_FILE_SIZE: u64 = (u32::MAX as u64) * BLOCK_BYTES;

/// A placed file.
#[derive(Debug, Default)]
pub(super) struct PlacedFile {
    pub(super) extents: Vec<Extent>,
    pub(super) data: Vec<DataExtent>,
    pub(super) zeroed: Vec<SectorRange>,
}

/// Why a file has no place.
#[derive(Debug)]
pub(super) enum FileProblem {
    Unsupported(String),
    BadData(&'static str),
    Full,
}

/// Gives the content of one file blocks, in one run where the free space allows it.
pub(super) fn place(data: &FileData, allocator: &mut Allocator) -> Result<PlacedFile, FileProblem> {
    let blocks = check(data)?;
    let runs = allocator.allocate(blocks).ok_or(FileProblem::Full)?;
    let mut placed = PlacedFile::default();
    let mut supply = runs.iter().copied();
    let mut run = Run { start: 0, len: 0 };
    for segment in &data.segments {
        let mut logical = block_number(segment.file_offset);
        let mut offset = 0;
        while offset < segment.len {
            if run.len == 0 {
                // As many blocks were allocated as the segments have.
                run = supply.next().ok_or(FileProblem::Full)?;
            }
            let wanted = (segment.len - offset).div_ceil(BLOCK_BYTES);
            let taken = run.len.min(u32::try_from(wanted).unwrap_or(u32::MAX));
            let piece = Run { start: run.start, len: taken };
            let bytes = (segment.len - offset).min(u64::from(taken) * BLOCK_BYTES);
            placed.piece(piece, bytes, segment.stream_offset + offset, allocator);
            extents::push(&mut placed.extents, logical, piece);
            run = Run { start: run.start + taken, len: run.len - taken };
            logical += taken;
            offset += bytes;
        }
    }
    for run in runs {
        allocator.covered(run);
    }
    Ok(placed)
}

impl PlacedFile {
    fn piece(&mut self, piece: Run, bytes: u64, stream_offset: u64, allocator: &Allocator) {
        let sector = u64::from(piece.start) * SECTORS_PER_BLOCK;
        let sectors = bytes.div_ceil(SECTOR_SIZE);
        self.data.push(DataExtent { sector, sectors, stream_offset });
        let rest = u64::from(piece.len) * SECTORS_PER_BLOCK - sectors;
        if rest > 0 && allocator.is_stale(piece.start + piece.len - 1) {
            self.zeroed.push(SectorRange { sector: sector + sectors, sectors: rest });
        }
    }
}

/// Checks that the segments make sense; returns how many blocks they need.
fn check(data: &FileData) -> Result<u32, FileProblem> {
    if data.size > MAX_FILE_SIZE {
        let reason = format!("the file has {} bytes, more than ext4 can address", data.size);
        return Err(FileProblem::Unsupported(reason));
    }
    let mut end = 0;
    let mut blocks: u64 = 0;
    for Segment { file_offset, len, stream_offset } in &data.segments {
        let last = file_offset.checked_add(*len).filter(|last| *last <= data.size);
        let last = last.ok_or(FileProblem::BadData("a segment reaches beyond the file's end"))?;
        if *file_offset < end {
            return Err(FileProblem::BadData("its segments overlap or are out of order"));
        }
        if file_offset % BLOCK_BYTES != 0 || (len % BLOCK_BYTES != 0 && last != data.size) {
            return Err(FileProblem::BadData("a segment does not begin and end at a block"));
        }
        if stream_offset % SECTOR_SIZE != 0 || stream_offset.checked_add(*len).is_none() {
            return Err(FileProblem::BadData("a segment's stream offset is not at a sector"));
        }
        blocks += len.div_ceil(BLOCK_BYTES);
        end = last;
    }
    u32::try_from(blocks).map_err(|_| FileProblem::Full)
}

/// Offsets were checked to be below 2^32 blocks.
fn block_number(offset: u64) -> u32 {
    u32::try_from(offset / BLOCK_BYTES).unwrap_or(u32::MAX)
}
