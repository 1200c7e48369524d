//! Extended attributes of all sizes and the kinds that ext4 stores in its own way.

use std::collections::BTreeMap;

use berth_formats::layer::{EntryKind, Metadata};

use crate::disk::Disk;
use crate::layers::{Layer, metadata};
use crate::snapshot;

fn with(xattrs: &[(&str, Vec<u8>)]) -> Metadata {
    let xattrs =
        xattrs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.clone())).collect();
    Metadata { xattrs, ..metadata(0o670) }
}

fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    value
}

/// `cap_net_raw+ep`, version 2.
fn capability() -> Vec<u8> {
    [&[1, 0, 0, 2, 0, 0x20][..], &[0; 14]].concat()
}

#[test]
fn attributes_of_all_sizes_arrive() {
    let none = u32::MAX;
    let access =
        acl(&[(1, 6, none), (2, 7, 1000), (4, 5, none), (8, 4, 77), (16, 7, none), (32, 0, none)]);
    let cases: Vec<(&str, Metadata)> = vec![
        ("small", with(&[("user.a", b"1".to_vec()), ("user.empty", Vec::new())])),
        ("capability", with(&[("security.capability", capability())])),
        ("body-full", with(&[("user.b", vec![b'x'; 64])])),
        ("body-over", with(&[("user.b", vec![b'x'; 72])])),
        ("block", with(&[("user.c", vec![b'y'; 3500]), ("trusted.t", vec![0; 200])])),
        ("full", with(&[("user.d", vec![b'z'; 4040])])),
        ("many", {
            let names: Vec<String> = (0..60).map(|i| format!("user.name-{i:03}")).collect();
            let pairs: Vec<(&str, Vec<u8>)> =
                names.iter().map(|name| (name.as_str(), name.as_bytes().to_vec())).collect();
            with(&pairs)
        }),
        ("bytes", with(&[("user.\u{e9}\u{fc}\u{4e2d}", b"\xff\xfe".to_vec())])),
        ("acl", with(&[("system.posix_acl_access", access.clone())])),
    ];
    let mut layer = Layer::default();
    for (name, metadata) in &cases {
        let data = layer.content(b"x");
        layer.add(name, EntryKind::File(data), metadata.clone());
    }
    let mut directory = with(&[
        ("system.posix_acl_access", access.clone()),
        ("system.posix_acl_default", access),
        ("user.more", vec![7; 500]),
    ]);
    directory.mode = 0o2770;
    layer.add("directory", EntryKind::Directory, directory.clone());
    let mut disk = Disk::new(256 << 20);
    disk.apply(&layer.entries, &layer.stream);
    disk.check();
    // Attributes that go away give their block back; ones that come need a new one.
    let mut second = Layer::default();
    second.add("directory", EntryKind::Directory, with(&[]));
    disk.apply(&second.entries, &second.stream);
    disk.check();
    let mut third = Layer::default();
    third.add("directory", EntryKind::Directory, directory.clone());
    disk.apply(&third.entries, &third.stream);
    disk.check();
    let Some(mounted) = disk.mount() else { return };
    let found = snapshot::take(mounted.root());
    let directory = [("directory", directory)];
    for (name, metadata) in cases.iter().chain(&directory) {
        let expected: BTreeMap<_, _> = metadata.xattrs.iter().cloned().collect();
        assert_eq!(found[name.as_bytes()].xattrs, expected, "{name}");
    }
}

#[test]
fn values_larger_than_a_block_have_inodes_of_their_own() {
    let large = with(&[
        ("user.large", (0..65_536u32).map(|i| (i % 253).to_le_bytes()[0]).collect()),
        ("user.medium", vec![b'm'; 5000]),
        ("user.small", b"s".to_vec()),
        ("trusted.fits", vec![b'f'; 3000]),
    ]);
    let mut layer = Layer::default();
    let data = layer.content(b"content");
    layer.add("file", EntryKind::File(data), large.clone());
    layer.add("directory", EntryKind::Directory, large.clone());
    layer.add("gone", EntryKind::Fifo, with(&[("user.v", vec![1; 5000])]));
    let mut disk = Disk::new(256 << 20);
    disk.apply(&layer.entries, &layer.stream);
    disk.check();
    let mut second = Layer::default();
    second.file(".wh.gone", b"");
    second.add("more", EntryKind::HardLink(b"file".to_vec()), metadata(0));
    second.add("directory", EntryKind::Directory, with(&[("user.other", vec![2; 9000])]));
    disk.apply(&second.entries, &second.stream);
    disk.check();
    if let Some(mounted) = disk.mount() {
        let found = snapshot::take(mounted.root());
        let expected: BTreeMap<_, _> = large.xattrs.iter().cloned().collect();
        assert_eq!(found[&b"more"[..]].xattrs, expected);
        assert_eq!(found[&b"directory"[..]].xattrs[&b"user.other"[..]], vec![2; 9000]);
    }
    let mut third = Layer::default();
    third.file(".wh.directory", b"");
    third.file(".wh.file", b"");
    third.file(".wh.more", b"");
    disk.apply(&third.entries, &third.stream);
    disk.check();
}

#[test]
fn attributes_that_ext4_cannot_hold_are_named() {
    let refuse = |name: &str, value: Vec<u8>| {
        let mut layer = Layer::default();
        layer.add("some/file", EntryKind::Fifo, with(&[(name, value)]));
        let mut disk = Disk::new(256 << 20);
        disk.image.apply(&layer.entries).expect_err("must be refused").to_string()
    };
    assert_eq!(
        refuse("system.unknown", vec![1]),
        "\"/some/file\": ext4 cannot hold an attribute named \"system.unknown\""
    );
    let message = refuse("system.posix_acl_access", vec![1, 2]);
    assert!(message.contains("not an access control list"), "{message}");
}
