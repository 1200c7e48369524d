//! LSMT, the layer of a log-structured block device:
//! `[header 4096][data …][index 16 B × n][trailer 4096]`.
//!
//! Header and trailer share one structure, the index maps ranges of the device to places in the
//! blob. Data may lie in any order; only the index is sorted.

mod header;
mod index;
mod reader;

pub use header::{HEADER_SIZE, Header, Role};
pub use index::{IndexBuilder, MAX_ENTRIES, MAX_RUN, Mapping};
pub use reader::Lsmt;

/// First eight bytes of header and trailer.
pub(crate) const MAGIC: [u8; 8] = *b"LSMT\0\x01\x02\0";
