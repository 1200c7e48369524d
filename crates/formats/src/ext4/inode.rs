//! One inode of 256 bytes.

use super::content::{Allocation, Content};
use super::extents;
use super::geometry::inode_number;
use super::placement::BLOCK_SIZE;
use super::superblock::EXTRA_INODE_SIZE;
use super::xattr::{self, BODY_SIZE};
use crate::fields::put;
use crate::layer::Timestamp;
use crate::tree::{Node, NodeKind};

/// Bytes of an inode.
pub(super) const INODE_SIZE: usize = 256;
/// Targets below this length live in the inode.
pub(super) const FAST_SYMLINK: usize = 60;
/// Most names an inode can have.
pub(super) const LINK_MAX: u32 = 65_000;

const FLAG_INDEX: u32 = 0x1000;
const FLAG_EXTENTS: u32 = 0x8_0000;
const FLAG_ATTRIBUTE_VALUE: u32 = 0x20_0000;
const TIME_MIN: i64 = i32::MIN as i64;
const TIME_MAX: i64 = TIME_MIN + (1 << 34) - 1;

/// The type bits of a mode.
pub(super) fn type_bits<F>(kind: &NodeKind<F>) -> u16 {
    match kind {
        NodeKind::Fifo => 0o010_000,
        NodeKind::CharDevice { .. } => 0o020_000,
        NodeKind::Directory(_) => 0o040_000,
        NodeKind::BlockDevice { .. } => 0o060_000,
        NodeKind::File(_) => 0o100_000,
        NodeKind::Symlink(_) => 0o120_000,
    }
}

/// The type byte of a directory entry.
pub(super) fn dirent_type<F>(kind: &NodeKind<F>) -> u8 {
    match kind {
        NodeKind::File(_) => 1,
        NodeKind::Directory(_) => 2,
        NodeKind::CharDevice { .. } => 3,
        NodeKind::BlockDevice { .. } => 4,
        NodeKind::Fifo => 5,
        NodeKind::Symlink(_) => 7,
    }
}

/// Why ext4 cannot hold an inode.
#[derive(Debug, thiserror::Error)]
pub(super) enum InodeProblem {
    #[error("device number {major}:{minor} is out of range")]
    Device { major: u32, minor: u32 },
    #[error("{0} hard links, more than the {LINK_MAX} of ext4")]
    Links(u32),
}

/// Whether ext4 can hold an inode.
pub(super) fn check(node: &Node<Content>) -> Result<(), InodeProblem> {
    if let NodeKind::CharDevice { major, minor } | NodeKind::BlockDevice { major, minor } =
        &node.kind
        && (*major > 0xfff || *minor > 0xf_ffff)
    {
        return Err(InodeProblem::Device { major: *major, minor: *minor });
    }
    if node.links > LINK_MAX {
        return Err(InodeProblem::Links(node.links));
    }
    Ok(())
}

/// The inode's bytes. Access and change time follow the modification time: nothing else would be
/// the same for the same layers.
pub(super) fn render(node: &Node<Content>, allocation: &Allocation) -> [u8; INODE_SIZE] {
    let mut bytes = [0; INODE_SIZE];
    let metadata = &node.metadata;
    let (size, links, mut flags) = match &node.kind {
        NodeKind::File(content) => (content.size(), node.links, FLAG_EXTENTS),
        NodeKind::Directory(directory) => {
            let links = 2 + directory.subdirectories;
            let size = u64::from(allocation.data_blocks()) * BLOCK_SIZE as u64;
            let index = if allocation.index.is_some() { FLAG_INDEX } else { 0 };
            (size, if links > LINK_MAX { 1 } else { links }, FLAG_EXTENTS | index)
        }
        NodeKind::Symlink(target) => {
            let flags = if target.len() < FAST_SYMLINK { 0 } else { FLAG_EXTENTS };
            (target.len() as u64, node.links, flags)
        }
        _ => (0, node.links, 0),
    };
    put(&mut bytes, 0x28, &place(node, allocation, flags));
    let mode = type_bits(&node.kind) | metadata.mode;
    put(&mut bytes, 0x00, &mode.to_le_bytes());
    split16(&mut bytes, 0x02, 0x78, metadata.uid);
    split16(&mut bytes, 0x18, 0x7a, metadata.gid);
    split32(&mut bytes, 0x04, 0x6c, size);
    put(&mut bytes, 0x1a, &u16::try_from(links).unwrap_or(1).to_le_bytes());
    // Counted in sectors of 512 bytes.
    let blocks = allocation.blocks() * 8;
    put(&mut bytes, 0x1c, &blocks.to_le_bytes()[..4]);
    put(&mut bytes, 0x74, &blocks.to_le_bytes()[4..6]);
    put(&mut bytes, 0x68, &allocation.xattr_block.to_le_bytes());
    put(&mut bytes, 0x80, &EXTRA_INODE_SIZE.to_le_bytes());
    let (seconds, extra) = time(metadata.mtime);
    for (at, extra_at) in [(0x08, 0x8c), (0x0c, 0x84), (0x10, 0x88), (0x90, 0x94)] {
        put(&mut bytes, at, &seconds);
        put(&mut bytes, extra_at, &extra);
    }
    if let Ok(attributes) = xattr::arrange(&metadata.xattrs) {
        let values: Vec<u32> = allocation.values.iter().map(|node| inode_number(*node)).collect();
        if let Some(body) = attributes.body(&values) {
            put(&mut bytes, INODE_SIZE - BODY_SIZE, &body);
        }
    }
    if let NodeKind::File(Content::Attribute { hash, .. }) = node.kind {
        // The access time carries the checksum, version and change time the number of owners.
        flags |= FLAG_ATTRIBUTE_VALUE;
        put(&mut bytes, 0x08, &hash.to_le_bytes());
        put(&mut bytes, 0x24, &1u32.to_le_bytes());
    }
    put(&mut bytes, 0x20, &flags.to_le_bytes());
    bytes
}

/// The 60 bytes that lead to the content.
fn place(node: &Node<Content>, allocation: &Allocation, flags: u32) -> [u8; 60] {
    let mut bytes = [0; 60];
    match &node.kind {
        NodeKind::Symlink(target) if flags & FLAG_EXTENTS == 0 => put(&mut bytes, 0, target),
        NodeKind::CharDevice { major, minor } | NodeKind::BlockDevice { major, minor } => {
            if *major < 256 && *minor < 256 {
                put(&mut bytes, 0, &(major << 8 | minor).to_le_bytes());
            } else {
                let number = minor & 0xff | major << 8 | (minor & !0xff) << 12;
                put(&mut bytes, 4, &number.to_le_bytes());
            }
        }
        NodeKind::Fifo => {}
        _ => (bytes, _) = extents::render(&allocation.extents, &allocation.tree_blocks),
    }
    bytes
}

/// Low and extra word of a time: the extra word has two more bits of seconds and the nanoseconds.
/// What ext4 cannot hold is moved to the nearest time it can, as kernels do.
fn time(time: Timestamp) -> ([u8; 4], [u8; 4]) {
    let secs = time.secs.clamp(TIME_MIN, TIME_MAX);
    let nanos = if secs == time.secs { time.nanos } else { 0 };
    let [a, b, c, d, ..] = secs.to_le_bytes();
    let low = i32::from_le_bytes([a, b, c, d]);
    let epoch = ((secs - i64::from(low)) >> 32) & 3;
    let extra = nanos << 2 | u32::try_from(epoch).unwrap_or(0);
    ([a, b, c, d], extra.to_le_bytes())
}

fn split16(bytes: &mut [u8], low_at: usize, high_at: usize, value: u32) {
    let value = value.to_le_bytes();
    put(bytes, low_at, &value[..2]);
    put(bytes, high_at, &value[2..]);
}

fn split32(bytes: &mut [u8], low_at: usize, high_at: usize, value: u64) {
    let value = value.to_le_bytes();
    put(bytes, low_at, &value[..4]);
    put(bytes, high_at, &value[4..]);
}
