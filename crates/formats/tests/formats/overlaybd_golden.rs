//! Blobs that the reference tools made are read to the byte (see `fixtures/overlaybd`).

use std::path::PathBuf;

use berth_formats::ReadAt;
use berth_formats::compression::Compression;
use berth_formats::inspect::{inspect_blob, inspect_chain};
use berth_formats::overlaybd::{Cancel, LayerStack, Limits, Payload, Source, open_blob, tarwrap};
use berth_formats::verify::verify_chain;

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/overlaybd").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn payload(name: &str) -> Vec<u8> {
    let payload = Payload::open(fixture(name)).expect(name);
    let mut bytes = vec![0; usize::try_from(payload.len()).expect("small")];
    payload.read_at(&mut bytes, 0).expect(name);
    if let Some(zfile) = payload.zfile() {
        let mut scanned = Vec::new();
        zfile
            .scan(|block| {
                scanned.extend_from_slice(block);
                Ok(())
            })
            .expect(name);
        assert!(scanned == bytes, "{name}: scan and read differ");
    }
    bytes
}

/// The whole virtual disk, zero pieces left out.
fn disk(names: &[&str]) -> Vec<(u64, Vec<u8>)> {
    let stack = LayerStack::open(names.iter().map(|name| fixture(name)).collect()).expect("stack");
    let mut pieces = Vec::new();
    let mut piece = vec![0; 1 << 20];
    for at in (0..stack.len()).step_by(piece.len()) {
        stack.read_at(&mut piece, at).expect("inside of the disk");
        for (number, block) in (0_u64..).zip(piece.chunks(4096)) {
            if block.iter().any(|byte| *byte != 0) {
                pieces.push((at + number * 4096, block.to_vec()));
            }
        }
    }
    pieces
}

#[test]
fn every_compression_of_a_layer_gives_the_same_bytes() {
    let plain = payload("native-l1.lsmt");
    // The plain file alone carries a user tag, in header and trailer.
    let tag = 134..134 + 256;
    let without_tag = |mut bytes: Vec<u8>| {
        let trailer = bytes.len() - 4096;
        bytes[tag.clone()].fill(0);
        bytes[trailer..][tag.clone()].fill(0);
        bytes
    };
    let plain = without_tag(plain);
    for name in ["native-l1.lz4.zfile", "native-l1.lz4-16k.zfile", "native-l1.zstd64k.zfile"] {
        assert!(without_tag(payload(name)) == plain, "{name}");
    }
}

#[test]
fn records_say_what_the_tools_wrote() {
    let first = open_blob(fixture("native-l1.lsmt")).expect("first layer");
    assert_eq!(first.trailer.user_tag, "golden");
    assert_eq!(first.trailer.virtual_size, 1 << 30);
    assert_eq!(first.trailer.index_count % 256, 0);
    assert_eq!(first.header.uuid, "11111111-1111-1111-1111-111111111111");
    assert_eq!(first.header.parent, None);
    let second = open_blob(fixture("native-l2.commit")).expect("second layer");
    assert_eq!(second.trailer.uuid, "22222222-2222-2222-2222-222222222222");
    assert_eq!(second.trailer.parent, Some(first.trailer.uuid));
}

#[test]
fn all_forms_of_a_chain_make_the_same_disk() {
    let wrapped = disk(&["native-l1.commit", "native-l2.commit"]);
    assert!(wrapped.len() > 100);
    assert!(wrapped == disk(&["native-l1.lsmt", "native-l2.commit"]));
    assert!(wrapped == disk(&["native-l1.zstd64k.zfile", "native-l2.commit"]));
    assert!(wrapped == disk(&["native-merged.zfile"]));
}

#[test]
fn wrapping_is_that_of_the_tools() {
    for name in ["native-l1.commit", "native-l2.commit"] {
        let bytes = fixture(name);
        let (offset, len) = tarwrap::locate(&bytes).expect(name);
        assert_eq!(offset, tarwrap::HEAD_SIZE);
        let head = bytes.get(..1536).expect("three blocks");
        assert!(tarwrap::head(len) == *head, "{name}");
        let end = usize::try_from(offset + len).expect("small");
        assert!(Some(tarwrap::tail(len).as_slice()) == bytes.get(end..), "{name}");
    }
}

#[test]
fn the_tree_of_the_tools_is_that_of_the_source() {
    let sources = ["layer1.tar.gz", "layer2.tar.gz"].map(|name| Source {
        reader: std::io::Cursor::new(fixture(name)),
        compression: None,
        expected: None,
        limits: Limits::default(),
    });
    let blobs = ["native-l1.commit", "native-l2.commit"].map(fixture);
    let report = verify_chain(sources, blobs, 100, &Cancel::new()).expect("both sides read");
    assert_eq!(report.differences, []);
    assert!(report.names > 10 && report.files > 3 && report.blocks > 100, "{report:?}");
}

#[test]
fn data_may_lie_in_any_order() {
    let source = Source {
        reader: std::io::Cursor::new(fixture("layer1.tar.gz")),
        compression: None,
        expected: None,
        limits: Limits::default(),
    };
    let blobs = [fixture("append-l1.lsmt")];
    let report = verify_chain([source], blobs, 100, &Cancel::new()).expect("both sides read");
    assert_eq!(report.differences, []);
}

#[test]
fn differences_are_found() {
    let source = Source {
        reader: std::io::Cursor::new(fixture("layer1.tar.gz")),
        compression: Some(Compression::Gzip),
        expected: None,
        limits: Limits::default(),
    };
    let blobs = ["native-l1.commit", "native-l2.commit"].map(fixture);
    let report = verify_chain([source], blobs, 2, &Cancel::new()).expect("both sides read");
    assert!(report.difference_count > 2, "{report:?}");
    assert_eq!(report.differences.len(), 2);
}

#[test]
fn blobs_are_explained() {
    let report = inspect_blob(&fixture("native-l1.commit")).expect("a layer blob");
    let zfile = report.zfile.expect("it is compressed");
    assert_eq!((zfile.blocks, zfile.block_size, zfile.complete_header), (455, 4096, true));
    assert_eq!(report.tar.map(|tar| tar.size), Some(65_053));
    let chain = inspect_chain(vec![fixture("native-l1.commit"), fixture("native-l2.commit")]);
    let chain = chain.expect("a chain");
    assert_eq!(chain.virtual_size, 1 << 30);
    assert_eq!((chain.file_system.block_size, chain.file_system.inode_size), (4096, 256));
}
