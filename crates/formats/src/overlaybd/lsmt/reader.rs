//! Opens a sealed LSMT blob.

use super::header::{HEADER_SIZE, Header, Role};
use super::index::{MAX_ENTRIES, Mapping};
use crate::fields::Fields;
use crate::overlaybd::{OverlayError, SECTOR};
use crate::read_at::ReadAt;

const ENTRY_SIZE: u64 = 16;

/// A sealed LSMT blob: its records, its index, and its bytes.
pub struct Lsmt<R> {
    pub header: Header,
    pub trailer: Header,
    /// Ascending and disjoint; padding left out.
    pub index: Vec<Mapping>,
    /// Entries of the index that only pad it.
    pub padding: u64,
    /// The blob itself; [`Mapping::location`] counts its sectors.
    pub blob: R,
}

impl<R: ReadAt> Lsmt<R> {
    /// Reads trailer, index and header of a blob (in this order: the first two adjoin).
    ///
    /// # Errors
    /// [`OverlayError::Invalid`] when a bound, an order or a count is broken,
    /// [`OverlayError::Limit`] for more than 1,000,000 entries, [`OverlayError::Io`].
    pub fn open(blob: R) -> Result<Self, OverlayError> {
        let len = blob.len();
        let trailer_at = len
            .checked_sub(HEADER_SIZE)
            .filter(|at| *at >= HEADER_SIZE)
            .ok_or_else(|| OverlayError::invalid("lsmt blob", "it is shorter than its records"))?;
        let trailer = read_record(&blob, trailer_at, Role::Trailer)?;
        let (index, padding) = read_index(&blob, &trailer, trailer_at)?;
        let header = read_record(&blob, 0, Role::Header)?;
        Ok(Self { header, trailer, index, padding, blob })
    }

    /// Whether some run points outside of the blob: an index-only layer, whose data are in its
    /// source tar. (Merged blobs have tags too, so that a tag alone says nothing.)
    pub fn is_remote(&self) -> bool {
        let data_end = self.trailer.index_offset / SECTOR;
        self.index.iter().any(|mapping| mapping.tag != 0 && !is_inside(mapping, data_end))
    }
}

fn read_record<R: ReadAt>(blob: &R, at: u64, role: Role) -> Result<Header, OverlayError> {
    let mut bytes = vec![0; 4096];
    blob.read_at(&mut bytes, at)?;
    Header::parse(&bytes, role)
}

fn read_index<R: ReadAt>(
    blob: &R,
    trailer: &Header,
    trailer_at: u64,
) -> Result<(Vec<Mapping>, u64), OverlayError> {
    let count = usize::try_from(trailer.index_count).unwrap_or(usize::MAX);
    if count > MAX_ENTRIES {
        return Err(OverlayError::Limit(format!(
            "the lsmt index claims {count} entries; readers take {MAX_ENTRIES}"
        )));
    }
    let space = trailer_at.saturating_sub(trailer.index_offset);
    if trailer.index_offset < HEADER_SIZE || trailer.index_count * ENTRY_SIZE > space {
        return Err(OverlayError::invalid("lsmt index", "it lies outside of the blob"));
    }
    let mut bytes = vec![0; count * 16];
    blob.read_at(&mut bytes, trailer.index_offset)?;
    let mut index = Vec::with_capacity(count);
    let mut padding = 0;
    let mut free_from = 0;
    for entry in bytes.chunks_exact(16) {
        let fields = Fields(entry);
        let Some(mapping) = Mapping::decode(fields.u64(0), fields.u64(8)) else {
            padding += 1;
            continue;
        };
        check(&mapping, free_from, trailer.index_offset / SECTOR)?;
        free_from = mapping.end();
        index.push(mapping);
    }
    Ok((index, padding))
}

/// The rules that the readers in the field enforce.
fn check(mapping: &Mapping, free_from: u64, data_end: u64) -> Result<(), OverlayError> {
    let Mapping { lba, sectors, tag, .. } = *mapping;
    if lba < free_from || sectors == 0 {
        let reason = format!("the entry for sector {lba} overlaps another or is out of order");
        return Err(OverlayError::invalid("lsmt index", reason));
    }
    // Runs with a tag may point into another file, whose size is not known here.
    if tag == 0 && !is_inside(mapping, data_end) {
        let reason = format!("the entry for sector {lba} points outside of the data section");
        return Err(OverlayError::invalid("lsmt index", reason));
    }
    Ok(())
}

fn is_inside(mapping: &Mapping, data_end: u64) -> bool {
    let Mapping { sectors, location, zeroed, .. } = *mapping;
    let end = if zeroed { location } else { location.saturating_add(u64::from(sectors)) };
    location >= HEADER_SIZE / SECTOR && end <= data_end
}
