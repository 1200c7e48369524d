//! The readers of `berth-formats`. Every one of them ends, in bounded time and memory, with a value or
//! an error.

use std::collections::HashSet;
use std::io::{self, Read};

use berth_formats::ReadAt;
use berth_formats::compression::{decoder, detect};
use berth_formats::ext4::reader::{Ext4Reader, FileType, ROOT_INODE};
use berth_formats::ext4::{Geometry, Image};
use berth_formats::inspect::{inspect_blob, inspect_chain};
use berth_formats::layer::EntryKind;
use berth_formats::overlaybd::lsmt::Lsmt;
use berth_formats::overlaybd::zfile::ZFile;
use berth_formats::overlaybd::{Cancel, LayerStack, Limits, Source, open_blob, place_read, skim};
use berth_formats::tar::TarReader;

/// Bytes of any output that are looked at.
const ENOUGH: u64 = 4 << 20;

/// How far back a zstd frame may look: a decoder takes as much memory at once.
const WINDOW: u64 = 8 << 20;

/// Archives with PAX and GNU headers.
pub fn tar(bytes: &[u8]) {
    let mut reader = TarReader::new(bytes);
    while let Ok(Some(entry)) = reader.next_entry() {
        assert!(entry.metadata.mode <= 0o7777);
        assert!(entry.metadata.mtime.nanos < 1_000_000_000);
        if let EntryKind::File(file) = &entry.kind {
            let mut end = 0;
            for region in file.sparse.iter().flatten() {
                assert!(region.len > 0 && region.offset >= end, "ascending and disjoint");
                end = region.offset.checked_add(region.len).expect("no region wraps");
                assert!(end <= file.size, "inside of the file");
            }
        }
        assert!(reader.offset() <= bytes.len() as u64);
        if io::copy(&mut reader, &mut io::sink()).is_err() {
            return;
        }
    }
}

/// Gzip framing and zstd frames.
pub fn compression(bytes: &[u8]) {
    let cancel = Cancel::new();
    let reader = decoder(detect(bytes), Box::new(bytes), WINDOW, &cancel);
    // An error is a fine end.
    drop(io::copy(&mut reader.take(ENOUGH), &mut io::sink()));
}

/// A whole source layer: decompressed, taken apart, placed on a virtual disk.
pub fn layer(bytes: &[u8]) {
    let limits = Limits { inflated: ENOUGH, entries: 10_000, window: WINDOW };
    let source = Source { reader: bytes, compression: None, expected: None, limits };
    let Ok(read) = skim(source, &Cancel::new()) else { return };
    let geometry = Geometry { virtual_size: 1 << 30 };
    let mut image = Image::new(geometry).expect("an empty disk");
    // A layer may ask for what no file system has.
    drop(place_read(&mut image, &read));
}

/// A bare LSMT blob.
pub fn lsmt(bytes: &[u8]) {
    if let Ok(lsmt) = Lsmt::open(bytes.to_vec()) {
        let mut free_from = 0;
        for mapping in &lsmt.index {
            assert!(mapping.lba >= free_from && mapping.end() > mapping.lba, "in order");
            free_from = mapping.end();
        }
    }
    stack(vec![bytes.to_vec()]);
    // The same blob as both layers of a chain.
    stack(vec![bytes.to_vec(), bytes.to_vec()]);
}

/// A ZFile.
pub fn zfile(bytes: &[u8]) {
    let Ok(zfile) = ZFile::open(bytes.to_vec()) else { return };
    let blocks = zfile.header().blocks.min(1024);
    for number in 0..blocks {
        let at = number * u64::from(zfile.header().block_size);
        if let Some((from, len)) = zfile.stored_block(at) {
            assert!(from.checked_add(len).is_some_and(|end| end <= bytes.len() as u64));
        }
    }
    read_front(&zfile);
    let mut seen = 0;
    // The first damaged block is a fine end.
    drop(zfile.scan(|piece| {
        seen += piece.len() as u64;
        if seen > ENOUGH { Err(io::Error::other("enough").into()) } else { Ok(()) }
    }));
}

/// A layer blob of any form, in a tar or bare, and what `berth inspect` says about it.
pub fn blob(bytes: &[u8]) {
    let bytes = bytes.to_vec();
    drop(inspect_blob(&bytes));
    if let Ok(blob) = open_blob(bytes.clone()) {
        read_front(&blob.blob);
    }
    drop(inspect_chain(vec![bytes]));
}

fn stack(layers: Vec<Vec<u8>>) {
    if let Ok(stack) = LayerStack::open(layers) {
        read_front(&stack);
    }
}

fn read_front(device: &impl ReadAt) {
    let mut buffer = vec![0; 64 << 10];
    let mut at = 0;
    while at < device.len().min(ENOUGH) {
        let count = usize::try_from(device.len() - at).unwrap_or(usize::MAX).min(buffer.len());
        if device.read_at(&mut buffer[..count], at).is_err() {
            return;
        }
        at += count as u64;
    }
}

/// The bytes at the front of a larger device of zeros.
struct Front<'a>(&'a [u8]);

/// Bytes of that device.
const DEVICE: u64 = 64 << 20;

impl ReadAt for Front<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > DEVICE) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.fill(0);
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        if let Some(there) = self.0.get(from..) {
            let count = there.len().min(buffer.len());
            buffer[..count].copy_from_slice(&there[..count]);
        }
        Ok(())
    }

    fn len(&self) -> u64 {
        DEVICE
    }
}

/// An ext4 file system, walked from its root.
pub fn ext4(bytes: &[u8]) {
    let Ok(reader) = Ext4Reader::open(Front(bytes)) else { return };
    let mut waiting = vec![ROOT_INODE];
    let mut seen = HashSet::new();
    while let Some(number) = waiting.pop() {
        if seen.len() >= 500 || !seen.insert(number) {
            continue;
        }
        let Ok(inode) = reader.inode(number) else { continue };
        // What is damaged is an error, each by itself.
        drop(reader.xattrs(&inode));
        drop(reader.read_link(&inode));
        if inode.file_type == FileType::Directory {
            let entries = reader.read_directory(&inode).unwrap_or_default();
            waiting.extend(entries.iter().map(|entry| entry.inode));
        } else if let Ok(content) = reader.content(&inode) {
            let mut end = 0;
            for (from, to) in content.data_ranges() {
                assert!(end <= from && from <= to, "ascending and disjoint");
                end = to;
            }
            let count = usize::try_from(content.size().min(64 << 10)).unwrap_or_default();
            drop(content.read_at(&mut vec![0; count], 0));
        }
    }
    for path in [&b"/a/b"[..], b"lost+found/../link", b"link"] {
        drop(reader.lookup(path, true));
    }
}
