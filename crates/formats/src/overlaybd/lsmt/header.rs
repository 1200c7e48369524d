//! Header and trailer of an LSMT blob: 390 bytes, zero-padded to 4096.

use super::MAGIC;
use crate::fields::{Fields, put};
use crate::overlaybd::OverlayError;

/// Bytes that header and trailer take in the blob each.
pub const HEADER_SIZE: u64 = 4096;

const SIZE: usize = 4096;
const STRUCT_SIZE: u32 = 390;
const MAGIC_ID: [u8; 16] = [
    0x65, 0x7e, 0x63, 0xd2, 0x94, 0x44, 0x08, 0x4c, 0xa2, 0xd2, 0xc8, 0xec, 0x4f, 0xcf, 0xae, 0x8a,
];
const UUID_AT: usize = 56;
const PARENT_AT: usize = 93;
const UUID_LEN: usize = 37;
const VERSION_AT: usize = 132;
const TAG_AT: usize = 134;
const TAG_LEN: usize = 256;
const NO_PARENT: &str = "00000000-0000-0000-0000-000000000000";

const IS_HEADER: u32 = 1;
const DATA_FILE: u32 = 2;
const SEALED: u32 = 4;

/// Which of the two places a record stands at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Header,
    Trailer,
}

/// The fields of a header or trailer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub role: Role,
    /// Byte position of the index in the blob; 0 in a header.
    pub index_offset: u64,
    /// Number of index entries, padding included; 0 in a header.
    pub index_count: u64,
    /// Bytes of the virtual device.
    pub virtual_size: u64,
    /// `8-4-4-4-12` upper-case hexadecimal.
    pub uuid: String,
    /// The layer below; `None` for the lowest.
    pub parent: Option<String>,
    /// Free text, at most 255 bytes.
    pub user_tag: String,
}

impl Header {
    /// The record as it stands in the blob.
    pub fn encode(&self) -> [u8; SIZE] {
        let mut out = [0; SIZE];
        let flags = match self.role {
            Role::Header => IS_HEADER | DATA_FILE | SEALED,
            Role::Trailer => DATA_FILE | SEALED,
        };
        put(&mut out, 0, &MAGIC);
        put(&mut out, 8, &MAGIC_ID);
        put(&mut out, 24, &STRUCT_SIZE.to_le_bytes());
        put(&mut out, 28, &flags.to_le_bytes());
        put(&mut out, 32, &self.index_offset.to_le_bytes());
        put(&mut out, 40, &self.index_count.to_le_bytes());
        put(&mut out, 48, &self.virtual_size.to_le_bytes());
        put_text(&mut out, UUID_AT, UUID_LEN, &self.uuid);
        put_text(&mut out, PARENT_AT, UUID_LEN, self.parent.as_deref().unwrap_or(NO_PARENT));
        put(&mut out, VERSION_AT, &[1, 1]);
        put_text(&mut out, TAG_AT, TAG_LEN, &self.user_tag);
        out
    }

    /// Parses a record.
    ///
    /// # Errors
    /// [`OverlayError::Invalid`] when it is not the record of a sealed data blob in that role.
    pub fn parse(bytes: &[u8], role: Role) -> Result<Self, OverlayError> {
        let part = match role {
            Role::Header => "lsmt header",
            Role::Trailer => "lsmt trailer",
        };
        let fields = Fields(bytes);
        if fields.array(0) != MAGIC || fields.array(8) != MAGIC_ID {
            return Err(OverlayError::invalid(part, "magic bytes are missing"));
        }
        if bytes.len() < SIZE || fields.u32(24) != STRUCT_SIZE {
            return Err(OverlayError::invalid(part, "the structure has an unknown size"));
        }
        let flags = fields.u32(28);
        let found = if flags & IS_HEADER != 0 { Role::Header } else { Role::Trailer };
        if found != role {
            return Err(OverlayError::invalid(part, "header and trailer flag do not match"));
        }
        if flags & DATA_FILE == 0 || (role == Role::Trailer && flags & SEALED == 0) {
            return Err(OverlayError::invalid(part, "the blob is not a sealed data blob"));
        }
        let parent = text(fields.bytes(PARENT_AT, UUID_LEN));
        let none = parent.is_empty() || parent == NO_PARENT;
        Ok(Self {
            role,
            index_offset: fields.u64(32),
            index_count: fields.u64(40),
            virtual_size: fields.u64(48),
            uuid: text(fields.bytes(UUID_AT, UUID_LEN)),
            parent: (!none).then_some(parent),
            user_tag: text(fields.bytes(TAG_AT, TAG_LEN)),
        })
    }
}

/// Puts at most `len - 1` bytes, so that a NUL ends the text.
fn put_text(out: &mut [u8], at: usize, len: usize, text: &str) {
    let bytes = text.as_bytes();
    put(out, at, bytes.get(..len - 1).unwrap_or(bytes));
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Header, Role};

    #[test]
    fn survives_a_round_trip() {
        for role in [Role::Header, Role::Trailer] {
            let header = Header {
                role,
                index_offset: 4096,
                index_count: 3,
                virtual_size: 1 << 36,
                uuid: "11111111-1111-1111-1111-111111111111".to_owned(),
                parent: None,
                user_tag: "x".repeat(300),
            };
            let parsed = Header::parse(&header.encode(), role).expect("own record parses");
            assert_eq!(parsed, Header { user_tag: "x".repeat(255), ..header.clone() });
        }
    }

    #[test]
    fn refuses_what_is_not_one() {
        let header = Header {
            role: Role::Trailer,
            index_offset: 0,
            index_count: 0,
            virtual_size: 0,
            uuid: String::new(),
            parent: None,
            user_tag: String::new(),
        };
        let good = header.encode();
        assert!(Header::parse(&good, Role::Header).is_err());
        assert!(Header::parse(good.get(..390).unwrap_or_default(), Role::Trailer).is_err());
        for at in [0, 8, 24] {
            let mut bad = good;
            bad[at] ^= 1;
            assert!(Header::parse(&bad, Role::Trailer).is_err(), "byte {at}");
        }
    }
}
