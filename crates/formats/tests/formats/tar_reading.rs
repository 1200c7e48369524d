//! Archives of all dialects, whole and broken.

use std::io::Read;

use berth_formats::layer::{EntryKind, LayerEntry, Timestamp};
use berth_formats::tar::{SparseRegion, TarError, TarFile, TarReader};

use proptest::prelude::*;

use crate::archive::{Archive, GNU, Header, seal};

type Read1 = (LayerEntry<TarFile>, Vec<u8>);

fn read(archive: &[u8]) -> Result<Vec<Read1>, TarError> {
    let mut reader = TarReader::new(archive);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut data = Vec::new();
        match reader.read_to_end(&mut data) {
            Ok(_) => entries.push((entry, data)),
            Err(_) => return Err(reader.next_entry().expect_err("cut off")),
        }
    }
    Ok(entries)
}

fn one(archive: &Archive) -> Read1 {
    let mut entries = read(&archive.end()).expect("readable");
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

fn message(archive: &[u8]) -> String {
    read(archive).expect_err("must be refused").to_string()
}

#[test]
fn numbers_come_octal_and_base_256() {
    let mut archive = Archive::default();
    let header = Header {
        name: b"f",
        uid: 3_000_000,
        gid: -2,
        mtime: -100,
        magic: GNU,
        ..Header::default()
    };
    let (entry, _) = one(archive.add(&header, b""));
    assert_eq!((entry.metadata.uid, entry.metadata.gid), (3_000_000, u32::MAX - 1));
    assert_eq!(entry.metadata.mtime, Timestamp { secs: -100, nanos: 0 });
}

#[test]
fn a_size_beyond_8_gib_is_understood() {
    let mut archive = Archive::default();
    let size = 10 << 30;
    archive.add(&Header { name: b"f", size, magic: GNU, ..Header::default() }, b"start");
    let mut reader = TarReader::new(&archive.bytes[..]);
    let entry = reader.next_entry().expect("entry").expect("entry");
    assert_eq!(entry.kind, EntryKind::File(TarFile { size, sparse: None }));
    assert!(matches!(reader.next_entry(), Err(TarError::Truncated { entry: 1, .. })));
}

#[test]
fn extended_headers_say_more_than_the_header() {
    let mut archive = Archive::default();
    archive.extended(
        b'x',
        &[
            ("path", b"dir/a name that is not in the header"),
            ("uid", b"3000000"),
            ("gid", b"4000000"),
            ("mtime", b"1700000000.123456789"),
            ("SCHILY.xattr.user.a", b"one\0two\n"),
            ("SCHILY.xattr.security.capability", b"\x01"),
            ("comment", b"ignored"),
        ],
    );
    let (entry, data) = one(archive.file("f", b"data"));
    assert_eq!(entry.path, b"dir/a name that is not in the header");
    assert_eq!((entry.metadata.uid, entry.metadata.gid), (3_000_000, 4_000_000));
    assert_eq!(entry.metadata.mtime, Timestamp { secs: 1_700_000_000, nanos: 123_456_789 });
    assert_eq!(entry.metadata.xattrs.len(), 2);
    assert_eq!(entry.metadata.xattrs[0], (b"user.a".to_vec(), b"one\0two\n".to_vec()));
    assert_eq!(data, b"data");
}

#[test]
fn an_extended_size_counts_for_one_entry_only() {
    let mut archive = Archive::default();
    archive.extended(b'x', &[("size", b"4")]);
    // The long name between has its own size.
    archive.long(b'L', b"named");
    archive.add(&Header { name: b"f", size: 0, ..Header::default() }, b"data").pad();
    archive.file("g", b"other");
    let entries = read(&archive.end()).expect("readable");
    assert_eq!(entries[0].0.path, b"named");
    assert_eq!(entries[0].1, b"data");
    assert_eq!((&entries[1].0.path[..], &entries[1].1[..]), (&b"g"[..], &b"other"[..]));
}

#[test]
fn a_size_means_no_data_where_a_type_has_none() {
    let mut archive = Archive::default();
    archive.add(&Header { name: b"d", flag: b'5', size: 100, ..Header::default() }, b"");
    archive.extended(b'x', &[("size", b"700")]);
    archive.hard_link("h", "d/x").file("f", b"data");
    let entries = read(&archive.end()).expect("readable");
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[2].1, b"data");
}

#[test]
fn what_a_global_header_says_is_said_of_nothing() {
    let mut archive = Archive::default();
    archive.extended(b'g', &[("uid", b"7"), ("path", b"never"), ("size", b"9"), ("mtime", b"5")]);
    archive.file("a", b"1");
    archive.extended(b'x', &[("uid", b"8")]);
    archive.file("b", b"2");
    let entries = read(&archive.end()).expect("readable");
    assert_eq!((&entries[0].0.path[..], &entries[0].1[..]), (&b"a"[..], &b"1"[..]));
    assert_eq!((entries[0].0.metadata.uid, entries[1].0.metadata.uid), (0, 8));
    assert_ne!(entries[0].0.metadata.mtime.secs, 5);
    let mut broken = Archive::default();
    broken.add(&Header { name: b"p", flag: b'g', size: 8, ..Header::default() }, b"99 a=b\n\n");
    assert!(message(&broken.end()).contains("malformed"));
}

#[test]
fn long_names_of_gnu_and_prefixes_of_posix() {
    let name = "n".repeat(300);
    let target = "t".repeat(300);
    let mut archive = Archive::default();
    archive.long(b'L', name.as_bytes()).long(b'K', target.as_bytes()).symlink("cut", "cut");
    let (entry, _) = one(&archive);
    assert_eq!(entry.path, name.as_bytes());
    assert_eq!(entry.kind, EntryKind::Symlink(target.into_bytes()));
    let mut archive = Archive::default();
    let (entry, _) =
        one(archive.add(&Header { name: b"name", prefix: b"some/dir", ..Header::default() }, b""));
    assert_eq!(entry.path, b"some/dir/name");
}

#[test]
fn types_are_told_apart() {
    let mut archive = Archive::default();
    let device = |flag, device| Header { name: b"n", flag, device, ..Header::default() };
    archive.add(&device(b'3', (1, 3)), b"").add(&device(b'4', (259, 70_000)), b"");
    archive.add(&device(b'6', (0, 0)), b"").add(&device(b'7', (0, 0)), b"");
    archive.add(&Header { name: b"old/", flag: 0, magic: &[0; 8], ..Header::default() }, b"");
    let kinds: Vec<_> =
        read(&archive.end()).expect("readable").into_iter().map(|e| e.0.kind).collect();
    assert_eq!(
        kinds,
        [
            EntryKind::CharDevice { major: 1, minor: 3 },
            EntryKind::BlockDevice { major: 259, minor: 70_000 },
            EntryKind::Fifo,
            EntryKind::File(TarFile { size: 0, sparse: None }),
            EntryKind::Directory,
        ]
    );
    let mut unknown = Archive::default();
    unknown.file("before", b"").add(&device(b'M', (0, 0)), b"");
    assert_eq!(message(&unknown.end()), "entry 1 (\"n\") at byte 512: unknown entry type 'M'");
}

fn regions(entry: &LayerEntry<TarFile>) -> (u64, Vec<(u64, u64)>) {
    let EntryKind::File(TarFile { size, sparse: Some(regions) }) = &entry.kind else {
        panic!("not sparse: {:?}", entry.kind)
    };
    (*size, regions.iter().map(|SparseRegion { offset, len }| (*offset, *len)).collect())
}

#[test]
fn sparse_files_of_old_gnu_with_extension_blocks() {
    let wanted: Vec<(u64, u64)> = (0..30).map(|i| (i * 10_000, 512)).collect();
    let mut block =
        Header { name: b"s", flag: b'S', size: 30 * 512, magic: GNU, ..Header::default() }.block();
    let descriptor = |target: &mut [u8], (offset, len): (u64, u64)| {
        target[..12].copy_from_slice(format!("{offset:011o}\0").as_bytes());
        target[12..24].copy_from_slice(format!("{len:011o}\0").as_bytes());
    };
    for (place, region) in wanted[..4].iter().enumerate() {
        descriptor(&mut block[386 + 24 * place..], *region);
    }
    block[482] = 1;
    block[483..495].copy_from_slice(format!("{:011o}\0", 400_000).as_bytes());
    let mut archive = Archive::default();
    archive.raw(&seal(block));
    for part in [&wanted[4..25], &wanted[25..]] {
        let mut extension = [0; 512];
        for (place, region) in part.iter().enumerate() {
            descriptor(&mut extension[24 * place..], *region);
        }
        extension[504] = u8::from(part.len() == 21);
        archive.raw(&extension);
    }
    archive.raw(&[7; 30 * 512]);
    let (entry, data) = one(&archive);
    assert_eq!(regions(&entry), (400_000, wanted));
    assert_eq!(data, [7; 30 * 512]);
}

#[test]
fn sparse_files_of_pax_in_all_versions() {
    let stored = [9; 1024];
    let expected = (20_000, vec![(0, 512), (8192, 512)]);
    let mut archive = Archive::default();
    archive.extended(
        b'x',
        &[
            ("GNU.sparse.size", b"20000"),
            ("GNU.sparse.numblocks", b"2"),
            ("GNU.sparse.offset", b"0"),
            ("GNU.sparse.numbytes", b"512"),
            ("GNU.sparse.offset", b"8192"),
            ("GNU.sparse.numbytes", b"512"),
        ],
    );
    let (entry, data) = one(archive.file("zero-zero", &stored));
    assert_eq!((regions(&entry), &data[..]), (expected.clone(), &stored[..]));

    let mut archive = Archive::default();
    archive.extended(
        b'x',
        &[
            ("GNU.sparse.size", b"20000"),
            ("GNU.sparse.name", b"real"),
            ("GNU.sparse.map", b"0,512,8192,512,20000,0"),
        ],
    );
    let (entry, data) = one(archive.file("zero-one", &stored));
    assert_eq!((regions(&entry), &data[..]), (expected.clone(), &stored[..]));
    assert_eq!(entry.path, b"real");

    let mut archive = Archive::default();
    archive.extended(
        b'x',
        &[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"real"),
            ("GNU.sparse.realsize", b"20000"),
        ],
    );
    let mut with_map = b"2\n0\n512\n8192\n512\n".to_vec();
    with_map.resize(512, 0);
    with_map.extend_from_slice(&stored);
    let (entry, data) = one(archive.file("one-zero", &with_map));
    assert_eq!((regions(&entry), &data[..]), (expected, &stored[..]));

    let mut archive = Archive::default();
    archive.extended(b'x', &[("GNU.sparse.size", b"20000"), ("GNU.sparse.map", b"512,512,0,512")]);
    assert!(message(&archive.file("bad", &stored).end()).contains("overlap"));
}

#[test]
fn the_end_may_be_sloppy_but_not_inside_an_entry() {
    let mut archive = Archive::default();
    archive.file("a", b"data").file("b", &[1; 700]);
    assert_eq!(read(&archive.bytes).expect("no end marker").len(), 2);
    assert_eq!(read(&[&archive.bytes[..], &[0; 512]].concat()).expect("half of it").len(), 2);
    let padding_cut = &archive.bytes[..archive.bytes.len() - 100];
    assert_eq!(read(padding_cut).expect("cut in the padding").len(), 2);
    let data_cut = &archive.bytes[..archive.bytes.len() - 400];
    assert!(message(data_cut).contains("cut off at byte"), "{}", message(data_cut));
    assert!(message(&archive.bytes[..1100]).contains("cut off at byte 1100"));
    // Headers of an entry that never comes.
    let mut prelude = Archive::default();
    prelude.file("a", b"1").extended(b'x', &[("uid", b"1")]);
    prelude.long(b'L', b"name").long(b'K', b"target");
    assert_eq!(read(&prelude.bytes).expect("without end marker").len(), 1);
    assert_eq!(read(&prelude.end()).expect("with one").len(), 1);
    assert_eq!(read(b"").expect("nothing at all").len(), 0);
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let mut archive = Archive::default();
    archive.file("a", b"data").file("b", b"data");
    archive.bytes[1024] ^= 1;
    assert_eq!(
        message(&archive.end()),
        "entry 1 (\"\") at byte 1024: the header checksum is wrong"
    );
    let mut header = Header { name: b"n", ..Header::default() }.block();
    header[124..136].copy_from_slice(b"0000000009x\0");
    let mut bad_size = Archive::default();
    assert!(message(&bad_size.raw(&seal(header)).end()).contains("size"));
    let mut bad_record = Archive::default();
    bad_record.add(&Header { name: b"p", flag: b'x', size: 8, ..Header::default() }, b"99 a=b\n\n");
    assert!(message(&bad_record.end()).contains("malformed"));
    let mut huge = Archive::default();
    huge.add(&Header { name: b"p", flag: b'x', size: 1 << 30, ..Header::default() }, b"");
    assert!(message(&huge.end()).contains("more than 1 MiB"));
}

#[test]
fn the_tar_crate_and_this_reader_agree() {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in [("plain", &b"x"[..]), (&"deep/".repeat(60), b""), ("last", b"yy")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o640);
        header.set_mtime(42);
        builder.append_data(&mut header, name, data).expect("append");
    }
    let bytes = builder.into_inner().expect("finish");
    let entries = read(&bytes).expect("readable");
    let mut theirs = tar::Archive::new(&bytes[..]);
    for (ours, theirs) in entries.iter().zip(theirs.entries().expect("entries")) {
        let theirs = theirs.expect("entry");
        assert_eq!(ours.0.path, &*theirs.path_bytes());
        assert_eq!(u32::from(ours.0.metadata.mode), theirs.header().mode().expect("mode"));
    }
    assert_eq!(entries.len(), 3);
}

proptest! {
    /// Damage gives an error or other entries, never a panic and never more than was there.
    #[test]
    fn damaged_archives_do_no_harm(
        damage in prop::collection::vec((0..8_000usize, any::<u8>()), 1..12),
        length in 0..9_000usize,
        repair in any::<bool>(),
    ) {
        let mut archive = Archive::default();
        archive.extended(b'g', &[("uid", b"7")]).file("a", &[1; 700]).long(b'L', &[b'n'; 300]);
        archive.hard_link("b", "a").extended(b'x', &[("GNU.sparse.size", b"9000")]);
        archive.extended(b'x', &[("GNU.sparse.size", b"9000"), ("GNU.sparse.map", b"0,512")]);
        archive.file("s", &[2; 512]).symlink("l", "a").directory("d");
        let mut bytes = archive.end();
        for (at, value) in &damage {
            if let Some(byte) = bytes.get_mut(*at) {
                *byte = *value;
            }
        }
        if repair {
            for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
                let sealed = seal(block.try_into().expect("block"));
                block.copy_from_slice(&sealed);
            }
        }
        bytes.truncate(length);
        if let Ok(entries) = read(&bytes) {
            prop_assert!(entries.iter().map(|(_, data)| data.len()).sum::<usize>() <= bytes.len());
        }
    }
}
