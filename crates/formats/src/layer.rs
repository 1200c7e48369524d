//! What one layer says, entry by entry, freed from the archive that carried it.
//!
//! The tar reader yields [`LayerEntry<TarFile>`](crate::tar::TarFile), a converting ingest keeps
//! [`LayerEntry<FileData>`], a verifier keeps content hashes: the file payload is the parameter.

/// Seconds and nanoseconds since the epoch; `nanos` is below 10^9 and counts forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds, negative before 1970.
    pub secs: i64,
    /// Nanoseconds, `0..1_000_000_000`.
    pub nanos: u32,
}

/// The metadata that every kind of entry carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Permission bits with set-id and sticky: `0..=0o7777`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Timestamp,
    /// Extended attributes, full name (`user.x`) and value, as the system calls give them.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an entry makes. `F` describes a regular file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind<F> {
    /// A regular file.
    File(F),
    /// A directory.
    Directory,
    /// A symbolic link and its target, byte for byte.
    Symlink(Vec<u8>),
    /// A further name for the inode at this path of the image.
    HardLink(Vec<u8>),
    /// A character device.
    CharDevice { major: u32, minor: u32 },
    /// A block device.
    BlockDevice { major: u32, minor: u32 },
    /// A named pipe.
    Fifo,
}

/// One entry of a layer. White-outs are regular files by their name, as in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerEntry<F> {
    /// Position in the layer, from 0; named in errors.
    pub index: u64,
    /// The path as the archive has it, not cleaned.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind<F>,
    /// Mode, owner, times and attributes.
    pub metadata: Metadata,
}

impl<F> LayerEntry<F> {
    /// The same entry with another description of file content.
    pub fn map_file<G>(self, map: impl FnOnce(F) -> G) -> LayerEntry<G> {
        let kind = match self.kind {
            EntryKind::File(file) => EntryKind::File(map(file)),
            EntryKind::Directory => EntryKind::Directory,
            EntryKind::Symlink(target) => EntryKind::Symlink(target),
            EntryKind::HardLink(target) => EntryKind::HardLink(target),
            EntryKind::CharDevice { major, minor } => EntryKind::CharDevice { major, minor },
            EntryKind::BlockDevice { major, minor } => EntryKind::BlockDevice { major, minor },
            EntryKind::Fifo => EntryKind::Fifo,
        };
        LayerEntry { index: self.index, path: self.path, kind, metadata: self.metadata }
    }
}

/// Everything a layer says, in archive order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerEntries<F = FileData> {
    /// The entries in archive order.
    pub entries: Vec<LayerEntry<F>>,
}

/// Where the content of one regular file lies in its layer's data stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileData {
    /// The file's size in bytes.
    pub size: u64,
    /// Ascending, disjoint; what they do not cover reads as zeros and takes no space.
    pub segments: Vec<Segment>,
}

/// A run of file bytes that is also a run of stream bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Offset in the file, a multiple of 4096.
    pub file_offset: u64,
    /// Length in bytes; a multiple of 4096 unless it ends at the end of the file.
    pub len: u64,
    /// Offset in the layer's data stream, a multiple of 512. The stream holds
    /// `len` rounded up to 512 bytes here, the padding being zeros.
    pub stream_offset: u64,
}
