//! First things: an image of each entry type passes `e2fsck` and mounts.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use berth_formats::layer::{EntryKind, Metadata, Timestamp};

use crate::disk::Disk;
use crate::layers::{Layer, metadata};

const GIB: u64 = 1 << 30;

#[test]
fn an_empty_layer_makes_an_empty_file_system() {
    let mut disk = Disk::new(64 * GIB);
    let written = disk.apply(&Layer::default().entries, &[]);
    assert!(written.metadata_blocks < 24, "{}", written.metadata_blocks);
    assert_eq!(written.placement.metadata[0].0, 0);
    disk.check();
    if let Some(mounted) = disk.mount() {
        let names: Vec<_> = std::fs::read_dir(mounted.root()).expect("read").collect();
        assert_eq!(names.len(), 1);
    }
}

#[test]
fn every_type_of_entry_arrives() {
    let mut layer = Layer::default();
    layer.directory("etc");
    layer.file("etc/motd", b"hello\n");
    layer.file("empty", b"");
    let large: Vec<u8> = (0..3_000_000u32).flat_map(|i| (i % 251).to_le_bytes()).collect();
    layer.file("large", &large);
    layer.add("short", EntryKind::Symlink(b"etc/motd".to_vec()), metadata(0o777));
    layer.add("long", EntryKind::Symlink(vec![b'x'; 300]), metadata(0o777));
    layer.add("hard", EntryKind::HardLink(b"etc/motd".to_vec()), metadata(0o644));
    layer.add("null", EntryKind::CharDevice { major: 1, minor: 3 }, metadata(0o666));
    layer.add("disk", EntryKind::BlockDevice { major: 259, minor: 70_000 }, metadata(0o660));
    layer.add("pipe", EntryKind::Fifo, metadata(0o4711));
    let mut odd = Metadata { uid: 3_000_000, gid: 4_000_000, ..metadata(0o6755) };
    odd.mtime = Timestamp { secs: 5_000_000_000, nanos: 123_456_789 };
    let content = layer.content(b"x");
    layer.add("odd", EntryKind::File(content), odd);
    let old = Metadata { mtime: Timestamp { secs: -100, nanos: 5 }, ..metadata(0o600) };
    layer.add("old", EntryKind::Fifo, old);
    let mut disk = Disk::new(64 * GIB);
    disk.apply(&layer.entries, &layer.stream);
    disk.check();
    let Some(mounted) = disk.mount() else { return };
    let at = |path: &str| mounted.root().join(path);
    let stat = |path: &str| std::fs::symlink_metadata(at(path)).expect("stat");
    assert_eq!(std::fs::read(at("etc/motd")).expect("read"), b"hello\n");
    assert!(std::fs::read(at("large")).expect("read") == large);
    assert_eq!(std::fs::read_link(at("short")).expect("link").as_os_str(), "etc/motd");
    assert_eq!(std::fs::read_link(at("long")).expect("link").as_os_str().len(), 300);
    assert_eq!((stat("hard").nlink(), stat("hard").ino()), (2, stat("etc/motd").ino()));
    assert!(stat("null").file_type().is_char_device());
    assert_eq!(stat("null").rdev(), 0x103);
    assert_eq!(
        (stat("disk").rdev() >> 8 & 0xfff, stat("disk").rdev() & 0xff),
        (259, 70_000 & 0xff)
    );
    assert!(stat("pipe").file_type().is_fifo());
    assert_eq!(stat("pipe").mode(), 0o014_711);
    assert_eq!((stat("odd").uid(), stat("odd").gid()), (3_000_000, 4_000_000));
    assert_eq!((stat("odd").mtime(), stat("odd").mtime_nsec()), (5_000_000_000, 123_456_789));
    assert_eq!((stat("old").mtime(), stat("old").mtime_nsec()), (-100, 5));
}

#[test]
fn a_layer_of_one_file_touches_about_ten_blocks() {
    let mut disk = Disk::new(64 * GIB);
    let mut base = Layer::default();
    for directory in 0..50 {
        base.directory(&format!("d{directory}"));
        for file in 0..200 {
            base.file(&format!("d{directory}/file-{file}"), b"content");
        }
    }
    disk.apply(&base.entries, &base.stream);
    disk.check();
    let mut one = Layer::default();
    one.file("d7/new", b"new");
    let written = disk.apply(&one.entries, &one.stream);
    assert!(written.metadata_blocks <= 8, "{}", written.metadata_blocks);
    disk.check();
    let mut replaced = Layer::default();
    replaced.file("d9/file-3", b"other");
    let written = disk.apply(&replaced.entries, &replaced.stream);
    assert!(written.metadata_blocks <= 9, "{}", written.metadata_blocks);
    disk.check();
    let written = disk.apply(&Layer::default().entries, &[]);
    assert!(written.metadata_blocks <= 1, "{}", written.metadata_blocks);
    disk.check();
}
