//! Sizes that change how things are stored: fragments, many names, many links, many files.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use berth_formats::ext4::{Geometry, Image};
use berth_formats::layer::{EntryKind, FileData, Segment};

use crate::disk::Disk;
use crate::layers::{Layer, metadata};

const GIB: u64 = 1 << 30;

/// A file of scattered blocks, all of which are the stream's first block.
fn scattered(blocks: u64, distance: u64) -> FileData {
    let segment = |number| Segment { file_offset: number * distance, len: 4096, stream_offset: 0 };
    FileData { size: blocks * distance, segments: (0..blocks).map(segment).collect() }
}

#[test]
fn extent_trees_of_every_depth() {
    let mut layer = Layer { stream: vec![0x5a; 4096], ..Layer::default() };
    for blocks in [1, 4, 5, 340, 341, 4 * 340, 4 * 340 + 1, 200_000] {
        let data = scattered(blocks, 8192);
        layer.add(&format!("f{blocks}"), EntryKind::File(data), metadata(0o644));
    }
    let far = FileData {
        size: 15 << 40,
        segments: vec![Segment { file_offset: (15 << 40) - 8192, len: 4096, stream_offset: 0 }],
    };
    layer.add("far", EntryKind::File(far), metadata(0o644));
    let mut disk = Disk::new(4 * GIB);
    disk.apply(&layer.entries, &layer.stream);
    disk.check();
    if let Some(mounted) = disk.mount() {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::open(mounted.root().join("f200000")).expect("open");
        for number in [0, 1000, 199_999] {
            let mut pair = [1; 8192];
            file.read_exact_at(&mut pair, number * 8192).expect("read");
            assert!(pair[..4096] == [0x5a; 4096] && pair[4096..] == [0; 4096], "block {number}");
        }
        let far = std::fs::File::open(mounted.root().join("far")).expect("open");
        let mut block = [0; 4096];
        far.read_exact_at(&mut block, (15 << 40) - 8192).expect("read");
        assert!(block == [0x5a; 4096]);
    }
    let mut gone = Layer::default();
    gone.file(".wh.f200000", b"");
    disk.apply(&gone.entries, &gone.stream);
    disk.check();
}

#[test]
fn files_of_several_gib_fill_groups_and_give_them_back() {
    let whole = |size: u64| FileData {
        size,
        segments: vec![Segment { file_offset: 0, len: size, stream_offset: 0 }],
    };
    let mut image = Image::new(Geometry { virtual_size: 16 * GIB }).expect("image");
    let mut layer = Layer::default();
    layer.add("five", EntryKind::File(whole(5 * GIB + 1)), metadata(0o644));
    let placement = image.apply(&layer.entries).expect("apply");
    let sectors: u64 = placement.data.iter().map(|extent| extent.sectors).sum();
    assert_eq!(sectors, 10 * (1 << 20) + 1);
    assert!(placement.data.len() < 50, "{} pieces", placement.data.len());
    let mut more = Layer::default();
    more.add("more", EntryKind::File(whole(12 * GIB)), metadata(0o644));
    let full = image.clone().apply(&more.entries).expect_err("too large").to_string();
    assert_eq!(full, "virtual disk of 17179869184 bytes is full at \"/more\"");
    more.file(".wh.five", b"");
    let placement = image.apply(&more.entries).expect("fits now");
    assert!(placement.zeroed.len() < 20);
}

#[test]
fn a_directory_of_many_names_works_through_layers() {
    let mut layer = Layer::default();
    layer.directory("D");
    for number in 0..60_000 {
        layer.add(&format!("D/file-{number:07}"), EntryKind::Fifo, metadata(0o644));
    }
    let mut disk = Disk::new(64 * GIB);
    let started = Instant::now();
    disk.apply(&layer.entries, &layer.stream);
    println_time("60,000 names", started);
    assert!(started.elapsed() < Duration::from_secs(5));
    disk.check();
    let mut second = Layer::default();
    second.add("D/one-more", EntryKind::Fifo, metadata(0o600));
    let written = disk.apply(&second.entries, &second.stream);
    assert!(written.metadata_blocks <= 10, "{}", written.metadata_blocks);
    disk.check();
    let mut third = Layer::default();
    for number in (0..60_000).step_by(3) {
        third.file(&format!("D/.wh.file-{number:07}"), b"");
    }
    for number in 0..9_000 {
        let name = format!("D/{}-{number}", "long".repeat(20));
        third.add(&name, EntryKind::Fifo, metadata(0o644));
    }
    disk.apply(&third.entries, &third.stream);
    disk.check();
    let Some(mounted) = disk.mount() else { return };
    let directory = mounted.root().join("D");
    assert_eq!(std::fs::read_dir(&directory).expect("read").count(), 40_000 + 1 + 9_000);
    assert_eq!(std::fs::metadata(directory.join("one-more")).expect("found").mode() & 0o777, 0o600);
    for number in [1, 2, 31_000, 59_999] {
        let name = format!("file-{number:07}");
        assert_eq!(directory.join(&name).exists(), number % 3 != 0, "{name}");
    }
    assert!(!directory.join("file-0000003").exists());
    assert!(directory.join(format!("{}-8999", "long".repeat(20))).exists());
    drop(mounted);
    let dump = disk.debug("htree_dump /D");
    assert!(dump.contains("Indirect levels: 1"), "{}", &dump[..dump.len().min(500)]);
}

#[test]
fn the_kernel_may_write_to_the_result() {
    let mut layer = Layer::default();
    for number in 0..3_000 {
        layer.file(&format!("D/file-{number}"), b"content");
        layer.file(&format!("small-{}/file", number % 7), b"content");
    }
    let mut disk = Disk::new(64 * GIB);
    disk.apply(&layer.entries, &layer.stream);
    let Some(mounted) = disk.mount_writable() else { return };
    let directory = mounted.root().join("D");
    for number in 0..3_000 {
        std::fs::write(directory.join(format!("new-{number}")), b"by the kernel").expect("write");
        if number % 2 == 0 {
            std::fs::remove_file(directory.join(format!("file-{number}"))).expect("remove");
        }
    }
    std::fs::create_dir(mounted.root().join("made")).expect("create");
    // Into groups whose bitmaps were never written.
    let large = std::fs::File::create(mounted.root().join("large")).expect("create");
    rustix::fs::fallocate(&large, rustix::fs::FallocateFlags::empty(), 0, GIB).expect("allocate");
    drop(large);
    drop(mounted);
    disk.check();
}

#[test]
fn the_same_chain_gives_the_same_bytes() {
    let mut lower = Layer::default();
    for number in 0..500 {
        lower.file(&format!("d{}/file-{number}", number % 9), &vec![1; number * 37]);
    }
    let mut upper = Layer::default();
    for number in (0..500).step_by(3) {
        upper.file(&format!("d{}/file-{number}", number % 9), &vec![2; number * 50]);
        upper.file(&format!("d{}/.wh.file-{}", (number + 1) % 9, number + 1), b"");
    }
    let place = || {
        let mut image = Image::new(Geometry::default()).expect("image");
        let first = image.apply(&lower.entries).expect("apply");
        (first, image.apply(&upper.entries).expect("apply"))
    };
    assert!(place() == place());
}

#[test]
fn an_index_of_two_levels() {
    let name = |number: u32| format!("D/{}{number}", "n".repeat(220));
    let mut layer = Layer::default();
    for number in 0..9_000 {
        layer.add(&name(number), EntryKind::Fifo, metadata(0o644));
    }
    let mut disk = Disk::new(64 * GIB);
    let small = {
        let mut small = layer.clone();
        small.entries.entries.truncate(5_000);
        small
    };
    disk.apply(&small.entries, &small.stream);
    disk.check();
    disk.apply(&layer.entries, &layer.stream);
    disk.check();
    let mut more = Layer::default();
    for number in 9_000..60_000 {
        more.add(&name(number), EntryKind::Fifo, metadata(0o644));
    }
    disk.apply(&more.entries, &more.stream);
    disk.check();
    let dump = disk.debug("htree_dump /D");
    assert!(dump.contains("Indirect levels: 1"), "{}", &dump[..dump.len().min(500)]);
    let Some(mounted) = disk.mount() else { return };
    for number in (0..60_000).step_by(701) {
        assert!(mounted.root().join(name(number)).symlink_metadata().is_ok(), "{number}");
    }
    assert!(!mounted.root().join(name(60_000)).exists());
    assert_eq!(std::fs::read_dir(mounted.root().join("D")).expect("read").count(), 60_000);
}

#[test]
fn more_subdirectories_than_a_link_count_holds() {
    let mut layer = Layer::default();
    for number in 0..65_010 {
        layer.directory(&format!("D/{number}"));
    }
    let mut disk = Disk::new(64 * GIB);
    disk.apply(&layer.entries, &layer.stream);
    disk.check();
    if let Some(mounted) = disk.mount() {
        assert_eq!(std::fs::metadata(mounted.root().join("D")).expect("stat").nlink(), 1);
    }
    let mut fewer = Layer::default();
    for number in 0..20 {
        fewer.file(&format!("D/.wh.{number}"), b"");
    }
    disk.apply(&fewer.entries, &fewer.stream);
    disk.check();
}

#[test]
fn too_many_hard_links_are_refused() {
    let mut layer = Layer::default();
    layer.file("f", b"x");
    for number in 1..65_001 {
        layer.add(&format!("l{number}"), EntryKind::HardLink(b"f".to_vec()), metadata(0));
    }
    let mut image = Image::new(Geometry::default()).expect("image");
    let error = image.apply(&layer.entries).expect_err("too many").to_string();
    assert!(error.contains("65001 hard links"), "{error}");
}

#[test]
fn a_hundred_thousand_files_take_no_time() {
    let mut layer = Layer { stream: vec![1; 4096], ..Layer::default() };
    for directory in 0..1_000 {
        layer.directory(&format!("node_modules/package-{directory}"));
        for file in 0..100 {
            let data = FileData {
                size: 1000,
                segments: vec![Segment { file_offset: 0, len: 1000, stream_offset: 0 }],
            };
            let name = format!("node_modules/package-{directory}/file-{file}.js");
            layer.add(&name, EntryKind::File(data), metadata(0o644));
        }
    }
    let mut disk = Disk::new(64 * GIB);
    let started = Instant::now();
    let placement = disk.image.apply(&layer.entries).expect("apply");
    println_time("100,000 files", started);
    assert!(started.elapsed() < Duration::from_secs(5));
    disk.write(&placement, &layer.stream);
    disk.check();
    let started = Instant::now();
    let mut gone = Layer::default();
    gone.file(".wh.node_modules", b"");
    disk.apply(&gone.entries, &[]);
    assert!(started.elapsed() < Duration::from_secs(5));
    disk.check();
}

/// Shown with `--nocapture`.
fn println_time(what: &str, started: Instant) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{what}: {:?}", started.elapsed());
}
