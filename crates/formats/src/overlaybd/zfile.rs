//! ZFile: a seekable compressed file:
//! `[header 512][block + crc]…[jump table u32 × n][trailer 512]`.
//!
//! Every block of the original is compressed on its own, also when it grows. The jump table holds
//! the stored length of each. Header and trailer share one structure.

mod codec;
mod crc;
mod header;
mod pool;
mod reader;
mod writer;

pub use codec::Algorithm;
pub use header::{HEADER_SIZE, Header};
pub use reader::ZFile;
pub use writer::{Finished, Parameters, ZFileWriter};

/// First eight bytes of header and trailer.
pub(crate) const MAGIC: [u8; 8] = *b"ZFile\0\x01\0";
