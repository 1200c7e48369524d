//! File systems that `mke2fs` makes are read to the byte, whatever their features.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use berth_formats::ext4::reader::{Ext4Reader, FileType, ROOT_INODE};
use berth_formats::read_at::FileAt;

/// What one name is: type, mode, owner, seconds of change, links, size, target, content.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    file_type: FileType,
    mode: u32,
    owner: (u32, u32),
    mtime: i64,
    links: u64,
    target: Vec<u8>,
    content: Vec<u8>,
}

/// A tree with a directory of several thousand names, sparse and large files, links of both kinds.
fn populate(root: &Path) {
    let write = |name: &str, bytes: &[u8]| fs::write(root.join(name), bytes).expect(name);
    fs::create_dir_all(root.join("large/deep/er")).expect("folders");
    for number in 0..3000 {
        let name = format!("large/a name of some length {number:05}");
        write(&name, if number % 100 == 0 { name.as_bytes() } else { b"" });
    }
    let noise: Vec<u8> =
        (0..700_000_u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    write("noise", &noise);
    let sparse = fs::File::create(root.join("sparse")).expect("a file");
    for at in (0..40_u64).map(|number| number * 100_000) {
        sparse.write_all_at(b"island", at).expect("a file");
    }
    sparse.set_len(5_000_001).expect("a file");
    symlink("short", root.join("fast")).expect("a link");
    symlink("x/".repeat(400), root.join("slow")).expect("a link");
    symlink("../../../large/deep", root.join("large/deep/er/up")).expect("a link");
    fs::hard_link(root.join("noise"), root.join("large/deep/same")).expect("a link");
    fs::set_permissions(root.join("noise"), fs::Permissions::from_mode(0o4751)).expect("a mode");
}

fn expected(root: &Path, path: &Path, out: &mut BTreeMap<Vec<u8>, Seen>) {
    for entry in fs::read_dir(path).expect("a folder") {
        let entry = entry.expect("an entry").path();
        let metadata = fs::symlink_metadata(&entry).expect("an entry");
        let file_type = match metadata.file_type() {
            kind if kind.is_dir() => FileType::Directory,
            kind if kind.is_symlink() => FileType::Symlink,
            _ => FileType::File,
        };
        let mut seen = Seen {
            file_type,
            mode: metadata.mode() & 0o7777,
            owner: (metadata.uid(), metadata.gid()),
            mtime: metadata.mtime(),
            links: metadata.nlink(),
            target: Vec::new(),
            content: Vec::new(),
        };
        match file_type {
            FileType::Symlink => {
                let target = fs::read_link(&entry).expect("a link");
                seen.target = target.into_os_string().into_encoded_bytes();
            }
            FileType::Directory => {
                // Some file systems do not count links of directories.
                let inside = fs::read_dir(&entry).expect("a folder");
                let folders = inside.flatten().filter(|inner| inner.path().is_dir());
                let real = folders.filter(|inner| !inner.path().is_symlink()).count();
                seen.links = 2 + real as u64;
                expected(root, &entry, out);
            }
            _ => seen.content = fs::read(&entry).expect("a file"),
        }
        let name = entry.strip_prefix(root).expect("below the root").as_os_str();
        out.insert(name.as_encoded_bytes().to_vec(), seen);
    }
}

fn found(reader: &Ext4Reader<FileAt>, number: u32, path: &[u8], out: &mut BTreeMap<Vec<u8>, Seen>) {
    let directory = reader.inode(number).expect("a directory");
    for entry in reader.read_directory(&directory).expect("a directory") {
        if path.is_empty() && entry.name == b"lost+found" {
            continue;
        }
        let separator: &[u8] = if path.is_empty() { b"" } else { b"/" };
        let path = [path, separator, &entry.name].concat();
        let inode = reader.inode(entry.inode).expect("an inode");
        assert_eq!(entry.file_type.unwrap_or(inode.file_type), inode.file_type);
        let mut seen = Seen {
            file_type: inode.file_type,
            mode: u32::from(inode.mode),
            owner: (inode.uid, inode.gid),
            mtime: inode.mtime.secs,
            links: u64::from(inode.links),
            target: Vec::new(),
            content: Vec::new(),
        };
        match inode.file_type {
            FileType::Symlink => seen.target = reader.read_link(&inode).expect("a link"),
            FileType::Directory => found(reader, entry.inode, &path, out),
            _ => {
                let mut content = reader.content(&inode).expect("its map");
                content.read_to_end(&mut seen.content).expect("its content");
            }
        }
        out.insert(path, seen);
    }
}

fn run(program: &str, arguments: &[&str], accepted: i32) {
    let output = Command::new(program).args(arguments).output();
    let output = output.expect("e2fsprogs must be installed (Debian: e2fsprogs)");
    let code = output.status.code().expect("it ended by itself");
    assert!(code <= accepted, "{program} {arguments:?}: {output:?}");
}

#[test]
fn every_feature_of_mke2fs_is_read() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let root = folder.path().join("root");
    fs::create_dir(&root).expect("a folder");
    populate(&root);
    let mut source = BTreeMap::new();
    expected(&root, &root, &mut source);
    let root_text = root.to_str().expect("a plain path");
    let image = folder.path().join("image");
    let image_text = image.to_str().expect("a plain path");
    for features in [
        "-t ext4",
        "-t ext4 -b 1024 -O ^64bit,ea_inode",
        "-t ext4 -b 2048 -O metadata_csum,64bit -I 512",
        "-t ext4 -O ^extents,^64bit",
        "-t ext2 -b 1024 -I 128",
        "-t ext2 -O ^filetype",
    ] {
        let _ = fs::remove_file(&image);
        let mut arguments: Vec<&str> = features.split(' ').collect();
        arguments.extend(["-q", "-F", "-N", "8000", "-d", root_text, image_text, "48M"]);
        run("mke2fs", &arguments, 0);
        // Makes hashed directories of those that are large.
        run("e2fsck", &["-fyD", image_text], 1);
        let file = fs::File::open(&image).expect("the image");
        let reader = Ext4Reader::open(FileAt::new(file).expect("its length")).expect(features);
        let mut tree = BTreeMap::new();
        found(&reader, ROOT_INODE, b"", &mut tree);
        assert!(tree.keys().eq(source.keys()), "{features}: other names");
        for (path, seen) in &tree {
            let path_text = String::from_utf8_lossy(path);
            assert!(Some(seen) == source.get(path), "{features}: {path_text}");
        }
        let inode = reader.lookup(b"/large/deep/er/up/../../noise", true).expect("through a link");
        assert_eq!((inode.file_type, inode.links), (FileType::File, 2));
        assert!(reader.lookup(b"/large/nothing", true).is_err());
        assert_eq!(reader.lookup(b"fast", false).expect("itself").file_type, FileType::Symlink);
    }
}
