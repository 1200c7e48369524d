//! Extended attributes: the space behind an inode, then one block.
//!
//! Entries grow from the front, values from the back. In the block entries are sorted by name
//! index, name length and name, because kernels search them that way. Where the block is too
//! small, the largest values get inodes of their own (`ea_inode`, kernels from 4.13 on).

use std::borrow::Cow;

use super::acl;
use super::checksum::crc32c_register;
use super::placement::{BLOCK_SIZE, Block};
use super::superblock::{EXTRA_INODE_SIZE, UUID};
use crate::fields::put;

const MAGIC: u32 = 0xea02_0000;
/// Bytes of an inode behind its last field.
pub(super) const BODY_SIZE: usize = 256 - 128 - EXTRA_INODE_SIZE as usize;
const BODY_HEADER: usize = 4;
const BLOCK_HEADER: usize = 32;
const ENTRY_HEADER: usize = 16;
/// A word of zeros ends the entries.
const END: usize = 4;
/// Bytes for entries and values in the block.
const BLOCK_ROOM: usize = BLOCK_SIZE - BLOCK_HEADER - END;

/// Name prefixes that ext4 knows, by index; those of access control lists are whole names.
const PREFIXES: [(&[u8], u8); 3] = [(b"user.", 1), (b"trusted.", 4), (b"security.", 6)];
const ACLS: [(&[u8], u8); 2] = [(b"system.posix_acl_access", 2), (b"system.posix_acl_default", 3)];

/// An attribute as ext4 keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attribute<'a> {
    index: u8,
    name: &'a [u8],
    value: Cow<'a, [u8]>,
    /// Which of the values with an inode of their own this is.
    outside: Option<usize>,
}

/// Attributes of one inode, each with a place.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrangement<'a> {
    body: Vec<Attribute<'a>>,
    block: Vec<Attribute<'a>>,
    outside: usize,
}

impl Attribute<'_> {
    fn entry_size(&self) -> usize {
        (ENTRY_HEADER + self.name.len()).next_multiple_of(4)
    }

    fn value_size(&self) -> usize {
        if self.outside.is_some() { 0 } else { self.value.len().next_multiple_of(4) }
    }

    fn size(&self) -> usize {
        self.entry_size() + self.value_size()
    }

    /// The hash that `e2fsck` and kernels recompute; name bytes count as unsigned.
    fn hash(&self) -> u32 {
        let name = self.name.iter().fold(0u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
        if self.outside.is_some() {
            return name.rotate_left(16) ^ value_hash(&self.value);
        }
        self.value.chunks(4).fold(name, |hash, chunk| {
            let mut word = [0; 4];
            put(&mut word, 0, chunk);
            hash.rotate_left(16) ^ u32::from_le_bytes(word)
        })
    }
}

/// The checksum of a value that has an inode of its own.
pub(super) fn value_hash(value: &[u8]) -> u32 {
    crc32c_register(crc32c_register(u32::MAX, &UUID), value)
}

/// Why ext4 cannot hold attributes.
#[derive(Debug, thiserror::Error)]
pub(super) enum XattrError {
    #[error("attribute {0:?} is not an access control list")]
    AccessList(String),
    #[error("ext4 cannot hold an attribute named {0:?}")]
    Name(String),
    #[error(
        "the names of its {count} extended attributes need {needed} bytes, more than the \
         {BLOCK_ROOM} of a block"
    )]
    Names { count: usize, needed: usize },
}

/// Places attributes.
pub(super) fn arrange(xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<Arrangement<'_>, XattrError> {
    if xattrs.is_empty() {
        return Ok(Arrangement::default());
    }
    let mut attributes =
        xattrs.iter().map(|(name, value)| parse(name, value)).collect::<Result<Vec<_>, _>>()?;
    attributes
        .sort_by(|a, b| (a.index, a.name.len(), a.name).cmp(&(b.index, b.name.len(), b.name)));
    loop {
        let in_body = choose_for_body(&attributes);
        let in_block = attributes.iter().zip(&in_body).filter(|(_, in_body)| !**in_body);
        let needed: usize = in_block.map(|(attribute, _)| attribute.size()).sum();
        if needed <= BLOCK_ROOM {
            return Ok(Arrangement::new(attributes, &in_body));
        }
        let largest = attributes.iter_mut().max_by_key(|attribute| attribute.value_size());
        match largest.filter(|attribute| attribute.value_size() > 0) {
            Some(attribute) => attribute.outside = Some(0),
            None => {
                return Err(XattrError::Names { count: xattrs.len(), needed });
            }
        }
    }
}

/// Which attributes stand behind the inode: the small ones, as many as there is room for.
fn choose_for_body(attributes: &[Attribute<'_>]) -> Vec<bool> {
    let mut by_size: Vec<usize> = (0..attributes.len()).collect();
    by_size.sort_by_key(|index| attributes[*index].size());
    let mut room = BODY_SIZE - BODY_HEADER - END;
    let mut chosen = vec![false; attributes.len()];
    for index in by_size {
        let size = attributes[index].size();
        if size > room {
            break;
        }
        room -= size;
        chosen[index] = true;
    }
    chosen
}

impl<'a> Arrangement<'a> {
    fn new(mut attributes: Vec<Attribute<'a>>, in_body: &[bool]) -> Self {
        let outside = attributes.iter_mut().filter_map(|attribute| attribute.outside.as_mut());
        let mut count = 0;
        for place in outside {
            *place = count;
            count += 1;
        }
        let mut arrangement = Self { outside: count, ..Self::default() };
        for (attribute, in_body) in attributes.into_iter().zip(in_body) {
            let list = if *in_body { &mut arrangement.body } else { &mut arrangement.block };
            list.push(attribute);
        }
        arrangement
    }

    /// The values that need inodes of their own, in the order of their names.
    pub(super) fn outside(&self) -> Vec<Vec<u8>> {
        let mut values = vec![Vec::new(); self.outside];
        for attribute in self.body.iter().chain(&self.block) {
            if let Some(value) = attribute.outside.and_then(|place| values.get_mut(place)) {
                *value = attribute.value.to_vec();
            }
        }
        values
    }

    /// What stands behind the inode's fields; `values` are the inodes of the values outside.
    pub(super) fn body(&self, values: &[u32]) -> Option<[u8; BODY_SIZE]> {
        if self.body.is_empty() {
            return None;
        }
        let mut body = [0; BODY_SIZE];
        put(&mut body, 0, &MAGIC.to_le_bytes());
        // Offsets of values count from the first entry here.
        render_entries(&mut body, BODY_HEADER, BODY_HEADER, &self.body, values);
        Some(body)
    }

    /// What stands in the attribute block.
    pub(super) fn block(&self, values: &[u32]) -> Option<Block> {
        if self.block.is_empty() {
            return None;
        }
        let mut block = Box::new([0; BLOCK_SIZE]);
        put(&mut *block, 0, &MAGIC.to_le_bytes());
        // One inode refers to the block, which is one block long.
        put(&mut *block, 4, &1u32.to_le_bytes());
        put(&mut *block, 8, &1u32.to_le_bytes());
        let hash = self.block.iter().fold(0u32, |hash, a| hash.rotate_left(16) ^ a.hash());
        put(&mut *block, 12, &hash.to_le_bytes());
        // Offsets of values count from the block's start here.
        render_entries(&mut *block, BLOCK_HEADER, 0, &self.block, values);
        Some(block)
    }
}

fn parse<'a>(name: &'a [u8], value: &'a [u8]) -> Result<Attribute<'a>, XattrError> {
    let shown = || String::from_utf8_lossy(name).into_owned();
    if let Some((_, index)) = ACLS.iter().find(|(known, _)| *known == name) {
        let value = acl::to_disk(value).ok_or_else(|| XattrError::AccessList(shown()))?;
        return Ok(Attribute { index: *index, name: b"", value: value.into(), outside: None });
    }
    let known = PREFIXES.iter().find_map(|(prefix, index)| {
        let rest = name.strip_prefix(*prefix)?;
        (!rest.is_empty() && rest.len() <= 255).then_some((rest, *index))
    });
    let (name, index) = known.ok_or_else(|| XattrError::Name(shown()))?;
    Ok(Attribute { index, name, value: value.into(), outside: None })
}

fn render_entries(
    area: &mut [u8],
    first: usize,
    base: usize,
    attributes: &[Attribute<'_>],
    values: &[u32],
) {
    let mut front = first;
    let mut back = area.len();
    for attribute in attributes {
        back -= attribute.value_size();
        let inside = attribute.value_size() > 0;
        let offset = if inside { back - base } else { 0 };
        put(area, front, &[u8::try_from(attribute.name.len()).unwrap_or(u8::MAX)]);
        put(area, front + 1, &[attribute.index]);
        put(area, front + 2, &u16::try_from(offset).unwrap_or(u16::MAX).to_le_bytes());
        if let Some(inode) = attribute.outside.and_then(|place| values.get(place)) {
            put(area, front + 4, &inode.to_le_bytes());
        }
        let size = u32::try_from(attribute.value.len()).unwrap_or(u32::MAX);
        put(area, front + 8, &size.to_le_bytes());
        put(area, front + 12, &attribute.hash().to_le_bytes());
        put(area, front + ENTRY_HEADER, attribute.name);
        if inside {
            put(area, back, &attribute.value);
        }
        front += attribute.entry_size();
    }
}
