//! Directories, hashed or not: the index of a hashed one looks like deleted entries.

use super::error::ReadError;
use super::inode::{FileType, Inode};
use super::{Content, Ext4Reader};
use crate::fields::Fields;
use crate::read_at::ReadAt;

/// More entries than this are not read of one directory.
const MAX_ENTRIES: usize = 16_000_000;

/// More bytes than this are not read of one directory.
const MAX_BYTES: u64 = 8 << 30;

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    pub name: Vec<u8>,
    pub inode: u32,
    /// The type that the entry claims, when the file system stores types in entries.
    pub file_type: Option<FileType>,
}

pub(super) fn read<R: ReadAt>(
    reader: &Ext4Reader<R>,
    inode: &Inode,
) -> Result<Vec<DirectoryEntry>, ReadError> {
    let corrupt = |what: &str| ReadError::corrupt(format!("{what} (inode {})", inode.number));
    if inode.file_type != FileType::Directory {
        return Err(corrupt("it is not a directory"));
    }
    let content = Content::of(reader, inode)?;
    let mut block = vec![0; reader.superblock().block_size as usize];
    let mut entries = Vec::new();
    let mut bytes = 0_u64;
    for (from, to) in content.data_ranges() {
        let mut at = from;
        while at < to {
            if to - at < block.len() as u64 {
                return Err(corrupt("a directory does not end with a block"));
            }
            bytes += block.len() as u64;
            if bytes > MAX_BYTES {
                return Err(corrupt("a directory is too large"));
            }
            content.read_at(&mut block, at)?;
            parse_block(reader, &block, &mut entries).ok_or_else(|| corrupt("directory entry"))?;
            if entries.len() > MAX_ENTRIES {
                return Err(corrupt("a directory has too many entries"));
            }
            at += block.len() as u64;
        }
    }
    Ok(entries)
}

/// Appends the entries of a block; `None` when one is broken.
fn parse_block<R: ReadAt>(
    reader: &Ext4Reader<R>,
    block: &[u8],
    entries: &mut Vec<DirectoryEntry>,
) -> Option<()> {
    let has_types = reader.superblock().has_file_types();
    let mut rest = block;
    while !rest.is_empty() {
        let fields = Fields(rest);
        let stored = usize::from(fields.u16(4));
        // A block of 64 KiB cannot write its whole length.
        let whole = block.len() == 65_536 && matches!(stored, 0 | 65_535);
        let len = if whole { rest.len() } else { stored };
        if len < 8 || !len.is_multiple_of(4) {
            return None;
        }
        let (entry, later) = rest.split_at_checked(len)?;
        rest = later;
        let inode = fields.u32(0);
        let name_len = if has_types { usize::from(fields.u8(6)) } else { fields.u16(6).into() };
        if inode == 0 {
            continue;
        }
        let name = entry.get(8..)?.get(..name_len)?;
        if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
            return None;
        }
        if !matches!(name, b"." | b"..") {
            let file_type = if has_types { file_type(fields.u8(7)) } else { None };
            entries.push(DirectoryEntry { name: name.to_vec(), inode, file_type });
        }
    }
    Some(())
}

fn file_type(number: u8) -> Option<FileType> {
    Some(match number {
        1 => FileType::File,
        2 => FileType::Directory,
        3 => FileType::CharDevice,
        4 => FileType::BlockDevice,
        5 => FileType::Fifo,
        6 => FileType::Socket,
        7 => FileType::Symlink,
        _ => return None,
    })
}
