//! A tree as it can be compared.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Everything that is visible about one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: (i64, i64),
    pub(crate) links: u64,
    /// The content of a file, the target of a link, the number of a device.
    pub(crate) content: Vec<u8>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first name of the same inode, in byte order.
    pub(crate) same_as: Vec<u8>,
}

pub(crate) type Snapshot = BTreeMap<Vec<u8>, Seen>;

/// Walks a mounted tree; the root is the empty name. `lost+found` is left out.
pub(crate) fn take(root: &Path) -> Snapshot {
    let mut snapshot = Snapshot::new();
    let mut inodes: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut pending = vec![Vec::new()];
    let mut found = BTreeMap::new();
    while let Some(name) = pending.pop() {
        let path = root.join(OsStr::from_bytes(&name));
        let stat = std::fs::symlink_metadata(&path).expect("stat");
        if stat.is_dir() {
            for child in std::fs::read_dir(&path).expect("read directory") {
                let child = child.expect("entry").file_name().as_bytes().to_vec();
                let separator: &[u8] = if name.is_empty() { b"" } else { b"/" };
                let child = [&name, separator, &child].concat();
                if child != b"lost+found" {
                    pending.push(child);
                }
            }
        }
        found.insert(name, stat);
    }
    for (name, stat) in found {
        let path = root.join(OsStr::from_bytes(&name));
        let content = if stat.is_file() {
            std::fs::read(&path).expect("read")
        } else if stat.is_symlink() {
            std::fs::read_link(&path).expect("read link").as_os_str().as_bytes().to_vec()
        } else {
            stat.rdev().to_le_bytes().to_vec()
        };
        let same_as = inodes.entry(stat.ino()).or_insert_with(|| name.clone()).clone();
        let seen = Seen {
            mode: stat.mode(),
            uid: stat.uid(),
            gid: stat.gid(),
            mtime: (stat.mtime(), stat.mtime_nsec()),
            links: stat.nlink(),
            content,
            xattrs: xattrs(&path),
            same_as,
        };
        snapshot.insert(name, seen);
    }
    // The directory itself is not part of the layers.
    if let Some(root) = snapshot.get_mut(&b""[..]) {
        root.links -= 1;
    }
    snapshot
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 1 << 16];
    let length = rustix::fs::llistxattr(path, &mut names[..]).expect("list attributes");
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 1 << 16];
        let name = OsStr::from_bytes(name);
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]);
        let length = length.unwrap_or_else(|error| panic!("{name:?} of {path:?}: {error}"));
        value[..length].to_vec()
    };
    names.map(|name| (name.to_vec(), value(name))).collect()
}

/// Fails with the first names that differ.
pub(crate) fn assert_same(expected: &Snapshot, found: &Snapshot) {
    let names: std::collections::BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let mut differences = Vec::new();
    for name in names {
        let (expected, found) = (expected.get(name), found.get(name));
        if expected != found {
            let name = String::from_utf8_lossy(name);
            differences.push(format!("{name}:\n  expected {expected:?}\n  found    {found:?}"));
        }
    }
    let shown: Vec<_> = differences
        .iter()
        .take(5)
        .map(|difference| difference.chars().take(2000).collect::<String>())
        .collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), shown.join("\n"));
}
