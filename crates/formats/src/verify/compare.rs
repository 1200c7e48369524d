//! Walks the merged source tree and a file system side by side.

use std::collections::{BTreeMap, HashMap};

use super::VerifyError;
use super::content::{BlockHasher, Content};
use super::report::Report;
use super::source::{Kind, Node, NodeId, SourceTree, Xattrs};
use crate::ext4::reader::{Ext4Reader, FileType, Inode, ROOT_INODE, ReadError};
use crate::layer::Timestamp;
use crate::overlaybd::Cancel;
use crate::read_at::ReadAt;

/// What ext4 itself puts into the root.
const LOST_AND_FOUND: &[u8] = b"lost+found";

/// Directories with more subdirectories say 1 link.
const MAX_LINKS: u64 = 65_000;

/// The times that ext4 can hold.
const TIMES: (i64, i64) = (-0x8000_0000, 0x3_7fff_ffff);

const CHUNK: u64 = 1 << 20;

/// Compares everything under the roots.
pub(super) fn compare<R: ReadAt>(
    tree: &SourceTree,
    reader: &Ext4Reader<R>,
    report: &mut Report,
    cancel: &Cancel,
) -> Result<(), VerifyError> {
    let mut comparison = Comparison {
        tree,
        reader,
        report,
        cancel,
        inodes: HashMap::new(),
        nodes: HashMap::new(),
        counts: tree.counts(),
        chunk: Vec::new(),
    };
    let root = tree.root();
    // Paths of directories that are still to be compared.
    let mut pending = vec![(root, ROOT_INODE, String::new())];
    comparison.pair("/", root, ROOT_INODE)?;
    while let Some((node, inode, path)) = pending.pop() {
        comparison.directory(node, inode, &path, &mut pending)?;
    }
    Ok(())
}

struct Comparison<'a, R> {
    tree: &'a SourceTree,
    reader: &'a Ext4Reader<R>,
    report: &'a mut Report,
    cancel: &'a Cancel,
    /// Pairs that were compared, by either side.
    inodes: HashMap<NodeId, u32>,
    nodes: HashMap<u32, NodeId>,
    /// How many names each node has.
    counts: Vec<u32>,
    chunk: Vec<u8>,
}

impl<R: ReadAt> Comparison<'_, R> {
    fn directory(
        &mut self,
        node: NodeId,
        inode: u32,
        path: &str,
        pending: &mut Vec<(NodeId, u32, String)>,
    ) -> Result<(), VerifyError> {
        let entries = self.reader.read_directory(&self.reader.inode(inode)?)?;
        let mut found: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        for entry in entries {
            let child = join(path, &entry.name);
            if found.insert(entry.name, entry.inode).is_some() {
                self.report.differ(&child, "name", "once", "twice in its directory");
            }
        }
        for (name, child) in self.tree.children(node) {
            if self.cancel.is_cancelled() {
                return Err(VerifyError::Canceled);
            }
            let child_path = join(path, name);
            let Some(child_inode) = found.remove(name) else {
                let own = node == self.tree.root() && name == LOST_AND_FOUND;
                if !own {
                    self.report.differ(&child_path, "name", "exists", "is missing");
                }
                continue;
            };
            self.report.names += 1;
            if self.pair(&child_path, child, child_inode)? {
                pending.push((child, child_inode, child_path));
            }
        }
        for (name, child) in found {
            if node != self.tree.root()
                || name != LOST_AND_FOUND
                || !self.is_empty_directory(child)?
            {
                self.report.differ(&join(path, &name), "name", "does not exist", "exists");
            }
        }
        Ok(())
    }

    fn is_empty_directory(&self, number: u32) -> Result<bool, ReadError> {
        let inode = self.reader.inode(number)?;
        let is_directory = inode.file_type == FileType::Directory;
        Ok(is_directory && self.reader.read_directory(&inode)?.is_empty())
    }

    /// Compares one name's inodes, unless they were under another name before; tells whether
    /// both are directories that have yet to be entered.
    fn pair(&mut self, path: &str, node: NodeId, number: u32) -> Result<bool, VerifyError> {
        match (self.inodes.get(&node), self.nodes.get(&number)) {
            (None, None) => {}
            (Some(before), _) if *before == number => return Ok(false),
            _ => {
                self.report.differ(path, "inode", "shared as in the source", "shared otherwise");
                return Ok(false);
            }
        }
        self.inodes.insert(node, number);
        self.nodes.insert(number, node);
        let Some(expected) = self.tree.get(node) else { return Ok(false) };
        let inode = match self.reader.inode(number) {
            Ok(inode) => inode,
            Err(error @ ReadError::Io { .. }) => return Err(error.into()),
            Err(error) => {
                self.report.differ(path, "inode data", "readable", error.to_string());
                return Ok(false);
            }
        };
        self.metadata(path, node, expected, &inode);
        match self.kind(path, expected, &inode) {
            Ok(enter) => Ok(enter),
            Err(error @ ReadError::Corrupt(_)) => {
                self.report.differ(path, "inode data", "readable", error.to_string());
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn metadata(&mut self, path: &str, node: NodeId, expected: &Node, inode: &Inode) {
        let metadata = expected;
        let time = |time: Timestamp| format!("{}.{:09}", time.secs, time.nanos);
        let mtime = stored_time(metadata.mtime);
        let links = match &expected.kind {
            Kind::Directory { .. } => {
                let children = self.tree.children(node);
                let child = |(_, child)| self.tree.get(child).is_some_and(Node::is_directory);
                2 + children.filter(|one| child(*one)).count() as u64
            }
            _ => self.counts.get(node).copied().map_or(0, u64::from),
        };
        // The root also has what the file system puts there.
        let own = u64::from(inode.number == ROOT_INODE && self.has_own_directory());
        let links = if links + own > MAX_LINKS { 1 } else { links + own };
        let fields = [
            ("mode", format!("{:04o}", metadata.mode), format!("{:04o}", inode.mode)),
            ("uid", metadata.uid.to_string(), inode.uid.to_string()),
            ("gid", metadata.gid.to_string(), inode.gid.to_string()),
            ("mtime", time(mtime), time(inode.mtime)),
            ("links", links.to_string(), inode.links.to_string()),
        ];
        for (field, expected, found) in fields {
            if expected != found {
                self.report.differ(path, field, expected, found);
            }
        }
        match self.reader.xattrs(inode) {
            Ok(found) => self.xattrs(path, &metadata.xattrs, found),
            Err(error) => self.report.differ(path, "xattr", "readable", error.to_string()),
        }
    }

    /// Whether `lost+found` is there although no layer has it.
    fn has_own_directory(&self) -> bool {
        self.tree.lookup(self.tree.root(), LOST_AND_FOUND).is_none()
            && self.reader.lookup(LOST_AND_FOUND, false).is_ok()
    }

    fn xattrs(&mut self, path: &str, expected: &Xattrs, found: Vec<(Vec<u8>, Vec<u8>)>) {
        let mut found: BTreeMap<Vec<u8>, Vec<u8>> = found.into_iter().collect();
        for (name, value) in expected {
            let other = found.remove(name);
            if other.as_ref() != Some(value) {
                let field = format!("xattr {}", String::from_utf8_lossy(name));
                let other = other.map_or("is missing".to_owned(), hex::encode);
                self.report.differ(path, &field, hex::encode(value), other);
            }
        }
        for (name, value) in found {
            let field = format!("xattr {}", String::from_utf8_lossy(&name));
            self.report.differ(path, &field, "does not exist", hex::encode(value));
        }
    }

    /// Compares type and what belongs to it.
    fn kind(&mut self, path: &str, expected: &Node, inode: &Inode) -> Result<bool, ReadError> {
        let expected_type = type_of(&expected.kind);
        if expected_type != inode.file_type {
            let (expected, found) =
                (format!("{expected_type:?}"), format!("{:?}", inode.file_type));
            self.report.differ(path, "type", expected, found);
            return Ok(false);
        }
        match &expected.kind {
            Kind::Directory { .. } => return Ok(true),
            Kind::File(content) => self.content(path, content, inode)?,
            Kind::Symlink(target) => {
                let found = self.reader.read_link(inode)?;
                if found != *target {
                    let text = |bytes: &[u8]| format!("{:?}", String::from_utf8_lossy(bytes));
                    self.report.differ(path, "target", text(target), text(&found));
                }
            }
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                if inode.device_numbers() != Some((*major, *minor)) {
                    let found = format!("{:?}", inode.device_numbers());
                    self.report.differ(path, "device", format!("{major}:{minor}"), found);
                }
            }
            Kind::Fifo => {}
        }
        Ok(false)
    }

    fn content(&mut self, path: &str, expected: &Content, inode: &Inode) -> Result<(), ReadError> {
        if expected.size != inode.size {
            self.report.differ(path, "size", expected.size.to_string(), inode.size.to_string());
            return Ok(());
        }
        let content = self.reader.content(inode)?;
        let mut hasher = BlockHasher::default();
        for (from, to) in content.data_ranges() {
            let mut at = from;
            while at < to {
                let take = usize::try_from((to - at).min(CHUNK)).unwrap_or_default();
                self.chunk.resize(take, 0);
                content.read_at(&mut self.chunk, at)?;
                for (number, block) in (0_u64..).zip(self.chunk.chunks(4096)) {
                    hasher.block(at + number * 4096, block);
                }
                at += take as u64;
                if self.cancel.is_cancelled() {
                    return Ok(());
                }
            }
        }
        self.report.files += 1;
        self.report.bytes += hasher.bytes;
        let found = hasher.finish(inode.size);
        if found != *expected {
            let (expected, found) = (hex::encode(expected.digest), hex::encode(found.digest));
            self.report.differ(path, "content", expected, found);
        }
        Ok(())
    }
}

fn type_of(kind: &Kind) -> FileType {
    match kind {
        Kind::File(_) => FileType::File,
        Kind::Directory { .. } => FileType::Directory,
        Kind::Symlink(_) => FileType::Symlink,
        Kind::CharDevice { .. } => FileType::CharDevice,
        Kind::BlockDevice { .. } => FileType::BlockDevice,
        Kind::Fifo => FileType::Fifo,
    }
}

/// A time as ext4 can hold it: the nearest one.
fn stored_time(time: Timestamp) -> Timestamp {
    let (first, last) = TIMES;
    if time.secs < first {
        Timestamp { secs: first, nanos: 0 }
    } else if time.secs > last {
        Timestamp { secs: last, nanos: 0 }
    } else {
        time
    }
}

fn join(path: &str, name: &[u8]) -> String {
    format!("{path}/{}", String::from_utf8_lossy(name))
}
