//! What one layer puts on the virtual disk.

/// Bytes of one file-system block.
pub const BLOCK_SIZE: usize = 4096;
/// Bytes of one sector, the unit of the virtual disk.
pub const SECTOR_SIZE: u64 = 512;

/// Contents of one file-system block.
pub type Block = Box<[u8; BLOCK_SIZE]>;

/// The sectors one layer writes: `data`, `zeroed` and `metadata` are each ascending and
/// together disjoint. Sectors named by none of them keep what the layers below put there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// File content, still in the layer's data stream. Neighbours on disk that are also
    /// neighbours in the stream are already one extent.
    pub data: Vec<DataExtent>,
    /// Sectors that must read as zeros although a lower layer may have written them.
    pub zeroed: Vec<SectorRange>,
    /// New contents of metadata blocks, by block number (4096-byte units).
    pub metadata: Vec<(u64, Block)>,
}

/// A run of sectors filled from the layer's data stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataExtent {
    /// First sector on the virtual disk.
    pub sector: u64,
    /// Number of sectors.
    pub sectors: u64,
    /// Byte offset in the layer's data stream, a multiple of 512.
    pub stream_offset: u64,
}

/// A run of sectors of the virtual disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectorRange {
    /// First sector.
    pub sector: u64,
    /// Number of sectors.
    pub sectors: u64,
}
