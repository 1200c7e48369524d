//! Ends a layer blob: metadata, index, trailers, headers, digest.

use std::io::Write;
use std::os::unix::fs::FileExt;

use berth_types::{Algorithm, Digest, Hasher};

use super::layer::{FinishedLayer, PlacedLayer};
use super::lsmt::{HEADER_SIZE, Header, IndexBuilder, MAX_ENTRIES, Mapping, Role};
use super::zfile::{Finished, ZFileWriter};
use super::{BLOCK, Cancel, OverlayError, SECTOR, Spool, tarwrap};
use crate::ext4::Placement;

/// Index entries are padded to a multiple of this many (4096 bytes), as readers know it.
const ENTRY_GROUP: usize = 256;

/// The entry that pads an index.
const PADDING: [u8; 16] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Writes what a placed layer lacks and computes its digest in one pass over the spool.
///
/// # Errors
/// [`OverlayError::Limit`] when the index has too many entries, [`OverlayError::Io`],
/// [`OverlayError::Canceled`].
pub fn finish(layer: PlacedLayer, cancel: &Cancel) -> Result<FinishedLayer, OverlayError> {
    let PlacedLayer { diff_id, amounts, dense_from, mut output, placement, lineage, virtual_size } =
        layer;
    let metadata = placement.metadata.len() as u64 * BLOCK;
    let index = write_metadata(&mut output, placement, dense_from, cancel)?;
    let segments = index.len() as u64;
    let index_offset = output.original_position();
    let index_count = write_index(&mut output, &index)?;
    let trailer = Header {
        role: Role::Trailer,
        index_offset,
        index_count,
        virtual_size,
        uuid: lineage.uuid,
        parent: lineage.parent,
        user_tag: String::new(),
    };
    output.append(&trailer.encode())?;
    let Finished { out: mut spool, header, len, .. } = output.finish()?;
    spool.write_all(&tarwrap::tail(len))?;
    spool.patch(&tarwrap::head(len), 0)?;
    spool.patch(&header, tarwrap::HEAD_SIZE)?;
    let (digest, size) = hash(&spool, cancel)?;
    Ok(FinishedLayer { spool, digest, size, source_diff_id: diff_id, amounts, segments, metadata })
}

/// Appends the metadata blocks and gives the index of the whole layer.
fn write_metadata(
    output: &mut ZFileWriter<Spool>,
    placement: Placement,
    dense_from: u64,
    cancel: &Cancel,
) -> Result<Vec<Mapping>, OverlayError> {
    let mut index = IndexBuilder::new();
    for extent in &placement.data {
        let end = extent.stream_offset.saturating_add(extent.sectors.saturating_mul(SECTOR));
        let sectors = if end > dense_from {
            extent.sectors.next_multiple_of(BLOCK / SECTOR)
        } else {
            extent.sectors
        };
        index.map(extent.sector, sectors, (HEADER_SIZE + extent.stream_offset) / SECTOR);
    }
    for range in &placement.zeroed {
        index.zero(range.sector, range.sectors);
    }
    output.pad(BLOCK)?;
    for (done, (block, bytes)) in placement.metadata.into_iter().enumerate() {
        if done % 1024 == 0 {
            cancel.check()?;
        }
        let sector = block * (BLOCK / SECTOR);
        if bytes.iter().all(|byte| *byte == 0) {
            index.zero(sector, BLOCK / SECTOR);
            continue;
        }
        index.map(sector, BLOCK / SECTOR, output.original_position() / SECTOR);
        output.append(bytes.as_slice())?;
    }
    index.finish()
}

/// Appends the index and gives the number of its entries with padding.
fn write_index(output: &mut ZFileWriter<Spool>, index: &[Mapping]) -> Result<u64, OverlayError> {
    for mapping in index {
        output.append(&mapping.encode())?;
    }
    let padded = index.len().next_multiple_of(ENTRY_GROUP).min(MAX_ENTRIES);
    for _ in index.len()..padded {
        output.append(&PADDING)?;
    }
    Ok(padded.max(index.len()) as u64)
}

fn hash(spool: &Spool, cancel: &Cancel) -> Result<(Digest, u64), OverlayError> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        cancel.check()?;
        let read = spool.file().read_at(&mut buffer, at)?;
        if read == 0 {
            return Ok((hasher.finish(), at));
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
        at += read as u64;
    }
}
