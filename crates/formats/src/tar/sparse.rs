//! Maps of sparse files.

use super::SparseRegion;
use super::number;

/// More regions than any real archive has; a bound on memory.
pub(super) const MAX_REGIONS: usize = 1 << 20;

/// Bytes of one old GNU descriptor: offset and length of 12 bytes each.
const DESCRIPTOR: usize = 24;

/// Adds the descriptors of an old GNU header or extension block; an empty one ends the list.
pub(super) fn gnu_descriptors(bytes: &[u8], regions: &mut Vec<SparseRegion>) -> Option<()> {
    for descriptor in bytes.chunks_exact(DESCRIPTOR) {
        let (offset, len) = descriptor.split_at(DESCRIPTOR / 2);
        if offset.first() == Some(&0) {
            break;
        }
        let offset = u64::try_from(number::field(offset)?).ok()?;
        let len = u64::try_from(number::field(len)?).ok()?;
        regions.push(SparseRegion { offset, len });
    }
    (regions.len() <= MAX_REGIONS).then_some(())
}

/// How many lines the map in front of a PAX sparse 1.0 file has: the first line counts the
/// regions, two lines describe each.
pub(super) fn pax_map_lines(first_block: &[u8]) -> Result<usize, &'static str> {
    let count = first_block
        .split(|byte| *byte == b'\n')
        .next()
        .and_then(number::decimal)
        .and_then(|count| usize::try_from(count).ok())
        .ok_or("the sparse map is malformed")?;
    if count > MAX_REGIONS {
        return Err("the sparse map has too many regions");
    }
    Ok(1 + 2 * count)
}

/// Parses that map: decimal numbers, one a line.
pub(super) fn pax_map(text: &[u8]) -> Result<Vec<SparseRegion>, &'static str> {
    const BAD: &str = "the sparse map is malformed";
    let lines = pax_map_lines(text)?;
    let numbers = text.split(|byte| *byte == b'\n').take(lines).skip(1).map(number::decimal);
    let numbers = numbers.collect::<Option<Vec<u64>>>().ok_or(BAD)?;
    Ok(numbers.chunks_exact(2).map(|p| SparseRegion { offset: p[0], len: p[1] }).collect())
}

/// Checks a map against the file's size and the number of stored bytes; drops empty regions.
pub(super) fn checked(
    regions: Vec<SparseRegion>,
    size: u64,
    stored: u64,
) -> Result<Vec<SparseRegion>, &'static str> {
    let mut end = 0;
    let mut sum: u64 = 0;
    for region in &regions {
        if region.offset < end {
            return Err("the regions of the sparse map overlap");
        }
        end = region.offset.checked_add(region.len).ok_or("the sparse map overflows")?;
        if end > size {
            return Err("the sparse map reaches beyond the file's size");
        }
        sum += region.len;
    }
    if sum != stored {
        return Err("the sparse map does not fit the stored data");
    }
    Ok(regions.into_iter().filter(|region| region.len > 0).collect())
}
