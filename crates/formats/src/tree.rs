//! The merged tree: what a chain of layers means, free of any disk format.
//!
//! The rules are those by which containerd 2.x unpacks layers on a node, as `docs/unpacking.md` has
//! them, with what Docker and Podman take and containerd refuses:
//!
//! * Names are cleaned lexically and never leave the root: `../x`, `/x` and `./x` are all `x`.
//! * Parents are found through symbolic links inside the root, as after a `chroot`. Missing
//!   parents, also those of white-outs, are made with mode 0755, owner 0:0 (the group of a parent
//!   with the set-group-ID bit) and time 0 (unpackers leave the time of unpacking there, so that
//!   any fixed value is as good). A file of a lower layer gives way to a directory that is needed.
//! * A directory's times are those of its own entry; what happens to its children later does
//!   not change them.
//! * The root is never described by a layer: its entry says no more than its time.
//! * A directory over a directory of a lower layer keeps the children and takes the new metadata and
//!   attributes; over one that its own layer brought it adds its attributes. Anything else replaces
//!   what stood there, only under that one name.
//! * White-outs and opaque markers remove what the layers below brought, never what their own
//!   layer brings, wherever they stand in it.
//! * A hard link gives one more name to an inode, and its own header's metadata to that inode.
//! * What AUFS kept its books in (`.wh..wh.*` other than the opaque marker) is a white-out of nothing;
//!   what lies below such a name is ordinary, for hard links lead there (`.wh..wh.plnk`).

mod apply;
mod error;
mod node;
mod path;
mod remove;
mod resolve;

use std::collections::BTreeSet;

pub use error::{EntryName, TreeError, TreeProblem};
pub use node::{Directory, Dirent, Node, NodeId, NodeKind, ROOT, UNPLACED};

use crate::layer::{LayerEntries, Metadata};

/// The merged tree of the layers applied so far. `F` describes a regular file's content.
#[derive(Clone, Debug)]
pub struct Tree<F> {
    nodes: Vec<Option<Node<F>>>,
    free: BTreeSet<u32>,
    layer: u32,
    changes: Changes,
}

/// What one layer did to the inodes, ascending and without repetition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Inodes of lower layers that have no name left. Their numbers are not used again before
    /// the next layer.
    pub freed: Vec<NodeId>,
    /// Inodes made or altered: metadata or link count (for directories: of subdirectories).
    pub changed: Vec<NodeId>,
    /// Directories that gained or lost names; new directories are among them even if empty.
    pub directories: Vec<NodeId>,
}

impl<F> Default for Tree<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F> Tree<F> {
    /// A tree with nothing but a root directory (mode 0755, owner 0:0, time 0).
    pub fn new() -> Self {
        let root = Node::directory(ROOT, implicit_metadata(), 0);
        Self {
            nodes: vec![Some(root)],
            free: BTreeSet::new(),
            layer: 0,
            changes: Changes::default(),
        }
    }

    /// Puts a whole layer on top. After an error the tree must be dropped.
    pub fn apply_layer(&mut self, layer: LayerEntries<F>) -> Result<Changes, TreeError> {
        self.begin_layer();
        for entry in layer.entries {
            self.apply(entry)?;
        }
        Ok(self.end_layer())
    }

    /// Starts a layer: everything that is there now becomes lower content.
    pub fn begin_layer(&mut self) {
        self.layer += 1;
        self.changes = Changes::default();
    }

    /// Ends a layer and tells what it changed.
    pub fn end_layer(&mut self) -> Changes {
        let mut changes = std::mem::take(&mut self.changes);
        changes.freed.sort_unstable();
        for list in [&mut changes.changed, &mut changes.directories] {
            list.sort_unstable();
            list.dedup();
            list.retain(|node| self.get(*node).is_some());
        }
        changes.directories.retain(|node| self.get(*node).is_some_and(Node::is_directory));
        self.free.extend(changes.freed.iter().map(|node| node.0));
        changes
    }

    /// The inode of this number, if it exists.
    pub fn get(&self, node: NodeId) -> Option<&Node<F>> {
        self.nodes.get(node.index())?.as_ref()
    }

    /// The inode of this number for a change of its payload or of directory slots.
    pub fn get_mut(&mut self, node: NodeId) -> Option<&mut Node<F>> {
        self.nodes.get_mut(node.index())?.as_mut()
    }

    /// One more than the highest inode number ever used.
    pub fn node_limit(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)
    }

    /// The children of a directory in byte order of their names; nothing for other inodes.
    pub fn children(&self, node: NodeId) -> impl Iterator<Item = (&[u8], NodeId)> {
        let entries = self.get(node).and_then(Node::as_directory).map(|dir| dir.entries.iter());
        entries.into_iter().flatten().map(|(name, dirent)| (&**name, dirent.node))
    }

    /// The inode that a directory has under `name`.
    pub fn lookup(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        Some(self.get(directory)?.as_directory()?.entries.get(name)?.node)
    }

    /// Some path of an inode, found by searching: for messages only.
    pub fn find_path(&self, wanted: NodeId) -> Option<Vec<u8>> {
        let mut pending = vec![(ROOT, Vec::new())];
        while let Some((node, path)) = pending.pop() {
            if node == wanted {
                return Some(path);
            }
            for (name, child) in self.children(node) {
                let is_directory = self.get(child).is_some_and(|n| n.as_directory().is_some());
                if child == wanted || is_directory {
                    pending.push((child, [&path, b"/" as &[u8], name].concat()));
                }
            }
        }
        None
    }

    /// Makes a directory of fixed metadata in the root unless something has that name.
    pub fn ensure_root_directory(&mut self, name: &[u8], metadata: Metadata) -> Option<NodeId> {
        if let Some(found) = self.lookup(ROOT, name) {
            return Some(found);
        }
        let made = self.make_directory(ROOT, metadata);
        self.link(ROOT, name, made)?;
        Some(made)
    }
}

/// What a directory gets that no layer describes.
fn implicit_metadata() -> Metadata {
    Metadata { mode: 0o755, ..Metadata::default() }
}
