//! Nodes of the source, and how one layer lies over those below.

use std::collections::BTreeMap;

use crate::layer::Timestamp;
use crate::verify::content::Content;

/// Place of a node in [`SourceTree`].
pub(in crate::verify) type NodeId = usize;

/// Names of a directory; `None` is one that its layer takes away from those below.
pub(super) type Names = BTreeMap<Vec<u8>, Option<NodeId>>;

pub(in crate::verify) type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a node is.
#[derive(Debug, Clone)]
pub(in crate::verify) enum Kind {
    File(Content),
    /// `opaque` hides what the layers below have in it.
    Directory {
        names: Names,
        opaque: bool,
    },
    Symlink(Vec<u8>),
    CharDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
    Fifo,
}

/// A file, directory or anything else that may have names.
#[derive(Debug, Clone)]
pub(in crate::verify) struct Node {
    pub(in crate::verify) kind: Kind,
    pub(in crate::verify) mode: u16,
    pub(in crate::verify) uid: u32,
    pub(in crate::verify) gid: u32,
    pub(in crate::verify) mtime: Timestamp,
    pub(in crate::verify) xattrs: Xattrs,
}

impl Node {
    pub(super) fn directory(mode: u16) -> Self {
        Self {
            kind: Kind::Directory { names: Names::new(), opaque: false },
            mode,
            uid: 0,
            gid: 0,
            mtime: Timestamp::default(),
            xattrs: Xattrs::new(),
        }
    }

    pub(in crate::verify) fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory { .. })
    }

    pub(super) fn names(&self) -> Option<&Names> {
        match &self.kind {
            Kind::Directory { names, .. } => Some(names),
            _ => None,
        }
    }
}

/// All layers so far.
#[derive(Debug)]
pub(in crate::verify) struct SourceTree {
    pub(super) nodes: Vec<Node>,
    root: NodeId,
}

impl SourceTree {
    pub(in crate::verify) fn new() -> Self {
        Self { nodes: vec![Node::directory(0o755)], root: 0 }
    }

    /// The root, which another directory is after each layer.
    pub(in crate::verify) fn root(&self) -> NodeId {
        self.root
    }

    pub(in crate::verify) fn get(&self, node: NodeId) -> Option<&Node> {
        self.nodes.get(node)
    }

    pub(super) fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Names and nodes of a directory.
    pub(in crate::verify) fn children(
        &self,
        node: NodeId,
    ) -> impl Iterator<Item = (&[u8], NodeId)> {
        let names = self.get(node).and_then(Node::names).into_iter().flatten();
        names.filter_map(|(name, node)| Some((name.as_slice(), (*node)?)))
    }

    pub(in crate::verify) fn lookup(&self, node: NodeId, name: &[u8]) -> Option<NodeId> {
        *self.get(node)?.names()?.get(name)?
    }

    /// How many names each node has.
    pub(in crate::verify) fn counts(&self) -> Vec<u32> {
        let mut counts = vec![0u32; self.nodes.len()];
        let mut pending = vec![self.root];
        while let Some(directory) = pending.pop() {
            for (_, child) in self.children(directory) {
                if let Some(count) = counts.get_mut(child) {
                    *count += 1;
                }
                if self.get(child).is_some_and(Node::is_directory) {
                    pending.push(child);
                }
            }
        }
        counts
    }

    /// Lays a layer, whose directories only have what it brings, over everything below.
    pub(super) fn lay(&mut self, upper: NodeId) {
        let mut pending = vec![(upper, Some(self.root))];
        self.root = upper;
        while let Some((upper, lower)) = pending.pop() {
            let below: Names =
                lower.and_then(|lower| self.get(lower)?.names()).cloned().unwrap_or_default();
            let Some(Node { kind: Kind::Directory { names, opaque }, .. }) = self.nodes.get(upper)
            else {
                continue;
            };
            let below = if *opaque { Names::new() } else { below };
            let mut merged = Names::new();
            for (name, own) in names {
                if let Some(own) = *own {
                    let lower = below.get(name).copied().flatten();
                    merged.insert(name.clone(), Some(own));
                    if self.get(own).is_some_and(Node::is_directory) {
                        pending.push((own, lower));
                    }
                }
            }
            let rest = below.into_iter().filter(|(name, _)| !names.contains_key(name));
            merged.extend(rest);
            if let Some(node) = self.nodes.get_mut(upper) {
                node.kind = Kind::Directory { names: merged, opaque: false };
            }
        }
    }
}
