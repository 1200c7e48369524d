//! The superblock: sizes and features.

use serde::Serialize;

use super::error::ReadError;
use crate::fields::Fields;

const MAGIC: u16 = 0xef53;

const INCOMPAT_FILETYPE: u32 = 0x2;
const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_EXTENTS: u32 = 0x40;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_MMP: u32 = 0x100;
const INCOMPAT_FLEX_BG: u32 = 0x200;
const INCOMPAT_EA_INODE: u32 = 0x400;
const INCOMPAT_CSUM_SEED: u32 = 0x2000;
const INCOMPAT_LARGEDIR: u32 = 0x4000;
const READABLE: u32 = INCOMPAT_FILETYPE
    | INCOMPAT_EXTENTS
    | INCOMPAT_64BIT
    | INCOMPAT_MMP
    | INCOMPAT_FLEX_BG
    | INCOMPAT_EA_INODE
    | INCOMPAT_CSUM_SEED
    | INCOMPAT_LARGEDIR;
const RO_COMPAT_BIGALLOC: u32 = 0x200;

/// What the superblock says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Superblock {
    pub block_size: u32,
    pub blocks: u64,
    pub free_blocks: u64,
    pub inodes: u32,
    pub free_inodes: u32,
    pub blocks_per_group: u32,
    pub inodes_per_group: u32,
    pub inode_size: u16,
    pub descriptor_size: u32,
    pub compatible: u32,
    pub incompatible: u32,
    pub read_only_compatible: u32,
    pub uuid: String,
    pub label: String,
    #[serde(skip)]
    first_data_block: u32,
}

impl Superblock {
    pub(super) fn parse(fields: Fields<'_>, device_len: u64) -> Result<Self, ReadError> {
        if fields.u16(0x38) != MAGIC {
            return Err(ReadError::corrupt("there is no ext4 superblock"));
        }
        let incompatible = fields.u32(0x60);
        if incompatible & INCOMPAT_RECOVER != 0 {
            return Err(ReadError::Unsupported("a journal that was not replayed".to_owned()));
        }
        let unknown = incompatible & !READABLE;
        if unknown != 0 {
            return Err(ReadError::Unsupported(format!("incompatible features {unknown:#x}")));
        }
        if fields.u32(0x64) & RO_COMPAT_BIGALLOC != 0 {
            return Err(ReadError::Unsupported("block clusters".to_owned()));
        }
        let is_64bit = incompatible & INCOMPAT_64BIT != 0;
        let high = |at: usize| if is_64bit { u64::from(fields.u32(at)) << 32 } else { 0 };
        let log_block_size = fields.u32(0x18);
        if log_block_size > 6 {
            return Err(ReadError::corrupt(format!("block size 2^{log_block_size} KiB")));
        }
        let revision = fields.u32(0x4c);
        let superblock = Self {
            block_size: 1024 << log_block_size,
            blocks: u64::from(fields.u32(4)) | high(0x150),
            free_blocks: u64::from(fields.u32(0xc)) | high(0x158),
            inodes: fields.u32(0),
            free_inodes: fields.u32(0x10),
            blocks_per_group: fields.u32(0x20),
            inodes_per_group: fields.u32(0x28),
            inode_size: if revision == 0 { 128 } else { fields.u16(0x58) },
            descriptor_size: if is_64bit { u32::from(fields.u16(0xfe)).max(32) } else { 32 },
            compatible: fields.u32(0x5c),
            incompatible,
            read_only_compatible: fields.u32(0x64),
            uuid: hex::encode(fields.bytes(0x68, 16)),
            label: String::from_utf8_lossy(fields.bytes(0x78, 16)).trim_end_matches('\0').into(),
            first_data_block: fields.u32(0x14),
        };
        superblock.check(device_len)?;
        Ok(superblock)
    }

    fn check(&self, device_len: u64) -> Result<(), ReadError> {
        let block_size = u64::from(self.block_size);
        let inode_size = u32::from(self.inode_size);
        if self.blocks_per_group == 0 || self.inodes_per_group == 0 || self.inodes == 0 {
            return Err(ReadError::corrupt("the superblock has empty groups"));
        }
        if !inode_size.is_power_of_two() || !(128..=self.block_size).contains(&inode_size) {
            return Err(ReadError::corrupt(format!("inode size {inode_size}")));
        }
        if !self.descriptor_size.is_power_of_two() || self.descriptor_size > 1024 {
            return Err(ReadError::corrupt(format!("descriptor size {}", self.descriptor_size)));
        }
        if self.blocks.checked_mul(block_size).is_none_or(|size| size > device_len) {
            return Err(ReadError::corrupt("the file system is larger than its device"));
        }
        Ok(())
    }

    /// Whether directory entries carry the type of their inode.
    pub(super) fn has_file_types(&self) -> bool {
        self.incompatible & INCOMPAT_FILETYPE != 0
    }

    /// Group and index in its table of an inode.
    pub(super) fn place_of(&self, inode: u32) -> Result<(u64, u64), ReadError> {
        let index = inode.checked_sub(1).filter(|_| inode <= self.inodes);
        let index = index.ok_or_else(|| ReadError::corrupt(format!("inode number {inode}")))?;
        let group = index / self.inodes_per_group;
        Ok((u64::from(group), u64::from(index % self.inodes_per_group)))
    }

    /// Byte position of a group descriptor. Groups are 32-bit numbers, so nothing overflows.
    pub(super) fn descriptor_at(&self, group: u64) -> u64 {
        let table = (u64::from(self.first_data_block) + 1) * u64::from(self.block_size);
        table + group * u64::from(self.descriptor_size)
    }
}
