//! The superblock.

use super::geometry::{BLOCKS_PER_GROUP, FIRST_INODE, Layout};
use crate::fields::put;

/// Every image has the same identity, so that the same layers give the same bytes.
pub(super) const UUID: [u8; 16] = *b"Berth ext4 v1 \x80\x01";
/// Seed of the directory hash, fixed for the same reason.
pub(super) const HASH_SEED: [u32; 4] = [0x4265_7274, 0x6820_6469, 0x7265_6374, 0x6f72_7920];
/// Bytes that an inode has beyond the first 128, before its attributes.
pub(super) const EXTRA_INODE_SIZE: u16 = 32;

const SUPERBLOCK_SIZE: usize = 1024;
const MAGIC: u16 = 0xef53;
const COMPAT_EXT_ATTR: u32 = 0x8;
const COMPAT_DIR_INDEX: u32 = 0x20;
const INCOMPAT_FILETYPE: u32 = 0x2;
const INCOMPAT_EXTENTS: u32 = 0x40;
const INCOMPAT_EA_INODE: u32 = 0x400;
const RO_COMPAT_SPARSE_SUPER: u32 = 0x1;
const RO_COMPAT_LARGE_FILE: u32 = 0x2;
const RO_COMPAT_HUGE_FILE: u32 = 0x8;
const RO_COMPAT_GDT_CSUM: u32 = 0x10;
const RO_COMPAT_DIR_NLINK: u32 = 0x20;
const RO_COMPAT_EXTRA_ISIZE: u32 = 0x40;
const MOUNT_XATTR_USER: u32 = 0x4;
const MOUNT_ACL: u32 = 0x8;
const FLAG_UNSIGNED_HASH: u32 = 0x2;
const HASH_HALF_MD4: u8 = 1;
const STATE_CLEAN: u16 = 1;

/// What changes from layer to layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters {
    pub(super) free_blocks: u32,
    pub(super) free_inodes: u32,
    /// Some attribute value has an inode of its own.
    pub(super) ea_inode: bool,
}

/// The 1024 bytes of the superblock, or of its copy in `group`.
pub(super) fn superblock(layout: &Layout, counters: Counters, group: u16) -> [u8; SUPERBLOCK_SIZE] {
    let mut bytes = [0; SUPERBLOCK_SIZE];
    let mut word = |at: usize, value: u32| put(&mut bytes, at, &value.to_le_bytes());
    word(0x00, layout.inodes());
    word(0x04, layout.blocks);
    word(0x0c, counters.free_blocks);
    word(0x10, counters.free_inodes);
    // Block and cluster size: 1024 << 2.
    word(0x18, 2);
    word(0x1c, 2);
    word(0x20, BLOCKS_PER_GROUP);
    word(0x24, BLOCKS_PER_GROUP);
    word(0x28, layout.inodes_per_group);
    // Never checked because of a mount count.
    word(0x34, 0xffff << 16);
    word(0x38, u32::from(MAGIC) | u32::from(STATE_CLEAN) << 16);
    // On errors: continue.
    word(0x3c, 1);
    // Dynamic revision.
    word(0x4c, 1);
    word(0x54, FIRST_INODE);
    word(0x58, 256 | u32::from(group) << 16);
    word(0x5c, COMPAT_EXT_ATTR | COMPAT_DIR_INDEX);
    let ea_inode = if counters.ea_inode { INCOMPAT_EA_INODE } else { 0 };
    word(0x60, INCOMPAT_FILETYPE | INCOMPAT_EXTENTS | ea_inode);
    word(
        0x64,
        RO_COMPAT_SPARSE_SUPER
            | RO_COMPAT_LARGE_FILE
            | RO_COMPAT_HUGE_FILE
            | RO_COMPAT_GDT_CSUM
            | RO_COMPAT_DIR_NLINK
            | RO_COMPAT_EXTRA_ISIZE,
    );
    for (index, part) in HASH_SEED.iter().enumerate() {
        word(0xec + 4 * index, *part);
    }
    word(0x100, MOUNT_XATTR_USER | MOUNT_ACL);
    word(0x15c, u32::from(EXTRA_INODE_SIZE) | u32::from(EXTRA_INODE_SIZE) << 16);
    word(0x160, FLAG_UNSIGNED_HASH);
    put(&mut bytes, 0x68, &UUID);
    put(&mut bytes, 0xfc, &[HASH_HALF_MD4]);
    bytes
}
