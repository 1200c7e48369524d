//! Explains accelerated layers: what stands in their headers, how they are laid out, and what
//! file system a chain of them makes. For `berth inspect`.

use serde::Serialize;

use crate::ext4::reader::{Ext4Reader, ReadError, Superblock};
use crate::overlaybd::{
    Algorithm, Blob, LayerStack, OverlayError, Payload, SECTOR, lsmt, open_blob, tarwrap, zfile,
};
use crate::read_at::ReadAt;

/// One layer blob, from the outside in.
#[derive(Debug, Clone, Serialize)]
pub struct BlobReport {
    /// Bytes of the whole blob.
    pub size: u64,
    /// `None` for a bare blob.
    pub tar: Option<TarReport>,
    /// `None` for an uncompressed layer.
    pub zfile: Option<ZFileReport>,
    pub lsmt: LsmtReport,
}

/// The tar around the blob.
#[derive(Debug, Clone, Serialize)]
pub struct TarReport {
    pub offset: u64,
    pub size: u64,
}

/// The compressed file.
#[derive(Debug, Clone, Serialize)]
pub struct ZFileReport {
    pub algorithm: Algorithm,
    pub block_size: u32,
    pub blocks: u64,
    pub original_size: u64,
    /// Bytes of compressed blocks with their checksums.
    pub stored_size: u64,
    pub jump_table_offset: u64,
    /// Each block carries a checksum.
    pub block_checksums: bool,
    /// The header holds everything, so that opening needs no read of the trailer.
    pub complete_header: bool,
}

/// The layer of the block device.
#[derive(Debug, Clone, Serialize)]
pub struct LsmtReport {
    pub uuid: String,
    pub parent: Option<String>,
    pub user_tag: String,
    pub virtual_size: u64,
    pub index_offset: u64,
    pub segments: SegmentReport,
}

/// Statistics of an index.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SegmentReport {
    /// Entries without padding.
    pub count: u64,
    pub padding: u64,
    /// Entries that read as zeros.
    pub zeroed: u64,
    /// Bytes of the device that they cover.
    pub zeroed_bytes: u64,
    pub data_bytes: u64,
    /// Longest and mean run of data, in bytes.
    pub longest: u64,
    pub mean: u64,
    /// First and last byte of the device that is mapped.
    pub first: u64,
    pub end: u64,
    /// Tags that occur; 1 beside 0 is an index over a source tar, or a merged layer.
    pub tags: Vec<u8>,
}

/// A chain of layers and the file system on it.
#[derive(Debug, Clone, Serialize)]
pub struct ChainReport {
    pub layers: Vec<BlobReport>,
    pub virtual_size: u64,
    /// Bytes of the device that come from some layer.
    pub mapped_bytes: u64,
    pub file_system: Superblock,
}

/// Why a chain cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error("layer {layer}: {source}")]
    Layer { layer: usize, source: OverlayError },
    #[error("{0}")]
    Stack(OverlayError),
    #[error("{0}")]
    FileSystem(#[from] ReadError),
}

/// Explains one blob.
///
/// # Errors
/// When it is no layer blob or a broken one.
pub fn inspect_blob(file: &impl ReadAt) -> Result<BlobReport, OverlayError> {
    let blob = open_blob(Borrowed(file))?;
    let (offset, size) = tarwrap::locate(file)?;
    let tar = (offset > 0).then_some(TarReport { offset, size });
    Ok(report(file.len(), tar, &blob))
}

/// Explains a chain of layers, the lowest first.
///
/// # Errors
/// When a blob cannot be opened or there is no ext4 file system on them.
pub fn inspect_chain<R: ReadAt>(files: Vec<R>) -> Result<ChainReport, InspectError> {
    let mut layers = Vec::with_capacity(files.len());
    let mut reports = Vec::with_capacity(files.len());
    for (layer, file) in files.into_iter().enumerate() {
        let failed = |source| InspectError::Layer { layer, source };
        reports.push(inspect_blob(&file).map_err(failed)?);
        layers.push(open_blob(file).map_err(failed)?);
    }
    let stack = LayerStack::of(layers).map_err(InspectError::Stack)?;
    let virtual_size = stack.len();
    let mapped_bytes = stack.mapped_bytes();
    let file_system = Ext4Reader::open(stack)?.superblock().clone();
    Ok(ChainReport { layers: reports, virtual_size, mapped_bytes, file_system })
}

fn report<R: ReadAt>(size: u64, tar: Option<TarReport>, blob: &Blob<R>) -> BlobReport {
    let trailer = &blob.trailer;
    BlobReport {
        size,
        tar,
        zfile: match &blob.blob {
            Payload::Plain(_) => None,
            Payload::Compressed(file) => Some(zfile_report(file)),
        },
        lsmt: LsmtReport {
            uuid: trailer.uuid.clone(),
            parent: trailer.parent.clone(),
            user_tag: trailer.user_tag.clone(),
            virtual_size: trailer.virtual_size,
            index_offset: trailer.index_offset,
            segments: segment_report(&blob.index, blob.padding),
        },
    }
}

fn zfile_report<R: ReadAt>(file: &zfile::ZFile<R>) -> ZFileReport {
    let header = file.header();
    ZFileReport {
        algorithm: header.algorithm,
        block_size: header.block_size,
        blocks: header.blocks,
        original_size: header.original_size,
        stored_size: file.stored_bytes(),
        jump_table_offset: header.index_offset,
        block_checksums: header.verify,
        complete_header: header.complete,
    }
}

fn segment_report(index: &[lsmt::Mapping], padding: u64) -> SegmentReport {
    let mut out = SegmentReport { count: index.len() as u64, padding, ..SegmentReport::default() };
    for mapping in index {
        let bytes = u64::from(mapping.sectors) * SECTOR;
        if mapping.zeroed {
            out.zeroed += 1;
            out.zeroed_bytes += bytes;
        } else {
            out.data_bytes += bytes;
            out.longest = out.longest.max(bytes);
        }
        if !out.tags.contains(&mapping.tag) {
            out.tags.push(mapping.tag);
        }
    }
    out.mean = out.data_bytes.checked_div(out.count - out.zeroed).unwrap_or_default();
    out.first = index.first().map(|first| first.lba * SECTOR).unwrap_or_default();
    out.end = index.last().map(|last| last.end() * SECTOR).unwrap_or_default();
    out.tags.sort_unstable();
    out
}

/// A file that is read through a reference.
struct Borrowed<'a, R>(&'a R);

impl<R: ReadAt> ReadAt for Borrowed<'_, R> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.0.read_at(buffer, offset)
    }

    fn len(&self) -> u64 {
        self.0.len()
    }
}
