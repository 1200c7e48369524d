//! Reads any ext4 file system back: walk, metadata, content, attributes.
//!
//! Takes what `mke2fs`, kernels and other image builders write: extents or block maps, hashed
//! directories (read linearly), 64-bit and small descriptors, attributes in the inode, in a block
//! of their own or in inodes of their own. Journals are not replayed. Input may be hostile: every
//! number is checked before it is used.

mod acl;
mod content;
mod directory;
mod error;
mod inode;
mod mapping;
mod superblock;
mod xattr;

use std::io;

pub use content::Content;
pub use directory::DirectoryEntry;
pub use error::ReadError;
pub use inode::{FileType, Inode};
pub use mapping::Extent;
pub use superblock::Superblock;
pub use xattr::Attributes;

use crate::fields::Fields;
use crate::read_at::ReadAt;

/// Number of the root directory's inode.
pub const ROOT_INODE: u32 = 2;

/// Links that a path lookup follows at most.
const MAX_LINKS: u32 = 40;

/// An ext4 file system on a device.
pub struct Ext4Reader<R> {
    device: R,
    superblock: Superblock,
}

impl<R: ReadAt> Ext4Reader<R> {
    /// Reads the superblock.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`], [`ReadError::Unsupported`] for features that change the layout.
    pub fn open(device: R) -> Result<Self, ReadError> {
        let mut record = [0; 1024];
        device.read_at(&mut record, 1024).map_err(|source| ReadError::io("superblock", source))?;
        let superblock = Superblock::parse(Fields(&record), device.len())?;
        Ok(Self { device, superblock })
    }

    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    pub fn device(&self) -> &R {
        &self.device
    }

    /// Reads an inode.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] for a number out of range or an inode that is not in use.
    pub fn inode(&self, number: u32) -> Result<Inode, ReadError> {
        let block_size = u64::from(self.superblock.block_size);
        let (group, index) = self.superblock.place_of(number)?;
        let descriptor_at = self.superblock.descriptor_at(group);
        let mut descriptor = [0; 64];
        let descriptor_len = self.superblock.descriptor_size.min(64) as usize;
        let read = descriptor.get_mut(..descriptor_len).unwrap_or_default();
        self.read_device(read, descriptor_at, "group descriptor")?;
        let fields = Fields(&descriptor);
        let high = if self.superblock.descriptor_size >= 64 { fields.u32(40) } else { 0 };
        let table = u64::from(fields.u32(8)) | u64::from(high) << 32;
        let size = u64::from(self.superblock.inode_size);
        let at = table.checked_mul(block_size).and_then(|at| at.checked_add(index * size));
        let at = at.ok_or_else(|| ReadError::corrupt(format!("inode table of group {group}")))?;
        let mut record = vec![0; usize::from(self.superblock.inode_size)];
        self.read_device(&mut record, at, "inode")?;
        Inode::parse(number, record, &self.superblock)
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] when `inode` is not a link or its target is too long.
    pub fn read_link(&self, inode: &Inode) -> Result<Vec<u8>, ReadError> {
        let too_long = inode.size > u64::from(self.superblock.block_size);
        if inode.file_type != FileType::Symlink || too_long {
            return Err(ReadError::corrupt(format!("symbolic link in inode {}", inode.number)));
        }
        let len = usize::try_from(inode.size).unwrap_or_default();
        if let Some(target) = inode.inline_target() {
            return Ok(target.to_vec());
        }
        let mut target = vec![0; len];
        self.read_file(inode, &mut target, 0)?;
        Ok(target)
    }

    /// Fills `buffer` with the content of a file from `offset`.
    ///
    /// # Errors
    /// [`ReadError::Io`] with `UnexpectedEof` beyond its end, [`ReadError::Corrupt`].
    pub fn read_file(
        &self,
        inode: &Inode,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<(), ReadError> {
        Content::of(self, inode)?.read_at(buffer, offset)
    }

    /// The content of a regular file, as a stream or by pieces.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] when its block map is broken.
    pub fn content(&self, inode: &Inode) -> Result<Content<'_, R>, ReadError> {
        Content::of(self, inode)
    }

    /// The entries of a directory but `.` and `..`, in the order in which they are stored.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] when `inode` is no directory or an entry is broken.
    pub fn read_directory(&self, inode: &Inode) -> Result<Vec<DirectoryEntry>, ReadError> {
        directory::read(self, inode)
    }

    /// The extended attributes of an inode, names as the system calls have them, sorted. Access
    /// control lists are given in the form of the system calls.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`].
    pub fn xattrs(&self, inode: &Inode) -> Result<Attributes, ReadError> {
        xattr::read(self, inode)
    }

    /// The inode at a path from the root. Links are followed inside of the file system, the last
    /// one only if `follow`.
    ///
    /// # Errors
    /// [`ReadError::NotFound`].
    pub fn lookup(&self, path: &[u8], follow: bool) -> Result<Inode, ReadError> {
        let not_found = || ReadError::NotFound(String::from_utf8_lossy(path).into_owned());
        let mut stack = vec![self.inode(ROOT_INODE)?];
        let mut pending: Vec<Vec<u8>> = components(path);
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == b".." {
                if stack.len() > 1 {
                    stack.pop();
                }
                continue;
            }
            let directory = stack.last().ok_or_else(not_found)?;
            if directory.file_type != FileType::Directory {
                return Err(not_found());
            }
            let entries = self.read_directory(directory)?;
            let entry = entries.iter().find(|entry| entry.name == name).ok_or_else(not_found)?;
            let inode = self.inode(entry.inode)?;
            if inode.file_type != FileType::Symlink || (pending.is_empty() && !follow) {
                stack.push(inode);
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(not_found());
            }
            let target = self.read_link(&inode)?;
            if target.first() == Some(&b'/') {
                stack.truncate(1);
            }
            pending.extend(components(&target));
        }
        stack.pop().ok_or_else(not_found)
    }

    fn read_device(&self, buffer: &mut [u8], at: u64, what: &'static str) -> Result<(), ReadError> {
        self.device.read_at(buffer, at).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => {
                ReadError::corrupt(format!("{what} lies beyond the end of the device"))
            }
            _ => ReadError::io(what, source),
        })
    }

    fn read_block(&self, block: u64, what: &'static str) -> Result<Vec<u8>, ReadError> {
        let size = u64::from(self.superblock.block_size);
        let at = block
            .checked_mul(size)
            .ok_or_else(|| ReadError::corrupt(format!("{what}: block number {block}")))?;
        let mut bytes = vec![0; self.superblock.block_size as usize];
        self.read_device(&mut bytes, at, what)?;
        Ok(bytes)
    }
}

/// The names of a path, the last one first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/');
    names.rev().filter(|name| !matches!(name, [] | [b'.'])).map(<[u8]>::to_vec).collect()
}
