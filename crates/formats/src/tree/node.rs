//! Inodes of the merged tree and the names that lead to them.

use std::collections::BTreeMap;

use crate::layer::Metadata;

/// Number of an inode in a [`Tree`](super::Tree). Numbers are handed out lowest first, so that
/// they depend on the layers alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// The root directory.
pub const ROOT: NodeId = NodeId(0);

/// Slot of a name that has no place in its directory's blocks yet.
pub const UNPLACED: u32 = u32::MAX;

impl NodeId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// One inode.
#[derive(Clone, Debug)]
pub struct Node<F> {
    /// Its type and what only that type has.
    pub kind: NodeKind<F>,
    /// Mode, owner, times and attributes.
    pub metadata: Metadata,
    /// Number of names; always 1 for a directory.
    pub links: u32,
    pub(super) created_in: u32,
    pub(super) changed_in: u32,
}

/// The types of inode.
#[derive(Clone, Debug)]
pub enum NodeKind<F> {
    /// A regular file.
    File(F),
    /// A directory.
    Directory(Box<Directory>),
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice { major: u32, minor: u32 },
    /// A block device.
    BlockDevice { major: u32, minor: u32 },
    /// A named pipe.
    Fifo,
}

/// The names in a directory and what the current layer did to them.
#[derive(Clone, Debug)]
pub struct Directory {
    /// The directory above; the root's is itself.
    pub parent: NodeId,
    /// Number of entries that are directories.
    pub subdirectories: u32,
    /// Names in byte order.
    pub entries: BTreeMap<Box<[u8]>, Dirent>,
    /// Slots that lost a name since the disk writer last looked.
    pub vacated: Vec<u32>,
    /// Last layer that added or removed a name.
    pub(super) entries_changed_in: u32,
    /// Last layer that brought this directory or something below it.
    pub(super) upper_in: u32,
    /// Last layer after whose markers no lower content is left in it.
    pub(super) cleared_in: u32,
}

/// One name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirent {
    /// The inode.
    pub node: NodeId,
    /// The block of the directory that holds it, or [`UNPLACED`]; kept for the disk writer.
    pub slot: u32,
    pub(super) layer: u32,
}

impl<F> Node<F> {
    pub(super) fn directory(parent: NodeId, metadata: Metadata, layer: u32) -> Self {
        let directory = Directory {
            parent,
            subdirectories: 0,
            entries: BTreeMap::new(),
            vacated: Vec::new(),
            entries_changed_in: 0,
            upper_in: layer,
            cleared_in: layer,
        };
        Self::new(NodeKind::Directory(Box::new(directory)), metadata, layer)
    }

    pub(super) fn new(kind: NodeKind<F>, metadata: Metadata, layer: u32) -> Self {
        Self { kind, metadata, links: 1, created_in: layer, changed_in: layer }
    }

    /// Whether the inode is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, NodeKind::Directory(_))
    }

    /// The directory, if the inode is one.
    pub fn as_directory(&self) -> Option<&Directory> {
        match &self.kind {
            NodeKind::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// The directory, if the inode is one.
    pub fn as_directory_mut(&mut self) -> Option<&mut Directory> {
        match &mut self.kind {
            NodeKind::Directory(directory) => Some(directory),
            _ => None,
        }
    }
}
