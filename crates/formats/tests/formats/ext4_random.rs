//! Random chains of layers against a model of paths and inodes.

use std::collections::{BTreeMap, BTreeSet};

use berth_formats::layer::{EntryKind, Metadata, Timestamp};
use proptest::prelude::*;

use crate::disk::Disk;
use crate::layers::Layer;
use crate::snapshot::{Seen, Snapshot, assert_same, take};

#[derive(Clone, Debug)]
enum Operation {
    File { path: String, content: Vec<u8>, metadata: Metadata },
    Directory { path: String, metadata: Metadata },
    Symlink { path: String, length: usize, metadata: Metadata },
    Device { path: String, major: u32, minor: u32, metadata: Metadata },
    Fifo { path: String, metadata: Metadata },
    HardLink { path: String, target: String },
    Whiteout { path: String },
    Opaque { path: String },
}

#[derive(Clone, Debug)]
struct Inode {
    type_bits: u32,
    content: Vec<u8>,
    metadata: Metadata,
}

/// The expected tree: paths lead to inodes.
#[derive(Clone, Default)]
struct Model {
    names: BTreeMap<String, usize>,
    inodes: Vec<Inode>,
    upper: BTreeSet<String>,
}

const DIRECTORY: u32 = 0o040_000;

impl Model {
    fn is_directory(&self, path: &str) -> bool {
        path.is_empty()
            || self.names.get(path).is_some_and(|node| self.inodes[*node].type_bits == DIRECTORY)
    }

    fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.names.retain(|name, _| name != path && !name.starts_with(&below));
    }

    fn mark(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            self.upper.insert(path[..at].to_owned());
        }
        self.upper.insert(path.to_owned());
    }

    fn make_parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            if !self.names.contains_key(&path[..at]) {
                let parent = path[..at].rsplit_once('/').and_then(|(up, _)| self.names.get(up));
                let parent = parent.map(|node| &self.inodes[*node].metadata);
                let gid = parent.filter(|parent| parent.mode & 0o2000 != 0).map_or(0, |up| up.gid);
                let metadata = Metadata { mode: 0o755, gid, ..Metadata::default() };
                self.inodes.push(Inode { type_bits: DIRECTORY, content: Vec::new(), metadata });
                self.names.insert(path[..at].to_owned(), self.inodes.len() - 1);
            }
            self.upper.insert(path[..at].to_owned());
        }
    }

    fn make(&mut self, path: &str, inode: Inode) {
        self.make_parents(path);
        if inode.type_bits == DIRECTORY && self.is_directory(path) {
            let node = self.names[path];
            let before = std::mem::replace(&mut self.inodes[node], inode);
            if self.upper.contains(path) {
                self.add_xattrs(node, before.metadata.xattrs);
            }
        } else {
            self.remove(path);
            self.inodes.push(inode);
            self.names.insert(path.to_owned(), self.inodes.len() - 1);
        }
        self.mark(path);
    }

    /// Attributes that an inode had before stay beside the new ones.
    fn add_xattrs(&mut self, node: usize, before: Vec<(Vec<u8>, Vec<u8>)>) {
        let xattrs = &mut self.inodes[node].metadata.xattrs;
        for (name, value) in before {
            if xattrs.iter().all(|(known, _)| *known != name) {
                xattrs.push((name, value));
            }
        }
    }

    /// Removes what is below `path` (and `path` itself if asked to) unless this layer brought it.
    fn clear(&mut self, path: &str, with_itself: bool) {
        let below = format!("{path}/");
        let upper = &self.upper;
        self.names.retain(|name, _| {
            let concerned = name.starts_with(&below) || (with_itself && name == path);
            !concerned || upper.contains(name)
        });
    }

    /// Applies an operation to model and layer, or leaves it out where it has no meaning.
    fn apply(&mut self, operation: &Operation, layer: &mut Layer) {
        let path = match operation {
            Operation::File { path, .. }
            | Operation::Directory { path, .. }
            | Operation::Symlink { path, .. }
            | Operation::Device { path, .. }
            | Operation::Fifo { path, .. }
            | Operation::HardLink { path, .. }
            | Operation::Whiteout { path }
            | Operation::Opaque { path } => path,
        };
        let parents: Vec<&str> = path.match_indices('/').map(|(at, _)| &path[..at]).collect();
        let within = matches!(operation, Operation::Opaque { .. }).then_some(path.as_str());
        let mut needed = parents.iter().copied().chain(within);
        if needed.any(|name| self.names.contains_key(name) && !self.is_directory(name)) {
            return;
        }
        let (kind, inode) = match operation {
            Operation::File { content, metadata, .. } => {
                let data = layer.content(content);
                (EntryKind::File(data), self.inode(0o100_000, content.clone(), metadata))
            }
            Operation::Directory { metadata, .. } => {
                (EntryKind::Directory, self.inode(DIRECTORY, Vec::new(), metadata))
            }
            Operation::Symlink { length, metadata, .. } => {
                let target = vec![b't'; *length];
                let metadata = Metadata { mode: 0o777, ..metadata.clone() };
                (EntryKind::Symlink(target.clone()), self.inode(0o120_000, target, &metadata))
            }
            Operation::Device { major, minor, metadata, .. } => {
                let number = (u64::from(*minor) & 0xff)
                    | (u64::from(*major) & 0xfff) << 8
                    | (u64::from(*minor) & !0xff) << 12;
                (
                    EntryKind::CharDevice { major: *major, minor: *minor },
                    self.inode(0o020_000, number.to_le_bytes().to_vec(), metadata),
                )
            }
            Operation::Fifo { metadata, .. } => {
                (EntryKind::Fifo, self.inode(0o010_000, Vec::new(), metadata))
            }
            Operation::HardLink { target, .. } => {
                let below = format!("{path}/");
                let Some(node) = self.names.get(target).copied() else { return };
                if self.is_directory(target) || target.starts_with(&below) {
                    return;
                }
                let header = Metadata { mode: 0o640, uid: 3, gid: 4, ..Metadata::default() };
                layer.add(path, EntryKind::HardLink(target.clone().into()), header.clone());
                if path == target {
                    self.mark(path);
                    return;
                }
                let placeholder = self.inodes[node].clone();
                self.make(path, placeholder);
                self.names.insert(path.clone(), node);
                let linked = &mut self.inodes[node];
                let mode = if linked.type_bits == 0o120_000 { 0o777 } else { header.mode };
                let xattrs = std::mem::take(&mut linked.metadata.xattrs);
                linked.metadata = Metadata { mode, xattrs, ..header };
                return;
            }
            Operation::Whiteout { path } => {
                let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
                layer.file(&format!("{parent}/.wh.{name}"), b"");
                self.make_parents(path);
                self.clear(path, true);
                return;
            }
            Operation::Opaque { path } => {
                layer.file(&format!("{path}/.wh..wh..opq"), b"");
                self.make_parents(&format!("{path}/"));
                self.clear(path, false);
                return;
            }
        };
        layer.add(path, kind, inode.metadata.clone());
        self.make(path, inode);
    }

    fn inode(&self, type_bits: u32, content: Vec<u8>, metadata: &Metadata) -> Inode {
        Inode { type_bits, content, metadata: metadata.clone() }
    }

    fn snapshot(&self) -> Snapshot {
        let mut first: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        let mut links: BTreeMap<usize, u64> = BTreeMap::new();
        let mut subdirectories: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, node) in &self.names {
            first.entry(*node).or_insert_with(|| name.clone().into_bytes());
            *links.entry(*node).or_default() += 1;
            if self.is_directory(name) {
                let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
                *subdirectories.entry(parent).or_default() += 1;
            }
        }
        let see = |name: &str, inode: &Inode, links: u64, same_as: Vec<u8>| Seen {
            mode: inode.type_bits | u32::from(inode.metadata.mode),
            uid: inode.metadata.uid,
            gid: inode.metadata.gid,
            mtime: (inode.metadata.mtime.secs, i64::from(inode.metadata.mtime.nanos)),
            links: if inode.type_bits == DIRECTORY {
                2 + subdirectories.get(name).copied().unwrap_or_default()
            } else {
                links
            },
            content: match inode.type_bits {
                DIRECTORY | 0o010_000 => vec![0; 8],
                _ => inode.content.clone(),
            },
            xattrs: inode.metadata.xattrs.iter().cloned().collect(),
            same_as,
        };
        let root_metadata = Metadata { mode: 0o755, ..Metadata::default() };
        let root = self.inode(DIRECTORY, Vec::new(), &root_metadata);
        let mut snapshot = Snapshot::from([(Vec::new(), see("", &root, 0, Vec::new()))]);
        for (name, node) in &self.names {
            let seen = see(name, &self.inodes[*node], links[node], first[node].clone());
            snapshot.insert(name.clone().into_bytes(), seen);
        }
        snapshot
    }
}

fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        8 => "[a-d]",
        1 => "[a-z]{3}",
        1 => Just("n".repeat(255)),
    ];
    prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
}

fn some_metadata(user_xattrs: bool) -> impl Strategy<Value = Metadata> {
    let name =
        if user_xattrs { "(user|trusted|security)\\.[a-z]{1,12}" } else { "trusted\\.[a-z]{1,9}" };
    let value = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..20),
        1 => prop::collection::vec(any::<u8>(), 0..1200),
    ];
    let xattrs = prop_oneof![
        3 => Just(BTreeMap::new()),
        1 => prop::collection::btree_map(name, value, 0..4),
    ];
    let time = prop_oneof![0..2_000_000_000i64, -2_000_000_000i64..15_000_000_000];
    (0..0o10_000u16, any::<u16>(), 0..4_000_000_000u32, time, 0..1_000_000_000u32, xattrs).prop_map(
        |(mode, uid, gid, secs, nanos, xattrs)| Metadata {
            mode,
            uid: u32::from(uid),
            gid,
            mtime: Timestamp { secs, nanos },
            xattrs: xattrs.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect(),
        },
    )
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let block = prop_oneof![Just(0u8), any::<u8>()];
    let blocks = prop_oneof![8 => 0..6usize, 1 => 6..60usize];
    (prop::collection::vec(block, 60), blocks, 0..4096usize).prop_map(|(fill, blocks, tail)| {
        let mut content: Vec<u8> =
            fill.iter().take(blocks).flat_map(|byte| [*byte; 4096]).collect();
        content.extend(std::iter::repeat_n(0x55, tail));
        content
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (path(), content(), some_metadata(true))
            .prop_map(|(path, content, metadata)| Operation::File { path, content, metadata }),
        3 => (path(), some_metadata(true))
            .prop_map(|(path, metadata)| Operation::Directory { path, metadata }),
        1 => (path(), 1..200usize, some_metadata(false))
            .prop_map(|(path, length, metadata)| Operation::Symlink { path, length, metadata }),
        1 => (path(), 0..4096u32, 0..1_048_576u32, some_metadata(false))
            .prop_map(|(path, major, minor, metadata)| Operation::Device { path, major, minor, metadata }),
        1 => (path(), some_metadata(false))
            .prop_map(|(path, metadata)| Operation::Fifo { path, metadata }),
        3 => (path(), path()).prop_map(|(path, target)| Operation::HardLink { path, target }),
        3 => path().prop_map(|path| Operation::Whiteout { path }),
        1 => path().prop_map(|path| Operation::Opaque { path }),
    ]
}

/// Few cases unless `PROPTEST_CASES` asks for more: each one runs `e2fsck` for every layer.
fn configuration() -> ProptestConfig {
    let configured = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { configured.cases } else { 48 };
    ProptestConfig { cases, max_shrink_iters: 200, failure_persistence: None, ..configured }
}

proptest! {
    #![proptest_config(configuration())]

    #[test]
    fn chains_of_layers_mean_what_the_model_says(
        layers in prop::collection::vec(prop::collection::vec(operation(), 0..40), 1..7),
    ) {
        let mut disk = Disk::new(256 << 20);
        let mut model = Model::default();
        for operations in &layers {
            let mut layer = Layer::default();
            model.upper.clear();
            for operation in operations {
                model.apply(operation, &mut layer);
            }
            disk.apply(&layer.entries, &layer.stream);
            disk.check();
        }
        if let Some(mounted) = disk.mount() {
            assert_same(&model.snapshot(), &take(mounted.root()));
        }
    }
}
