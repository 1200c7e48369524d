//! One entry of a layer.

use super::Tree;
use super::error::{EntryName, TreeError, TreeProblem};
use super::node::{Dirent, Node, NodeId, NodeKind, ROOT, UNPLACED};
use super::path::{MAX_NAME, clean};
use crate::layer::{EntryKind, LayerEntry, Metadata};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const MAX_SYMLINK_TARGET: usize = 4095;
const SYMLINK_MODE: u16 = 0o777;

impl<F> Tree<F> {
    /// Applies one entry of the layer begun last. After an error the tree must be dropped.
    pub fn apply(&mut self, entry: LayerEntry<F>) -> Result<(), TreeError> {
        let LayerEntry { index, path, kind, metadata } = entry;
        self.apply_at(&path, kind, metadata)
            .map_err(|problem| TreeError { entry: EntryName { index, path }, problem })
    }

    fn apply_at(
        &mut self,
        path: &[u8],
        kind: EntryKind<F>,
        metadata: Metadata,
    ) -> Result<(), TreeProblem> {
        let components = clean(path)?;
        let Some((name, parents)) = components.split_last() else {
            self.apply_root(&kind, &metadata);
            return Ok(());
        };
        let removed = match name.strip_prefix(WHITEOUT) {
            // Also the names that AUFS kept its books under: `.wh..wh.plnk` is no file, but what
            // stands below it is.
            _ if *name == OPAQUE => None,
            Some(b"" | b"." | b"..") => return Err(TreeProblem::EmptyWhiteout),
            other => other,
        };
        if components.iter().any(|component| component.len() > MAX_NAME) && removed.is_none() {
            return Err(TreeProblem::NameTooLong);
        }
        let parent = self.make_parents(parents)?;
        if *name == OPAQUE {
            self.mark_upper(parent);
            self.clear_lower(parent);
            return Ok(());
        }
        if let Some(removed) = removed {
            self.mark_upper(parent);
            self.white_out(parent, removed);
            return Ok(());
        }
        match kind {
            EntryKind::HardLink(target) => {
                self.apply_hard_link(parent, name, &target, &metadata)?;
            }
            EntryKind::Directory => self.apply_directory(parent, name, metadata)?,
            EntryKind::File(file) => {
                self.replace(parent, name, NodeKind::File(file), metadata)?;
            }
            EntryKind::Symlink(target) => {
                if target.is_empty() || target.len() > MAX_SYMLINK_TARGET || target.contains(&0) {
                    return Err(TreeProblem::BadSymlinkTarget);
                }
                let metadata = Metadata { mode: SYMLINK_MODE, ..metadata };
                self.replace(parent, name, NodeKind::Symlink(target.into()), metadata)?;
            }
            EntryKind::CharDevice { major, minor } => {
                self.replace(parent, name, NodeKind::CharDevice { major, minor }, metadata)?;
            }
            EntryKind::BlockDevice { major, minor } => {
                self.replace(parent, name, NodeKind::BlockDevice { major, minor }, metadata)?;
            }
            EntryKind::Fifo => self.replace(parent, name, NodeKind::Fifo, metadata)?,
        }
        Ok(())
    }

    /// The root is what the unpacker made before the first layer; its entry only says how old it is.
    fn apply_root(&mut self, kind: &EntryKind<F>, metadata: &Metadata) {
        if matches!(kind, EntryKind::Directory)
            && let Some(root) = self.get_mut(ROOT)
        {
            root.metadata.mtime = metadata.mtime;
            self.mark_changed(ROOT);
        }
    }

    fn apply_directory(
        &mut self,
        parent: NodeId,
        name: &[u8],
        metadata: Metadata,
    ) -> Result<(), TreeProblem> {
        if let Some(found) = self.lookup(parent, name) {
            if let Some(directory) = self.get(found).and_then(Node::as_directory) {
                if directory.upper_in == self.layer {
                    self.update_metadata(found, &metadata);
                } else {
                    self.set_metadata(found, metadata);
                }
                self.mark_upper(found);
                return Ok(());
            }
            self.unlink(parent, name);
        }
        let made = self.make_directory(parent, metadata);
        self.link(parent, name, made).ok_or(TreeProblem::TooManyInodes)
    }

    fn apply_hard_link(
        &mut self,
        parent: NodeId,
        name: &[u8],
        target: &[u8],
        metadata: &Metadata,
    ) -> Result<(), TreeProblem> {
        let printable = || String::from_utf8_lossy(target).into_owned();
        let components = clean(target)?;
        let Some((target_name, target_parents)) = components.split_last() else {
            return Err(TreeProblem::LinkToDirectory(printable()));
        };
        let is_itself = *target_name == name
            && self.find_directory(target_parents)? == Some(parent)
            && self.lookup(parent, name).is_some();
        if is_itself {
            let layer = self.layer;
            let names = self.get_mut(parent).and_then(Node::as_directory_mut);
            if let Some(dirent) = names.and_then(|dir| dir.entries.get_mut(name)) {
                dirent.layer = layer;
            }
            self.mark_upper(parent);
            return Ok(());
        }
        self.unlink(parent, name);
        let found = self
            .find_directory(target_parents)?
            .and_then(|directory| self.lookup(directory, target_name))
            .ok_or_else(|| TreeProblem::LinkTargetMissing(printable()))?;
        match self.get_mut(found) {
            Some(node) if !node.is_directory() => node.links += 1,
            _ => return Err(TreeProblem::LinkToDirectory(printable())),
        }
        self.update_metadata(found, metadata);
        self.link(parent, name, found).ok_or(TreeProblem::TooManyInodes)
    }

    fn replace(
        &mut self,
        parent: NodeId,
        name: &[u8],
        kind: NodeKind<F>,
        metadata: Metadata,
    ) -> Result<(), TreeProblem> {
        self.unlink(parent, name);
        let made = self.insert(Node::new(kind, metadata, self.layer));
        self.link(parent, name, made).ok_or(TreeProblem::TooManyInodes)
    }

    fn set_metadata(&mut self, id: NodeId, metadata: Metadata) {
        if let Some(node) = self.get_mut(id) {
            node.metadata = metadata;
            self.mark_changed(id);
        }
    }

    /// What unpackers do with an inode that is there: owner, mode and time are set, attributes are
    /// added to those that it has.
    fn update_metadata(&mut self, id: NodeId, metadata: &Metadata) {
        let Some(node) = self.get_mut(id) else { return };
        let mode = match node.kind {
            NodeKind::Symlink(_) => SYMLINK_MODE,
            _ => metadata.mode,
        };
        let takes_user = matches!(node.kind, NodeKind::File(_) | NodeKind::Directory(_));
        let mut xattrs = std::mem::take(&mut node.metadata.xattrs);
        for (name, value) in &metadata.xattrs {
            if takes_user || !name.starts_with(b"user.") {
                xattrs.retain(|(known, _)| known != name);
                xattrs.push((name.clone(), value.clone()));
            }
        }
        node.metadata = Metadata { mode, xattrs, ..metadata.clone() };
        self.mark_changed(id);
    }

    pub(super) fn make_directory(&mut self, parent: NodeId, metadata: Metadata) -> NodeId {
        let layer = self.layer;
        self.insert(Node::directory(parent, metadata, layer))
    }

    fn insert(&mut self, node: Node<F>) -> NodeId {
        let id = self.free.pop_first().unwrap_or(self.node_limit());
        let index = id as usize;
        if index < self.nodes.len() {
            self.nodes[index] = Some(node);
        } else {
            self.nodes.push(Some(node));
        }
        self.changes.changed.push(NodeId(id));
        self.mark_entries_changed(NodeId(id));
        NodeId(id)
    }

    /// Makes an inode that no name leads to, for what a disk writer keeps beside the tree.
    pub fn insert_unnamed(&mut self, kind: NodeKind<F>, metadata: Metadata) -> NodeId {
        self.insert(Node::new(kind, metadata, self.layer))
    }

    /// Removes such an inode.
    pub fn remove_unnamed(&mut self, id: NodeId) {
        if self.nodes.get_mut(id.index()).and_then(Option::take).is_some() {
            self.free.insert(id.0);
        }
    }

    /// Gives an inode a name that is not taken.
    pub(super) fn link(&mut self, parent: NodeId, name: &[u8], node: NodeId) -> Option<()> {
        let layer = self.layer;
        let is_directory = self.get(node)?.is_directory();
        let directory = self.get_mut(parent)?.as_directory_mut()?;
        directory.entries.insert(name.into(), Dirent { node, slot: UNPLACED, layer });
        directory.subdirectories += u32::from(is_directory);
        if is_directory {
            self.mark_changed(parent);
        }
        self.mark_entries_changed(parent);
        self.mark_upper(parent);
        Some(())
    }

    pub(super) fn mark_entries_changed(&mut self, id: NodeId) {
        let layer = self.layer;
        if let Some(directory) = self.get_mut(id).and_then(Node::as_directory_mut)
            && directory.entries_changed_in != layer
        {
            directory.entries_changed_in = layer;
            self.changes.directories.push(id);
        }
    }

    pub(super) fn mark_changed(&mut self, id: NodeId) {
        let layer = self.layer;
        if let Some(node) = self.get_mut(id)
            && node.changed_in != layer
        {
            node.changed_in = layer;
            self.changes.changed.push(id);
        }
    }

    /// Notes that this layer brought `directory` or something below it.
    pub(super) fn mark_upper(&mut self, directory: NodeId) {
        let layer = self.layer;
        let mut current = directory;
        while let Some(dir) = self.get_mut(current).and_then(Node::as_directory_mut) {
            if dir.upper_in == layer {
                break;
            }
            dir.upper_in = layer;
            current = dir.parent;
        }
    }
}
