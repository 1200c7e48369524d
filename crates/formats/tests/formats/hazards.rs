//! Archives that other converters get wrong, from bytes to mounted tree.

use std::os::unix::fs::MetadataExt;

use crate::archive::{Archive, GNU, Header};
use crate::disk::{Disk, Mounted};
use crate::layers::Layer;
use crate::snapshot;

fn mounted(archives: &[&Archive]) -> Option<(Disk, Mounted)> {
    let mut disk = Disk::new(256 << 20);
    for archive in archives {
        let layer = Layer::from_tar(&archive.end());
        disk.apply(&layer.entries, &layer.stream);
        disk.check();
    }
    let mounted = disk.mount()?;
    Some((disk, mounted))
}

#[test]
fn owners_times_and_targets_are_kept_exactly() {
    let mut archive = Archive::default();
    archive.add(
        &Header { name: b"gnu", uid: 3_000_000, gid: 4_000_000, magic: GNU, ..Header::default() },
        b"",
    );
    archive.extended(b'x', &[("uid", b"3000000"), ("mtime", b"1700000000.123456789")]);
    archive.file("pax", b"x");
    archive.add(&Header { name: b"old", mtime: -100, magic: GNU, ..Header::default() }, b"");
    archive.extended(b'x', &[("mtime", b"5000000000")]).file("late", b"");
    archive.symlink("s1", "../d/./b//c/").symlink("s2", "./x").symlink("s3", "foo/../../bar");
    let Some((_disk, mounted)) = mounted(&[&archive]) else { return };
    let at = |name: &str| mounted.root().join(name);
    let stat = |name: &str| std::fs::symlink_metadata(at(name)).expect("stat");
    assert_eq!((stat("gnu").uid(), stat("gnu").gid()), (3_000_000, 4_000_000));
    assert_eq!((stat("pax").uid(), stat("pax").mtime_nsec()), (3_000_000, 123_456_789));
    assert_eq!((stat("old").mtime(), stat("late").mtime()), (-100, 5_000_000_000));
    let target = |name: &str| std::fs::read_link(at(name)).expect("link").into_os_string();
    assert_eq!(target("s1"), "../d/./b//c/");
    assert_eq!(target("s2"), "./x");
    assert_eq!(target("s3"), "foo/../../bar");
}

#[test]
fn a_directory_keeps_its_time_when_its_children_change() {
    let mut lower = Archive::default();
    lower.add(
        &Header { name: b"d/", flag: b'5', mode: 0o755, mtime: 1000, ..Header::default() },
        b"",
    );
    lower.file("d/a", b"1");
    let mut upper = Archive::default();
    upper.file("d/b", b"2").file("d/.wh.a", b"");
    let Some((_disk, mounted)) = mounted(&[&lower, &upper]) else { return };
    let stat = std::fs::metadata(mounted.root().join("d")).expect("stat");
    assert_eq!((stat.mtime(), stat.mode()), (1000, 0o040_755));
    assert!(!mounted.root().join("d/a").exists());
}

#[test]
fn attributes_of_a_directory_are_replaced_with_its_entry() {
    let directory = Header { name: b"d", flag: b'5', mode: 0o700, ..Header::default() };
    let mut lower = Archive::default();
    lower.extended(b'x', &[("SCHILY.xattr.user.old", b"1")]).add(&directory, b"");
    let mut upper = Archive::default();
    upper.extended(b'x', &[("SCHILY.xattr.user.new", b"2")]).add(&directory, b"");
    let Some((_disk, mounted)) = mounted(&[&lower, &upper]) else { return };
    let seen = &snapshot::take(mounted.root())[&b"d"[..]];
    assert_eq!(seen.xattrs.keys().collect::<Vec<_>>(), [b"user.new"]);
}

#[test]
fn sparse_files_read_as_they_should() {
    let mut archive = Archive::default();
    let regions: Vec<(u64, Vec<u8>)> =
        (0..50u8).map(|i| (u64::from(i) * 100_000 + 37, vec![i + 1; 700])).collect();
    let map: Vec<String> =
        regions.iter().map(|(offset, data)| format!("{offset},{}", data.len())).collect();
    archive.extended(
        b'x',
        &[("GNU.sparse.size", b"6000000"), ("GNU.sparse.map", map.join(",").as_bytes())],
    );
    let stored: Vec<u8> = regions.iter().flat_map(|(_, data)| data.clone()).collect();
    archive.file("sparse", &stored);
    let Some((_disk, mounted)) = mounted(&[&archive]) else { return };
    let mut expected = vec![0; 6_000_000];
    for (offset, data) in &regions {
        let at = usize::try_from(*offset).expect("offset");
        expected[at..at + data.len()].copy_from_slice(data);
    }
    let path = mounted.root().join("sparse");
    assert!(std::fs::read(&path).expect("read") == expected);
    let stat = std::fs::metadata(&path).expect("stat");
    assert!(stat.blocks() * 512 < 1_000_000, "{} sectors", stat.blocks());
}

#[test]
fn stale_bytes_of_removed_files_never_show() {
    let mut lower = Archive::default();
    for number in 0..40 {
        lower.file(&format!("f{number}"), &[0xff; 20_000]);
    }
    let mut second = Archive::default();
    for number in 0..40 {
        second.file(&format!(".wh.f{number}"), b"");
        second.file(&format!("g{number}"), &vec![0x11; 4096 * 2 + 600 + number]);
    }
    let mut third = Archive::default();
    third.file("h", &[0x22; 1]);
    for number in 0..40 {
        third.directory(&format!("d{number}")).symlink(&format!("s{number}"), &"t".repeat(100));
    }
    let Some((disk, mounted)) = mounted(&[&lower, &second, &third]) else { return };
    let content = std::fs::read(mounted.root().join("g3")).expect("read");
    assert!(content == vec![0x11; 4096 * 2 + 603]);
    // What the page cache maps behind the end of a file is the raw block's tail.
    let blocks = disk.debug("blocks /g3");
    let last: u64 = blocks.split_whitespace().last().and_then(|b| b.parse().ok()).expect("block");
    let raw = std::fs::read(disk.path()).expect("disk");
    let start = usize::try_from(last * 4096).expect("offset");
    assert!(raw[start + 603..start + 4096].iter().all(|byte| *byte == 0));
}

#[test]
fn long_names_and_deep_paths() {
    let long = "n".repeat(255);
    let deep = format!("{}/f", vec!["p".repeat(200); 6].join("/"));
    let mut archive = Archive::default();
    archive.extended(b'x', &[("path", long.as_bytes())]).file("n", b"x");
    archive.extended(b'x', &[("path", deep.as_bytes())]).file("p", b"deep");
    let Some((_disk, mounted)) = mounted(&[&archive]) else { return };
    assert_eq!(std::fs::read(mounted.root().join(&long)).expect("read"), b"x");
    assert_eq!(std::fs::read(mounted.root().join(&deep)).expect("read"), b"deep");
}
