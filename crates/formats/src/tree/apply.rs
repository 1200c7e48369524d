//! One entry of a layer.

use super::Tree;
use super::error::{EntryName, TreeError, TreeProblem};
use super::node::{Dirent, Node, NodeId, NodeKind, ROOT, UNPLACED};
use super::path::{MAX_NAME, clean};
use crate::layer::{EntryKind, LayerEntry, Metadata};

const WHITEOUT: &[u8] = b".wh.";
const AUFS_METADATA: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const MAX_SYMLINK_TARGET: usize = 4095;

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
            return self.apply_root(&kind, metadata);
        };
        if *name == OPAQUE {
            if let Some(directory) = self.find_directory(parents)? {
                self.clear_lower(directory);
            }
            return Ok(());
        }
        if components.iter().any(|component| component.starts_with(AUFS_METADATA)) {
            return Ok(());
        }
        if let Some(target) = name.strip_prefix(WHITEOUT) {
            if matches!(target, b"" | b"." | b"..") {
                return Err(TreeProblem::EmptyWhiteout);
            }
            if let Some(directory) = self.find_directory(parents)? {
                self.white_out(directory, target);
            }
            return Ok(());
        }
        if components.iter().any(|component| component.len() > MAX_NAME) {
            return Err(TreeProblem::NameTooLong);
        }
        let parent = self.make_parents(parents)?;
        match kind {
            EntryKind::HardLink(target) => self.apply_hard_link(parent, name, &target)?,
            EntryKind::Directory => self.apply_directory(parent, name, metadata)?,
            EntryKind::File(file) => {
                self.replace(parent, name, NodeKind::File(file), metadata)?;
            }
            EntryKind::Symlink(target) => {
                if target.is_empty() || target.len() > MAX_SYMLINK_TARGET || target.contains(&0) {
                    return Err(TreeProblem::BadSymlinkTarget);
                }
                let metadata = Metadata { mode: 0o777, ..metadata };
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

    fn apply_root(&mut self, kind: &EntryKind<F>, metadata: Metadata) -> Result<(), TreeProblem> {
        if !matches!(kind, EntryKind::Directory) {
            return Err(TreeProblem::RootReplaced);
        }
        self.set_metadata(ROOT, metadata);
        Ok(())
    }

    fn apply_directory(
        &mut self,
        parent: NodeId,
        name: &[u8],
        metadata: Metadata,
    ) -> Result<(), TreeProblem> {
        if let Some(found) = self.lookup(parent, name) {
            if self.get(found).is_some_and(Node::is_directory) {
                self.set_metadata(found, metadata);
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
        self.mark_changed(found);
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
    fn mark_upper(&mut self, directory: NodeId) {
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
