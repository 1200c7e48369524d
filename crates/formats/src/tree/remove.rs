//! Taking names away: replacement, white-outs and opaque directories.

use super::Tree;
use super::node::{Node, NodeId, NodeKind, UNPLACED};

impl<F> Tree<F> {
    /// Removes a name and, with the last name of an inode, the inode; a directory goes with
    /// everything below it.
    pub(super) fn unlink(&mut self, directory: NodeId, name: &[u8]) {
        let Some(parent) = self.get_mut(directory).and_then(Node::as_directory_mut) else {
            return;
        };
        let Some(dirent) = parent.entries.remove(name) else { return };
        if dirent.slot != UNPLACED {
            parent.vacated.push(dirent.slot);
        }
        self.mark_entries_changed(directory);
        if self.get(dirent.node).is_some_and(Node::is_directory) {
            if let Some(parent) = self.get_mut(directory).and_then(Node::as_directory_mut) {
                parent.subdirectories -= 1;
            }
            self.mark_changed(directory);
        }
        self.drop_name(dirent.node);
    }

    /// An opaque marker: what layers below brought under `directory` goes, what this layer
    /// brought stays, wherever the marker stands in the layer.
    pub(super) fn clear_lower(&mut self, directory: NodeId) {
        let mut pending = vec![directory];
        while let Some(current) = pending.pop() {
            let layer = self.layer;
            let Some(dir) = self.get_mut(current).and_then(Node::as_directory_mut) else {
                continue;
            };
            if dir.cleared_in == layer {
                continue;
            }
            dir.cleared_in = layer;
            let mut doomed = Vec::new();
            let names = self.get(current).and_then(Node::as_directory);
            for (name, dirent) in names.into_iter().flat_map(|dir| &dir.entries) {
                match self.get(dirent.node).and_then(Node::as_directory) {
                    Some(child) if child.upper_in == layer => pending.push(dirent.node),
                    None if dirent.layer == layer => {}
                    _ => doomed.push(name.clone()),
                }
            }
            for name in doomed {
                self.unlink(current, &name);
            }
        }
    }

    /// A white-out of one name.
    pub(super) fn white_out(&mut self, directory: NodeId, name: &[u8]) {
        let Some(parent) = self.get(directory).and_then(Node::as_directory) else { return };
        let Some(dirent) = parent.entries.get(name) else { return };
        let (node, brought_in) = (dirent.node, dirent.layer);
        match self.get(node).and_then(Node::as_directory) {
            Some(child) if child.upper_in == self.layer => self.clear_lower(node),
            None if brought_in == self.layer => {}
            _ => self.unlink(directory, name),
        }
    }

    /// One name less for an inode, and so on below it if it was a directory.
    fn drop_name(&mut self, node: NodeId) {
        let mut pending = vec![node];
        while let Some(id) = pending.pop() {
            let Some(node) = self.get_mut(id) else { continue };
            node.links = node.links.saturating_sub(1);
            if node.links > 0 {
                self.mark_changed(id);
                continue;
            }
            let created_here = node.created_in == self.layer;
            let Some(Some(gone)) = self.nodes.get_mut(id.index()).map(Option::take) else {
                continue;
            };
            if let NodeKind::Directory(directory) = gone.kind {
                pending.extend(directory.entries.values().map(|dirent| dirent.node));
            }
            if created_here {
                self.free.insert(id.0);
            } else {
                self.changes.freed.push(id);
            }
        }
    }
}
