//! Extended attributes: the space behind an inode, then one block.
//!
//! Entries grow from the front, values from the back. In the block entries are sorted by name
//! index, name length and name, because kernels search them that way.

use super::acl;
use super::placement::{BLOCK_SIZE, Block};
use super::superblock::EXTRA_INODE_SIZE;
use crate::fields::put;

const MAGIC: u32 = 0xea02_0000;
/// Bytes of an inode behind its last field.
pub(super) const BODY_SIZE: usize = 256 - 128 - EXTRA_INODE_SIZE as usize;
const BODY_HEADER: usize = 4;
const BLOCK_HEADER: usize = 32;
const ENTRY_HEADER: usize = 16;
/// A word of zeros ends the entries.
const END: usize = 4;

/// Name prefixes that ext4 knows, by index; those of access control lists are whole names.
const PREFIXES: [(&[u8], u8); 3] = [(b"user.", 1), (b"trusted.", 4), (b"security.", 6)];
const ACLS: [(&[u8], u8); 2] = [(b"system.posix_acl_access", 2), (b"system.posix_acl_default", 3)];

/// An attribute as ext4 keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attribute<'a> {
    index: u8,
    name: &'a [u8],
    value: std::borrow::Cow<'a, [u8]>,
}

/// Attributes of one inode in their places.
#[derive(Clone, Debug)]
pub(super) struct Attributes {
    /// What stands behind the inode's fields.
    pub(super) body: Option<[u8; BODY_SIZE]>,
    /// What stands in the attribute block.
    pub(super) block: Option<Block>,
}

impl Attribute<'_> {
    fn entry_size(&self) -> usize {
        (ENTRY_HEADER + self.name.len()).next_multiple_of(4)
    }

    fn value_size(&self) -> usize {
        self.value.len().next_multiple_of(4)
    }

    fn size(&self) -> usize {
        self.entry_size() + self.value_size()
    }

    /// The hash that `e2fsck` and kernels recompute; name bytes count as unsigned.
    fn hash(&self) -> u32 {
        let name = self.name.iter().fold(0u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
        self.value.chunks(4).fold(name, |hash, chunk| {
            let mut word = [0; 4];
            put(&mut word, 0, chunk);
            hash.rotate_left(16) ^ u32::from_le_bytes(word)
        })
    }
}

/// Places attributes; the error tells which one ext4 cannot hold and why.
pub(super) fn arrange(xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<Attributes, String> {
    if xattrs.is_empty() {
        return Ok(Attributes { body: None, block: None });
    }
    let mut attributes =
        xattrs.iter().map(|(name, value)| parse(name, value)).collect::<Result<Vec<_>, _>>()?;
    attributes
        .sort_by(|a, b| (a.index, a.name.len(), a.name).cmp(&(b.index, b.name.len(), b.name)));
    // Small ones behind the inode, the rest in the block.
    let mut by_size: Vec<usize> = (0..attributes.len()).collect();
    by_size.sort_by_key(|index| attributes.get(*index).map_or(0, Attribute::size));
    let mut room = BODY_SIZE - BODY_HEADER - END;
    let mut in_body = vec![false; attributes.len()];
    for index in by_size {
        let size = attributes.get(index).map_or(0, Attribute::size);
        if size > room {
            break;
        }
        room -= size;
        in_body[index] = true;
    }
    let pick = |wanted: bool| -> Vec<&Attribute<'_>> {
        let chosen = attributes.iter().zip(&in_body).filter(|(_, inside)| **inside == wanted);
        chosen.map(|(attribute, _)| attribute).collect()
    };
    let (body, block) = (pick(true), pick(false));
    let needed: usize = block.iter().map(|attribute| attribute.size()).sum();
    if needed > BLOCK_SIZE - BLOCK_HEADER - END {
        let largest = block.iter().max_by_key(|attribute| attribute.size());
        let largest = largest.map_or(0, |attribute| attribute.value.len());
        return Err(format!(
            "its extended attributes need {needed} bytes, more than the {} that ext4 keeps in \
             one block (the largest value has {largest})",
            BLOCK_SIZE - BLOCK_HEADER - END
        ));
    }
    Ok(Attributes {
        body: (!body.is_empty()).then(|| render_body(&body)),
        block: (!block.is_empty()).then(|| render_block(&block)),
    })
}

fn parse<'a>(name: &'a [u8], value: &'a [u8]) -> Result<Attribute<'a>, String> {
    let shown = || String::from_utf8_lossy(name).into_owned();
    if let Some((_, index)) = ACLS.iter().find(|(known, _)| *known == name) {
        let value = acl::to_disk(value)
            .ok_or_else(|| format!("attribute {:?} is not an access control list", shown()))?;
        return Ok(Attribute { index: *index, name: b"", value: value.into() });
    }
    let known = PREFIXES.iter().find_map(|(prefix, index)| {
        let rest = name.strip_prefix(*prefix)?;
        (!rest.is_empty() && rest.len() <= 255).then_some((rest, *index))
    });
    let (name, index) =
        known.ok_or_else(|| format!("ext4 cannot hold an attribute named {:?}", shown()))?;
    Ok(Attribute { index, name, value: value.into() })
}

fn render_body(attributes: &[&Attribute<'_>]) -> [u8; BODY_SIZE] {
    let mut body = [0; BODY_SIZE];
    put(&mut body, 0, &MAGIC.to_le_bytes());
    // Offsets of values count from the first entry here.
    render_entries(&mut body, BODY_HEADER, BODY_HEADER, attributes);
    body
}

fn render_block(attributes: &[&Attribute<'_>]) -> Block {
    let mut block = Box::new([0; BLOCK_SIZE]);
    put(&mut *block, 0, &MAGIC.to_le_bytes());
    // One inode refers to the block, which is one block long.
    put(&mut *block, 4, &1u32.to_le_bytes());
    put(&mut *block, 8, &1u32.to_le_bytes());
    let hash = attributes.iter().fold(0u32, |hash, a| hash.rotate_left(16) ^ a.hash());
    put(&mut *block, 12, &hash.to_le_bytes());
    // Offsets of values count from the block's start here.
    render_entries(&mut *block, BLOCK_HEADER, 0, attributes);
    block
}

fn render_entries(area: &mut [u8], first: usize, base: usize, attributes: &[&Attribute<'_>]) {
    let mut front = first;
    let mut back = area.len();
    for attribute in attributes {
        back -= attribute.value_size();
        let offset = if attribute.value.is_empty() { 0 } else { back - base };
        put(area, front, &[u8::try_from(attribute.name.len()).unwrap_or(u8::MAX)]);
        put(area, front + 1, &[attribute.index]);
        put(area, front + 2, &u16::try_from(offset).unwrap_or(u16::MAX).to_le_bytes());
        let size = u32::try_from(attribute.value.len()).unwrap_or(u32::MAX);
        put(area, front + 8, &size.to_le_bytes());
        put(area, front + 12, &attribute.hash().to_le_bytes());
        put(area, front + ENTRY_HEADER, attribute.name);
        put(area, back, &attribute.value);
        front += attribute.entry_size();
    }
}
