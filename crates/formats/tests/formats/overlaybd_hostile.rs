//! Damaged and crafted blobs end in errors: never in a panic, an endless loop, a huge allocation
//! or wrong bytes.

use std::path::PathBuf;

use berth_formats::ReadAt;
use berth_formats::ext4::reader::Ext4Reader;
use berth_formats::overlaybd::lsmt::{Header, IndexBuilder, Mapping, Role};
use berth_formats::overlaybd::zfile::{Parameters, ZFile, ZFileWriter};
use berth_formats::overlaybd::{Algorithm, LayerStack, Payload, open_blob};
use proptest::collection::vec;
use proptest::prelude::{any, prop_oneof};
use proptest::strategy::{Just, Strategy};
use proptest::{prop_assert, prop_assert_eq, proptest};

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/overlaybd").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Opens a blob and reads everything that can be read.
fn read_all(blob: Vec<u8>) -> Result<Vec<u8>, String> {
    let blob = open_blob(blob).map_err(|error| error.to_string())?;
    let mut bytes = vec![0; usize::try_from(blob.blob.len()).expect("small")];
    blob.blob.read_at(&mut bytes, 0).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn zfile(original: &[u8], parameters: Parameters) -> Vec<u8> {
    let mut writer = ZFileWriter::new(Vec::new(), parameters).expect("into memory");
    for piece in original.chunks(10_007) {
        writer.append(piece).expect("into memory");
    }
    let finished = writer.finish().expect("into memory");
    let mut file = finished.out;
    assert_eq!(file.len() as u64, finished.len);
    file[..512].copy_from_slice(&finished.header);
    file
}

/// A bare layer with these index entries over `sectors` sectors of data.
fn lsmt(entries: &[[u8; 16]], count: u64, sectors: usize) -> Vec<u8> {
    let mut header = Header {
        role: Role::Header,
        index_offset: 0,
        index_count: 0,
        virtual_size: 1 << 30,
        uuid: String::new(),
        parent: None,
        user_tag: String::new(),
    };
    let mut blob = header.encode().to_vec();
    blob.extend(vec![0x5a; sectors * 512]);
    header.role = Role::Trailer;
    header.index_offset = blob.len() as u64;
    header.index_count = count;
    blob.extend(entries.iter().flatten());
    blob.extend(header.encode());
    blob
}

fn entry(lba: u64, sectors: u32, location: u64) -> [u8; 16] {
    Mapping { lba, sectors, location, zeroed: false, tag: 0 }.encode()
}

#[test]
fn every_cut_is_an_error() {
    for name in ["native-l1.commit", "native-l1.lz4.zfile", "native-l1.lsmt"] {
        let whole = fixture(name);
        let good = read_all(whole.clone()).expect(name);
        let step = whole.len() / 60;
        for len in (0..whole.len()).step_by(step).chain(whole.len() - 1500..whole.len()) {
            match read_all(whole[..len].to_vec()) {
                Err(_) => {}
                // Only the end of the tar may be missing.
                Ok(bytes) => assert!(name.ends_with("commit") && bytes == good, "{name} {len}"),
            }
        }
    }
}

#[test]
fn every_damaged_bit_of_a_zfile_is_found() {
    let whole = fixture("native-l1.lz4.zfile");
    let good = read_all(whole.clone()).expect("the fixture");
    for at in (0..whole.len()).step_by(37).chain(0..96) {
        let mut bad = whole.clone();
        bad[at] ^= 0x10;
        // The trailer is not looked at when the header is complete, nor a digest that the header
        // says it does not have.
        if let Ok(bytes) = read_all(bad) {
            assert!(bytes == good && (at >= whole.len() - 512 || at == 32), "byte {at}");
        }
    }
}

#[test]
fn crafted_indexes_are_refused() {
    let cases = [
        ("a sound one", vec![entry(0, 2, 8), entry(2, 2, 10)], 2, true),
        ("overlap", vec![entry(0, 3, 8), entry(2, 2, 10)], 2, false),
        ("disorder", vec![entry(8, 2, 8), entry(0, 2, 10)], 2, false),
        ("empty run", vec![entry(0, 0, 8)], 1, false),
        ("header as data", vec![entry(0, 2, 7)], 1, false),
        ("index as data", vec![entry(0, 2, 11)], 1, false),
        ("far away", vec![entry(0, 16_383, (1 << 55) - 1)], 1, false),
        ("last sector of all", vec![entry((1 << 50) - 2, 16_383, 8)], 1, false),
        ("more than there are", vec![entry(0, 2, 8)], 300, false),
        ("a million and one", vec![entry(0, 2, 8)], 1_000_001, false),
        ("all of them", vec![entry(0, 2, 8)], u64::MAX, false),
    ];
    for (name, entries, count, sound) in cases {
        let result = open_blob(lsmt(&entries, count, 4));
        assert_eq!(result.is_ok(), sound, "{name}");
    }
    for offset in [0, 4095, 4096 + 4 * 512 + 17, u64::MAX, u64::MAX - 15] {
        let mut blob = lsmt(&[entry(0, 2, 8)], 1, 4);
        let trailer = blob.len() - 4096;
        blob[trailer + 32..trailer + 40].copy_from_slice(&offset.to_le_bytes());
        assert!(open_blob(blob).is_err(), "index at {offset}");
    }
}

#[test]
fn an_index_over_another_file_is_not_stacked() {
    let remote = Mapping { lba: 2, sectors: 100, location: 5_000, zeroed: false, tag: 1 };
    let blob = open_blob(lsmt(&[entry(0, 2, 8), remote.encode()], 2, 4)).expect("it is sound");
    assert!(blob.is_remote());
    assert!(LayerStack::of(vec![blob]).is_err());
}

#[test]
fn crafted_zfile_headers_are_refused() {
    let parameters = Parameters { algorithm: Algorithm::Lz4, block_size: 4096, threads: 0 };
    let good = zfile(&[7; 100_000], parameters);
    assert!(ZFile::open(good.clone()).is_ok());
    let raw = |bytes: &[u8]| !crc32c_of(bytes);
    for (at, value) in [
        (40, u64::MAX), // jump table position
        (40, u64::MAX - 99),
        (40, 0),
        (48, u64::MAX), // number of blocks
        (48, 1 << 40),
        (56, u64::MAX), // size of the original
        (56, 0),
        (72, 0), // block size, algorithm
        (72, 0x01_8000_0000),
        (72, 0x03_0000_1000),
        (80, 1 << 32), // dictionary
    ] {
        let mut bad = good.clone();
        bad[at..at + 8].copy_from_slice(&value.to_le_bytes());
        bad[28..32].fill(0);
        let digest = raw(&bad[..512]);
        bad[28..32].copy_from_slice(&digest.to_le_bytes());
        assert!(ZFile::open(bad).is_err(), "{value:#x} at {at}");
    }
}

/// CRC-32C whose register starts at zero, before its last inversion, bit by bit.
fn crc32c_of(bytes: &[u8]) -> u32 {
    let mut register = 0_u32;
    for byte in bytes {
        register ^= u32::from(*byte);
        for _ in 0..8 {
            let low = register & 1;
            register = (register >> 1) ^ (0x82f6_3b78 * low);
        }
    }
    !register
}

/// Bytes with runs, so that both compressible and other blocks come up.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..6000),
        (any::<u8>(), 0..20_000_usize).prop_map(|(byte, len)| vec![byte; len]),
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn parameters() -> impl Strategy<Value = Parameters> {
    let algorithm = prop_oneof![Just(Algorithm::Lz4), Just(Algorithm::Zstd)];
    (algorithm, 12..16_u32, 0..3_usize).prop_map(|(algorithm, log, threads)| Parameters {
        algorithm,
        block_size: 1 << log,
        threads,
    })
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn zfiles_give_back_what_went_in(
        original in bytes(),
        parameters in parameters(),
        from in any::<proptest::sample::Index>(),
        to in any::<proptest::sample::Index>(),
    ) {
        let file = ZFile::open(zfile(&original, parameters)).expect("own file");
        prop_assert_eq!(file.len(), original.len() as u64);
        let (from, to) = (from.index(original.len() + 1), to.index(original.len() + 1));
        let range = from.min(to)..from.max(to);
        let mut part = vec![0; range.len()];
        file.read_at(&mut part, range.start as u64).expect("inside of the file");
        prop_assert!(part == original[range]);
        let mut scanned = Vec::new();
        file.scan(|block| {
            scanned.extend_from_slice(block);
            Ok(())
        })
        .expect("own file");
        prop_assert!(scanned == original);
        prop_assert!(file.read_at(&mut [0], original.len() as u64).is_err());
    }

    #[test]
    fn indexes_map_what_was_mapped(
        runs in vec((0..40_u64, 1..40_u64), 1..30),
        zeroed in vec((0..1200_u64, 1..100_u64), 0..5),
        order in any::<proptest::sample::Index>(),
    ) {
        // Disjoint runs of data, handed over in another order.
        let (mut lba, mut location) = (0, 8);
        let mut data = Vec::new();
        for (gap, sectors) in runs {
            lba += gap;
            data.push((lba, sectors, location));
            lba += sectors;
            location += sectors;
        }
        let middle = order.index(data.len());
        let mut index = IndexBuilder::new();
        for (lba, sectors, location) in data[middle..].iter().chain(&data[..middle]) {
            index.map(*lba, *sectors, *location);
        }
        for (lba, sectors) in &zeroed {
            index.zero(*lba, *sectors);
        }
        let mut found = vec![None; 3000];
        let mut free_from = 0;
        for mapping in index.finish().expect("disjoint runs") {
            prop_assert!(mapping.lba >= free_from);
            free_from = mapping.end();
            for skip in 0..u64::from(mapping.sectors) {
                let at = usize::try_from(mapping.lba + skip).expect("small");
                found[at] = Some(if mapping.zeroed { 0 } else { mapping.location + skip });
            }
        }
        let mut expected = vec![None; 3000];
        for (lba, sectors) in zeroed {
            for at in lba..lba + sectors {
                expected[usize::try_from(at).expect("small")] = Some(0);
            }
        }
        for (lba, sectors, location) in data {
            for skip in 0..sectors {
                expected[usize::try_from(lba + skip).expect("small")] = Some(location + skip);
            }
        }
        prop_assert!(found == expected);
    }

    #[test]
    fn rubbish_does_no_harm(rubbish in vec(any::<u8>(), 0..20_000), magic in 0..3_u8) {
        let mut blob = rubbish;
        let marks: [&[u8]; 3] = [b"", b"ZFile\0\x01\0tuji.yyf@Alibaba\x60\0\0\0", b"LSMT\0\x01\x02\0"];
        for (target, byte) in blob.iter_mut().zip(marks[usize::from(magic)]) {
            *target = *byte;
        }
        prop_assert!(read_all(blob).is_err());
    }
}

/// A disk with some bytes replaced.
struct Patched<'a> {
    disk: &'a LayerStack<Vec<u8>>,
    patches: Vec<(u64, u8)>,
}

impl ReadAt for Patched<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.disk.read_at(buffer, offset)?;
        let end = offset + buffer.len() as u64;
        for (place, byte) in self.patches.iter().filter(|(at, _)| (offset..end).contains(at)) {
            buffer[usize::try_from(place - offset).expect("small")] = *byte;
        }
        Ok(())
    }

    fn len(&self) -> u64 {
        self.disk.len()
    }
}

/// Places of the first words of the disk that are not zero: superblock, descriptors, the first
/// inode tables and directories.
fn used_places(disk: &LayerStack<Vec<u8>>) -> Vec<u64> {
    let mut used = Vec::new();
    let mut piece = vec![0; 1 << 20];
    for at in (0..disk.len()).step_by(piece.len()) {
        disk.read_at(&mut piece, at).expect("inside of the disk");
        for (word, bytes) in (0_u64..).zip(piece.chunks(8)) {
            if bytes.iter().any(|byte| *byte != 0) {
                used.push(at + word * 8);
            }
        }
        if used.len() > 60_000 {
            break;
        }
    }
    used
}

/// Walks at most some thousand names and reads everything of them.
fn walk<R: ReadAt>(reader: &Ext4Reader<R>) {
    let mut pending = vec![2];
    let mut budget = 500;
    while let Some(number) = pending.pop() {
        budget -= 1;
        let Ok(inode) = reader.inode(number) else { continue };
        let _ = (reader.xattrs(&inode), reader.read_link(&inode), inode.device_numbers());
        if let Ok(content) = reader.content(&inode) {
            let mut buffer = vec![0; 4096];
            for (from, to) in content.data_ranges().take(50) {
                let len = usize::try_from(to - from).unwrap_or(4096).min(4096);
                let _ = content.read_at(&mut buffer[..len], from);
            }
        }
        if let Ok(entries) = reader.read_directory(&inode) {
            pending.extend(entries.iter().map(|entry| entry.inode).take(budget));
        }
        if budget == 0 {
            return;
        }
    }
}

#[test]
fn a_damaged_file_system_does_no_harm() {
    let disk = LayerStack::open(vec![fixture("native-merged.zfile")]).expect("the fixture");
    let clean = Ext4Reader::open(Patched { disk: &disk, patches: Vec::new() }).expect("clean");
    walk(&clean);
    let used = used_places(&disk);
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    for _ in 0..3_000 {
        let mut patches = vec![(1024 + random(256) as u64, random(256).to_le_bytes()[0])];
        for _ in 0..1 + random(4) {
            let at = used[random(used.len())] + random(8) as u64;
            patches.push((at, random(256).to_le_bytes()[0]));
        }
        if let Ok(reader) = Ext4Reader::open(Patched { disk: &disk, patches }) {
            walk(&reader);
        }
    }
}

#[test]
fn a_payload_of_any_length_is_refused_or_read() {
    for len in 0..3000 {
        assert!(Payload::open(vec![0; len]).is_err(), "{len}");
    }
}
