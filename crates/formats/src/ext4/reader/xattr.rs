//! Extended attributes: in the inode, in a block of their own, values in inodes of their own.

use super::Ext4Reader;
use super::acl;
use super::error::ReadError;
use super::inode::Inode;
use crate::fields::Fields;
use crate::read_at::ReadAt;

const BLOCK_MAGIC: u32 = 0xea02_0000;
const BLOCK_HEADER: usize = 32;
const ENTRY_SIZE: usize = 16;

/// The largest value of an attribute that Linux allows.
const MAX_VALUE: u64 = 65_536;

/// Names and values.
pub type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

pub(super) fn read<R: ReadAt>(
    reader: &Ext4Reader<R>,
    inode: &Inode,
) -> Result<Attributes, ReadError> {
    let mut out = Vec::new();
    let inline = inode.inline_attributes();
    read_entries(reader, inode, inline, inline, &mut out)?;
    if inode.attribute_block != 0 {
        let block = reader.read_block(inode.attribute_block, "attribute block")?;
        if Fields(&block).u32(0) != BLOCK_MAGIC {
            return Err(corrupt(inode, "the attribute block is not one"));
        }
        let entries = block.get(BLOCK_HEADER..).unwrap_or_default();
        read_entries(reader, inode, entries, &block, &mut out)?;
    }
    out.sort();
    Ok(out)
}

fn corrupt(inode: &Inode, what: &str) -> ReadError {
    ReadError::corrupt(format!("{what} (inode {})", inode.number))
}

/// Reads entries up to the end mark; values count from the beginning of `values`.
fn read_entries<R: ReadAt>(
    reader: &Ext4Reader<R>,
    inode: &Inode,
    entries: &[u8],
    values: &[u8],
    out: &mut Attributes,
) -> Result<(), ReadError> {
    let mut rest = entries;
    while rest.len() >= ENTRY_SIZE {
        let fields = Fields(rest);
        if fields.u32(0) == 0 {
            break;
        }
        let name_len = usize::from(fields.u8(0));
        let broken = || corrupt(inode, "an attribute is broken");
        let stored = rest.get(ENTRY_SIZE..ENTRY_SIZE + name_len).ok_or_else(broken)?;
        let Some(name) = full_name(fields.u8(1), stored) else {
            return Err(corrupt(inode, "an attribute has an unknown name space"));
        };
        let size = u64::from(fields.u32(8));
        let value_inode = fields.u32(4);
        let value = if value_inode != 0 {
            read_value_inode(reader, inode, value_inode, size)?
        } else {
            let from = usize::from(fields.u16(2));
            let len = usize::try_from(size).unwrap_or(usize::MAX);
            let end = from.checked_add(len).ok_or_else(broken)?;
            values.get(from..end).ok_or_else(broken)?.to_vec()
        };
        let value = match fields.u8(1) {
            2 | 3 => acl::to_system_call(&value).ok_or_else(broken)?,
            _ => value,
        };
        out.push((name, value));
        let step = (ENTRY_SIZE + name_len).next_multiple_of(4);
        rest = rest.get(step..).unwrap_or_default();
    }
    Ok(())
}

fn full_name(space: u8, name: &[u8]) -> Option<Vec<u8>> {
    let prefix: &[u8] = match space {
        1 => b"user.",
        2 => b"system.posix_acl_access",
        3 => b"system.posix_acl_default",
        4 => b"trusted.",
        6 => b"security.",
        7 => b"system.",
        8 => b"system.richacl",
        _ => return None,
    };
    Some([prefix, name].concat())
}

fn read_value_inode<R: ReadAt>(
    reader: &Ext4Reader<R>,
    owner: &Inode,
    number: u32,
    size: u64,
) -> Result<Vec<u8>, ReadError> {
    let inode = reader.inode(number)?;
    if size > MAX_VALUE || inode.size != size {
        return Err(corrupt(owner, "an attribute's value has the wrong size"));
    }
    let mut value = vec![0; usize::try_from(size).unwrap_or_default()];
    reader.read_file(&inode, &mut value, 0)?;
    Ok(value)
}
