//! Header and trailer of a ZFile: 96 bytes, zero-padded to 512.

use super::codec::Algorithm;
use super::{MAGIC, crc};
use crate::fields::{Fields, put};
use crate::overlaybd::OverlayError;

/// Bytes that header and trailer take in the file each.
pub const HEADER_SIZE: u64 = 512;

const SIZE: usize = 512;
const STRUCT_SIZE: u32 = 96;
const MAGIC_ID: [u8; 16] = *b"tuji.yyf@Alibaba";
const DIGEST_AT: usize = 28;

const IS_HEADER: u64 = 1;
const DATA_FILE: u64 = 2;
const SEALED: u64 = 4;
const OVERWRITTEN: u64 = 8;
const HAS_DIGEST: u64 = 16;
const INDEX_COMPRESSED: u64 = 32;

/// The fields of a header or trailer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Stands at the beginning (not the end) of the file.
    pub is_header: bool,
    /// A header that holds everything, so that the trailer need not be read.
    pub complete: bool,
    /// Byte position of the jump table.
    pub index_offset: u64,
    /// Number of blocks.
    pub blocks: u64,
    /// Bytes of the original.
    pub original_size: u64,
    /// Checksum of the jump table; checked when the structure carries checksums.
    pub index_crc: u32,
    pub checked: bool,
    /// Bytes of a block of the original; the last may be shorter.
    pub block_size: u32,
    pub algorithm: Algorithm,
    /// Each block is followed by a checksum.
    pub verify: bool,
}

impl Header {
    /// The record as it stands in the file.
    pub fn encode(&self) -> [u8; SIZE] {
        let mut out = [0; SIZE];
        let place = match (self.is_header, self.complete) {
            (true, true) => IS_HEADER | OVERWRITTEN,
            (true, false) => IS_HEADER,
            (false, _) => SEALED,
        };
        put(&mut out, 0, &MAGIC);
        put(&mut out, 8, &MAGIC_ID);
        put(&mut out, 24, &STRUCT_SIZE.to_le_bytes());
        put(&mut out, 32, &(place | DATA_FILE | HAS_DIGEST).to_le_bytes());
        put(&mut out, 40, &self.index_offset.to_le_bytes());
        put(&mut out, 48, &self.blocks.to_le_bytes());
        put(&mut out, 56, &self.original_size.to_le_bytes());
        put(&mut out, 64, &self.index_crc.to_le_bytes());
        put(&mut out, 72, &self.block_size.to_le_bytes());
        put(&mut out, 76, &[self.algorithm.id()]);
        put(&mut out, 88, &[u8::from(self.verify)]);
        let digest = crc::raw(crc::PLAIN, &out);
        put(&mut out, DIGEST_AT, &digest.to_le_bytes());
        out
    }

    /// Parses a record and checks its digest. Flag bits that have no meaning are ignored: files
    /// in the field have rubbish there.
    ///
    /// # Errors
    /// [`OverlayError::Invalid`], [`OverlayError::Checksum`], [`OverlayError::Unsupported`] for
    /// dictionaries, compressed jump tables and other algorithms.
    pub fn parse(bytes: &[u8]) -> Result<Self, OverlayError> {
        let part = "zfile header";
        let record: &[u8; SIZE] = bytes
            .first_chunk()
            .ok_or_else(|| OverlayError::invalid(part, "the file is shorter than 512 bytes"))?;
        let fields = Fields(record);
        if fields.array(0) != MAGIC || fields.array(8) != MAGIC_ID {
            return Err(OverlayError::invalid(part, "magic bytes are missing"));
        }
        if fields.u32(24) != STRUCT_SIZE {
            return Err(OverlayError::invalid(part, "the structure has an unknown size"));
        }
        let flags = fields.u64(32);
        let checked = flags & HAS_DIGEST != 0;
        if checked {
            let mut blank = *record;
            put(&mut blank, DIGEST_AT, &[0; 4]);
            let (stored, computed) = (fields.u32(DIGEST_AT), crc::raw(crc::PLAIN, &blank));
            if stored != computed {
                return Err(OverlayError::Checksum { part: part.to_owned(), stored, computed });
            }
        }
        if flags & DATA_FILE == 0 {
            return Err(OverlayError::invalid(part, "it is not that of a data file"));
        }
        if flags & INDEX_COMPRESSED != 0 {
            return Err(OverlayError::Unsupported("a zfile with a compressed jump table".into()));
        }
        if fields.u8(78) != 0 || fields.u32(84) != 0 {
            return Err(OverlayError::Unsupported("a zfile with a dictionary".into()));
        }
        let algorithm = Algorithm::of_id(fields.u8(76)).ok_or_else(|| {
            OverlayError::Unsupported(format!("zfile compression algorithm {}", fields.u8(76)))
        })?;
        let block_size = fields.u32(72);
        if !block_size.is_power_of_two() || !(4096..=65_536).contains(&block_size) {
            return Err(OverlayError::Unsupported(format!("zfile block size {block_size}")));
        }
        Ok(Self {
            is_header: flags & IS_HEADER != 0,
            complete: flags & OVERWRITTEN != 0,
            index_offset: fields.u64(40),
            blocks: fields.u64(48),
            original_size: fields.u64(56),
            index_crc: fields.u32(64),
            checked,
            block_size,
            algorithm,
            verify: fields.u8(88) != 0,
        })
    }
}
