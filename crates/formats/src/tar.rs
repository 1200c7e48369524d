//! Reading tar archives as a stream, the way image layers use them.
//!
//! Understood: V7, ustar with prefix, star, GNU (long names, base-256 numbers, sparse files) and
//! PAX (local and global records, attributes, times, sparse 0.0, 0.1 and 1.0), after POSIX.1-2017
//! "pax" and the GNU tar manual. Where archives are sloppy this reader accepts what Go's
//! `archive/tar` accepts, because that is what made and will read the same layers elsewhere; a
//! header that contradicts itself and an archive cut inside an entry are errors.
//!
//! Entry point: [`TarReader`].

mod error;
mod header;
mod number;
mod pax;
mod reader;
mod sparse;

pub use error::TarError;
pub use reader::TarReader;

/// The content of a regular file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarFile {
    /// The file's size in bytes, holes included.
    pub size: u64,
    /// For a sparse file the regions that the archive stores, ascending and disjoint; the rest
    /// of the file is zeros.
    pub sparse: Option<Vec<SparseRegion>>,
}

/// A stored run of a sparse file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SparseRegion {
    /// Offset in the file.
    pub offset: u64,
    /// Length in bytes, not zero.
    pub len: u64,
}
