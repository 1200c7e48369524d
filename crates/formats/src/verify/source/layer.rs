//! One layer on its own, as a node keeps it before it lies over the others.

use super::archive::{Entry, What};
use super::strange;
use super::tree::{Kind, Names, Node, NodeId, SourceTree, Xattrs};
use crate::overlaybd::OverlayError;

/// As many links as unpackers follow on one way.
const MAX_LINKS: usize = 255;

/// A layer in the making: its own directories, and the tree below.
pub(super) struct Layer<'a> {
    tree: &'a mut SourceTree,
    upper: NodeId,
}

/// A directory as the layer sees it: what it has itself, and what is below.
#[derive(Clone, Copy)]
struct Place {
    upper: Option<NodeId>,
    lower: Option<NodeId>,
}

/// A name in a place.
enum Seen {
    Nothing,
    Own(NodeId),
    Below(NodeId),
}

impl<'a> Layer<'a> {
    pub(super) fn over(tree: &'a mut SourceTree) -> Self {
        // The root stays what it was.
        let mut root = Node::directory(0o755);
        if let Some(below) = tree.get(tree.root()) {
            root.mtime = below.mtime;
        }
        let upper = tree.add(root);
        Self { tree, upper }
    }

    /// The layer's root.
    pub(super) fn finish(self) -> NodeId {
        self.upper
    }

    pub(super) fn apply(&mut self, entry: &Entry) -> Result<(), OverlayError> {
        let mut parents = lexical(&entry.path);
        let Some(name) = parents.pop() else {
            if let (What::Directory, Some(root)) =
                (&entry.what, self.tree.nodes.get_mut(self.upper))
            {
                root.mtime = entry.mtime;
            }
            return Ok(());
        };
        let way = self.real(&parents, &entry.path)?;
        let directory = self.make(&way, &entry.path)?;
        if name == b".wh..wh..opq" {
            if let Some(Kind::Directory { opaque, .. }) = self.kind(directory) {
                *opaque = true;
            }
            return Ok(());
        }
        if let Some(gone) = name.strip_prefix(b".wh.") {
            self.take_away(directory, gone);
            return Ok(());
        }
        self.put(directory, name, entry)
    }

    fn put(&mut self, parent: NodeId, name: Vec<u8>, entry: &Entry) -> Result<(), OverlayError> {
        let own = self.names(parent).and_then(|names| names.get(&name).copied());
        let kind = match entry.what {
            What::HardLink(ref target) => return self.link(parent, name, target, entry),
            What::Directory => {
                if let Some(Some(known)) = own
                    && self.tree.get(known).is_some_and(Node::is_directory)
                {
                    self.change(known, entry);
                    return Ok(());
                }
                // Over a name that this layer has taken away or filled otherwise, it is a new one.
                Kind::Directory { names: Names::new(), opaque: own.is_some() }
            }
            What::File(content) => Kind::File(content),
            What::Symlink(ref target) => Kind::Symlink(target.clone()),
            What::CharDevice(major, minor) => Kind::CharDevice { major, minor },
            What::BlockDevice(major, minor) => Kind::BlockDevice { major, minor },
            What::Fifo => Kind::Fifo,
        };
        let mode = if matches!(kind, Kind::Symlink(_)) { 0o777 } else { entry.mode };
        let xattrs = Xattrs::new();
        let (uid, gid, mtime) = (entry.uid, entry.gid, entry.mtime);
        let node = self.tree.add(Node { kind, mode, uid, gid, mtime, xattrs });
        self.set_xattrs(node, entry);
        self.name(parent, name, Some(node));
        Ok(())
    }

    fn link(
        &mut self,
        parent: NodeId,
        name: Vec<u8>,
        target: &[u8],
        entry: &Entry,
    ) -> Result<(), OverlayError> {
        let mut parents = lexical(target);
        let missing = || strange(&entry.path, "its hard link leads to nothing");
        let base = parents.pop().ok_or_else(missing)?;
        let way = self.real(&parents, &entry.path)?;
        let place = self.place(&way).ok_or_else(missing)?;
        let (Seen::Own(found) | Seen::Below(found)) = self.see(place, &base) else {
            return Err(missing());
        };
        if place.upper == Some(parent) && base == name {
            self.name(parent, name, Some(found));
            return Ok(());
        }
        // The old thing of this name goes first, with everything that the target may be below it.
        self.name(parent, name.clone(), None);
        let place = self.place(&way).ok_or_else(missing)?;
        let (Seen::Own(found) | Seen::Below(found)) = self.see(place, &base) else {
            return Err(missing());
        };
        if self.tree.get(found).is_none_or(Node::is_directory) {
            return Err(strange(&entry.path, "its hard link leads to a directory"));
        }
        self.change(found, entry);
        self.name(parent, name, Some(found));
        Ok(())
    }

    /// Owner, mode, time and further attributes for what is there.
    fn change(&mut self, id: NodeId, entry: &Entry) {
        if let Some(node) = self.tree.nodes.get_mut(id) {
            (node.uid, node.gid, node.mtime) = (entry.uid, entry.gid, entry.mtime);
            if !matches!(node.kind, Kind::Symlink(_)) {
                node.mode = entry.mode;
            }
        }
        self.set_xattrs(id, entry);
    }

    fn set_xattrs(&mut self, id: NodeId, entry: &Entry) {
        let Some(node) = self.tree.nodes.get_mut(id) else { return };
        let directory = matches!(node.kind, Kind::Directory { .. });
        let users = directory || matches!(node.kind, Kind::File(_));
        let symlink = matches!(node.kind, Kind::Symlink(_));
        for (name, value) in &entry.xattrs {
            let list = name.strip_prefix(b"system.posix_acl_");
            let possible = match list {
                Some(list) => !symlink && (directory || list != b"default"),
                None => users || !name.starts_with(b"user."),
            };
            if list.is_some() && value.is_empty() {
                node.xattrs.remove(name);
            } else if possible {
                node.xattrs.insert(name.clone(), value.clone());
            }
        }
    }

    fn take_away(&mut self, parent: NodeId, name: &[u8]) {
        let own = self.names(parent).and_then(|names| names.get(name).copied());
        match own {
            // What the layer itself brings stays; of a directory only what is below goes.
            Some(Some(own)) => {
                if let Some(Kind::Directory { opaque, .. }) = self.kind(own) {
                    *opaque = true;
                }
            }
            _ => self.name(parent, name.to_vec(), None),
        }
    }

    /// The layer's own directory at the end of a way without links, made where it is missing.
    fn make(&mut self, way: &[Vec<u8>], path: &[u8]) -> Result<NodeId, OverlayError> {
        let mut place = Place { upper: Some(self.upper), lower: Some(self.tree.root()) };
        let mut directory = self.upper;
        for name in way {
            let own = self.names(directory).and_then(|names| names.get(name).copied());
            let below = self.below(place, name);
            let next = match own {
                Some(Some(own)) if self.tree.get(own).is_some_and(Node::is_directory) => own,
                Some(Some(_)) => return Err(strange(path, "a parent is not a directory")),
                _ => {
                    let like = below.and_then(|below| self.tree.get(below).cloned());
                    let mut node = self.fresh(directory);
                    if let Some(like) = like.filter(|like| own.is_none() && like.is_directory()) {
                        node = Node { kind: node.kind, ..like };
                    }
                    if let Kind::Directory { opaque, .. } = &mut node.kind {
                        *opaque = own.is_some();
                    }
                    let made = self.tree.add(node);
                    self.name(directory, name.clone(), Some(made));
                    made
                }
            };
            place = Place { upper: Some(next), lower: below };
            directory = next;
        }
        Ok(directory)
    }

    /// A directory that no layer describes.
    fn fresh(&self, parent: NodeId) -> Node {
        let mut node = Node::directory(0o755);
        if let Some(parent) = self.tree.get(parent).filter(|parent| parent.mode & 0o2000 != 0) {
            node.gid = parent.gid;
        }
        node
    }

    /// The way with every symbolic link followed inside the root; its end may not be there.
    fn real(&self, names: &[Vec<u8>], path: &[u8]) -> Result<Vec<Vec<u8>>, OverlayError> {
        let mut way: Vec<Vec<u8>> = Vec::new();
        let mut ahead: Vec<Vec<u8>> = names.iter().rev().cloned().collect();
        let mut links = 0;
        let mut steps = 0;
        while let Some(name) = ahead.pop() {
            steps += 1;
            if links > MAX_LINKS || steps > 16_384 {
                return Err(strange(path, "too many symbolic links on the way"));
            }
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    way.pop();
                    continue;
                }
                _ => {}
            }
            let seen = self.place(&way).map_or(Seen::Nothing, |place| self.see(place, &name));
            let node = match seen {
                Seen::Own(node) | Seen::Below(node) => self.tree.get(node),
                Seen::Nothing => None,
            };
            match node.map(|node| &node.kind) {
                Some(Kind::Symlink(target)) => {
                    links += 1;
                    if target.starts_with(b"/") {
                        way.clear();
                    }
                    ahead.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
                }
                _ => way.push(name),
            }
        }
        Ok(way)
    }

    /// The directory at the end of a way without links.
    fn place(&self, way: &[Vec<u8>]) -> Option<Place> {
        let mut place = Place { upper: Some(self.upper), lower: Some(self.tree.root()) };
        for name in way {
            let below = self.below(place, name);
            let own = place.upper.and_then(|upper| self.names(upper)?.get(name).copied());
            place = match own {
                Some(Some(own)) => Place { upper: Some(own), lower: below },
                Some(None) => return None,
                None => Place { upper: None, lower: Some(below?) },
            };
            let there = place.upper.or(place.lower)?;
            if !self.tree.get(there)?.is_directory() {
                return None;
            }
        }
        Some(place)
    }

    fn see(&self, place: Place, name: &[u8]) -> Seen {
        let own = place.upper.and_then(|upper| self.names(upper)?.get(name).copied());
        match (own, self.below(place, name)) {
            (Some(Some(own)), _) => Seen::Own(own),
            (None, Some(below)) => Seen::Below(below),
            _ => Seen::Nothing,
        }
    }

    /// What the layers below have under a name, if this one does not hide it.
    fn below(&self, place: Place, name: &[u8]) -> Option<NodeId> {
        if let Some(upper) = place.upper
            && let Kind::Directory { opaque: true, .. } = self.tree.get(upper)?.kind
        {
            return None;
        }
        self.tree.lookup(place.lower?, name)
    }

    fn names(&self, directory: NodeId) -> Option<&Names> {
        self.tree.get(directory)?.names()
    }

    fn kind(&mut self, node: NodeId) -> Option<&mut Kind> {
        Some(&mut self.tree.nodes.get_mut(node)?.kind)
    }

    fn name(&mut self, directory: NodeId, name: Vec<u8>, node: Option<NodeId>) {
        if let Some(Kind::Directory { names, .. }) = self.kind(directory) {
            names.insert(name, node);
        }
    }
}

/// The names of a path, `.` and `..` resolved without looking, never above the root.
fn lexical(path: &[u8]) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name.to_vec()),
        }
    }
    names
}
