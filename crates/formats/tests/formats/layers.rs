//! Layers for tests: from archives, or said directly.

use std::io::Read;

use berth_formats::layer::{
    EntryKind, FileData, LayerEntries, LayerEntry, Metadata, Segment, Timestamp,
};
use berth_formats::tar::{TarFile, TarReader};

/// A layer and its data stream.
#[derive(Clone, Default)]
pub(crate) struct Layer {
    pub(crate) entries: LayerEntries,
    pub(crate) stream: Vec<u8>,
}

impl Layer {
    pub(crate) fn from_tar(archive: &[u8]) -> Self {
        let mut layer = Self::default();
        let mut reader = TarReader::new(archive);
        while let Some(entry) = reader.next_entry().expect("entry") {
            let mut stored = Vec::new();
            reader.read_to_end(&mut stored).expect("data");
            let entry = entry.map_file(|file| layer.file_data(&file, &stored));
            layer.entries.entries.push(entry);
        }
        layer
    }

    pub(crate) fn add(&mut self, path: &str, kind: EntryKind<FileData>, metadata: Metadata) {
        self.add_bytes(path.as_bytes(), kind, metadata);
    }

    pub(crate) fn add_bytes(&mut self, path: &[u8], kind: EntryKind<FileData>, metadata: Metadata) {
        let index = self.entries.entries.len() as u64;
        self.entries.entries.push(LayerEntry { index, path: path.to_vec(), kind, metadata });
    }

    pub(crate) fn file(&mut self, path: &str, content: &[u8]) {
        let data = self.content(content);
        self.add(path, EntryKind::File(data), metadata(0o644));
    }

    pub(crate) fn directory(&mut self, path: &str) {
        self.add(path, EntryKind::Directory, metadata(0o755));
    }

    /// Stores content in the stream, blocks of zeros left out.
    pub(crate) fn content(&mut self, content: &[u8]) -> FileData {
        let file = TarFile { size: content.len() as u64, sparse: None };
        self.file_data(&file, content)
    }

    fn file_data(&mut self, file: &TarFile, stored: &[u8]) -> FileData {
        let mut whole = stored.to_vec();
        if let Some(regions) = &file.sparse {
            whole = vec![0; usize::try_from(file.size).expect("size")];
            let mut from = 0;
            for region in regions {
                let len = usize::try_from(region.len).expect("length");
                let at = usize::try_from(region.offset).expect("offset");
                whole[at..at + len].copy_from_slice(&stored[from..from + len]);
                from += len;
            }
        }
        let mut data = FileData { size: file.size, segments: Vec::new() };
        for (number, block) in whole.chunks(4096).enumerate() {
            let file_offset = number as u64 * 4096;
            if block.iter().all(|byte| *byte == 0) {
                continue;
            }
            let stream_offset = self.stream.len() as u64;
            self.stream.extend_from_slice(block);
            self.stream.resize(self.stream.len().next_multiple_of(512), 0);
            match data.segments.last_mut() {
                Some(last)
                    if last.file_offset + last.len == file_offset
                        && last.stream_offset + last.len == stream_offset =>
                {
                    last.len += block.len() as u64;
                }
                _ => data.segments.push(Segment {
                    file_offset,
                    len: block.len() as u64,
                    stream_offset,
                }),
            }
        }
        data
    }
}

pub(crate) fn metadata(mode: u16) -> Metadata {
    Metadata { mode, mtime: Timestamp { secs: 1_700_000_000, nanos: 0 }, ..Metadata::default() }
}
