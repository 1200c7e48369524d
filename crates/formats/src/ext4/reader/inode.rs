//! Inodes.

use super::error::ReadError;
use super::superblock::Superblock;
use crate::fields::Fields;
use crate::layer::Timestamp;

const FLAG_EXTENTS: u32 = 0x8_0000;
const FLAG_INLINE_DATA: u32 = 0x1000_0000;
const FLAG_ENCRYPTED: u32 = 0x800;
const GOOD_OLD_SIZE: usize = 128;
const MAP_AT: usize = 0x28;
const MAP_LEN: usize = 60;

/// The types of inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    File,
    Directory,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
}

/// An inode that is in use.
#[derive(Debug, Clone)]
pub struct Inode {
    pub number: u32,
    pub file_type: FileType,
    /// Permission bits with set-id and sticky: `0..=0o7777`.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub links: u16,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    pub atime: Timestamp,
    pub flags: u32,
    /// Block with further attributes; 0 for none.
    pub(super) attribute_block: u64,
    record: Vec<u8>,
}

impl Inode {
    pub(super) fn parse(
        number: u32,
        record: Vec<u8>,
        superblock: &Superblock,
    ) -> Result<Self, ReadError> {
        let fields = Fields(&record);
        let mode = fields.u16(0);
        let links = fields.u16(0x1a);
        let file_type = match mode >> 12 {
            0x8 => FileType::File,
            0x4 => FileType::Directory,
            0xa => FileType::Symlink,
            0x2 => FileType::CharDevice,
            0x6 => FileType::BlockDevice,
            0x1 => FileType::Fifo,
            0xc => FileType::Socket,
            _ => return Err(ReadError::corrupt(format!("inode {number} has mode {mode:#o}"))),
        };
        let flags = fields.u32(0x20);
        for (flag, what) in [(FLAG_INLINE_DATA, "inline data"), (FLAG_ENCRYPTED, "encryption")] {
            if flags & flag != 0 {
                return Err(ReadError::Unsupported(format!("{what} (inode {number})")));
            }
        }
        let extra = extra_size(fields, superblock);
        let time = |at: usize, extra_at: usize| {
            let has_extra = extra_at + 4 <= GOOD_OLD_SIZE + extra;
            timestamp(fields.u32(at), if has_extra { fields.u32(extra_at) } else { 0 })
        };
        let wide = |low: usize, high: usize| {
            u32::from(fields.u16(low)) | u32::from(fields.u16(high)) << 16
        };
        Ok(Self {
            number,
            file_type,
            mode: mode & 0o7777,
            uid: wide(2, 0x78),
            gid: wide(0x18, 0x7a),
            size: u64::from(fields.u32(4)) | u64::from(fields.u32(0x6c)) << 32,
            links,
            mtime: time(0x10, 0x88),
            ctime: time(0xc, 0x84),
            atime: time(0x8, 0x8c),
            flags,
            attribute_block: u64::from(fields.u32(0x68)) | u64::from(fields.u16(0x76)) << 32,
            record,
        })
    }

    /// Major and minor number of a device.
    pub fn device_numbers(&self) -> Option<(u32, u32)> {
        if !matches!(self.file_type, FileType::CharDevice | FileType::BlockDevice) {
            return None;
        }
        let map = Fields(self.map());
        let (old, new) = (map.u32(0), map.u32(4));
        if old != 0 {
            return Some((old >> 8 & 0xff, old & 0xff));
        }
        Some(((new & 0xf_ff00) >> 8, (new & 0xff) | (new >> 12 & 0xf_ff00)))
    }

    pub(super) fn has_extents(&self) -> bool {
        self.flags & FLAG_EXTENTS != 0
    }

    /// The 60 bytes that map blocks, or hold what needs none.
    pub(super) fn map(&self) -> &[u8] {
        Fields(&self.record).bytes(MAP_AT, MAP_LEN)
    }

    /// The target of a link that is short enough to stand in the inode.
    pub(super) fn inline_target(&self) -> Option<&[u8]> {
        let len = usize::try_from(self.size).ok().filter(|len| *len < MAP_LEN)?;
        if self.has_extents() { None } else { self.map().get(..len) }
    }

    /// The attributes that stand in the inode, without their magic number.
    pub(super) fn inline_attributes(&self) -> &[u8] {
        const MAGIC: u32 = 0xea02_0000;
        let fields = Fields(&self.record);
        if self.record.len() <= GOOD_OLD_SIZE {
            return &[];
        }
        let at = GOOD_OLD_SIZE + usize::from(fields.u16(GOOD_OLD_SIZE));
        if !at.is_multiple_of(4) || fields.u32(at) != MAGIC {
            return &[];
        }
        self.record.get(at + 4..).unwrap_or_default()
    }
}

/// Bytes behind the first 128 that hold fields.
fn extra_size(fields: Fields<'_>, superblock: &Superblock) -> usize {
    let room = usize::from(superblock.inode_size) - GOOD_OLD_SIZE;
    if room == 0 { 0 } else { usize::from(fields.u16(GOOD_OLD_SIZE)).min(room) }
}

/// Two bits of `extra` extend the seconds, the rest are nanoseconds.
fn timestamp(seconds: u32, extra: u32) -> Timestamp {
    let epoch = i64::from(extra & 3) << 32;
    let nanos = (extra >> 2).min(999_999_999);
    Timestamp { secs: i64::from(seconds.cast_signed()) + epoch, nanos }
}
