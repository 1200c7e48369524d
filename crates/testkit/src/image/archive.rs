//! A tar writer that writes what real builders write, and what only hostile ones do: ustar, PAX and
//! GNU headers, long names, base-256 numbers, xattrs, sparse files (POSIX.1-2024 pax, GNU tar manual).

use std::fmt::Write;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file with its content.
    File(Vec<u8>),
    /// A directory.
    Directory,
    /// A symbolic link to a target.
    Symlink(String),
    /// A hard link to a path of the image.
    HardLink(String),
    /// A character device.
    CharDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// A file of `size` bytes with data at some offsets only, as GNU tar's PAX format 1.0 has it.
    Sparse {
        /// The size of the file.
        size: u64,
        /// Offset and bytes of each piece of data, ascending.
        pieces: Vec<(u64, Vec<u8>)>,
    },
}

/// One entry of a layer. The defaults are root's, mode 0644 (directories 0755), at a fixed time.
#[derive(Debug, Clone)]
pub struct Entry {
    path: String,
    kind: Kind,
    mode: u32,
    owner: (u64, u64),
    seconds: i64,
    nanoseconds: u32,
    xattrs: Vec<(String, Vec<u8>)>,
    gnu: bool,
}

impl Entry {
    /// An entry at `path`.
    #[must_use]
    pub fn new(path: &str, kind: Kind) -> Entry {
        let mode = match kind {
            Kind::Directory => 0o755,
            Kind::Symlink(_) => 0o777,
            _ => 0o644,
        };
        Entry {
            path: path.to_owned(),
            kind,
            mode,
            owner: (0, 0),
            seconds: 1_700_000_000,
            nanoseconds: 0,
            xattrs: Vec::new(),
            gnu: false,
        }
    }

    /// Permission bits, with set-id and sticky bits.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Entry {
        self.mode = mode;
        self
    }

    /// User and group.
    #[must_use]
    pub fn owner(mut self, user: u64, group: u64) -> Entry {
        self.owner = (user, group);
        self
    }

    /// Seconds and nanoseconds since 1970.
    #[must_use]
    pub fn mtime(mut self, seconds: i64, nanoseconds: u32) -> Entry {
        (self.seconds, self.nanoseconds) = (seconds, nanoseconds);
        self
    }

    /// One more extended attribute.
    #[must_use]
    pub fn xattr(mut self, name: &str, value: &[u8]) -> Entry {
        self.xattrs.push((name.to_owned(), value.to_vec()));
        self
    }

    /// Write GNU headers (long names, base-256 numbers) instead of PAX records.
    #[must_use]
    pub fn gnu(mut self) -> Entry {
        self.gnu = true;
        self
    }
}

/// A tar archive in the making.
#[derive(Debug, Clone, Default)]
pub struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    /// An archive without entries.
    #[must_use]
    pub fn new() -> Archive {
        Archive::default()
    }

    /// Appends one entry.
    #[must_use]
    pub fn entry(mut self, entry: &Entry) -> Archive {
        self.push(entry);
        self
    }

    /// Appends a regular file.
    #[must_use]
    pub fn file(self, path: &str, content: &[u8]) -> Archive {
        self.entry(&Entry::new(path, Kind::File(content.to_vec())))
    }

    /// Appends a directory.
    #[must_use]
    pub fn directory(self, path: &str) -> Archive {
        self.entry(&Entry::new(path, Kind::Directory))
    }

    /// Appends the marker that removes `path` of the layers below (OCI image spec, whiteouts).
    #[must_use]
    pub fn whiteout(self, path: &str) -> Archive {
        let (folder, name) =
            path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
        let separator = if folder.is_empty() { "" } else { "/" };
        self.file(&format!("{folder}{separator}.wh.{name}"), b"")
    }

    /// Appends the marker that hides what the layers below have in `folder`.
    #[must_use]
    pub fn opaque(self, folder: &str) -> Archive {
        self.file(&format!("{folder}/.wh..wh..opq"), b"")
    }

    /// The archive with its end marker.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }

    fn push(&mut self, entry: &Entry) {
        let (kind, link, device) = match &entry.kind {
            Kind::File(_) | Kind::Sparse { .. } => (b'0', "", (0, 0)),
            Kind::HardLink(target) => (b'1', target.as_str(), (0, 0)),
            Kind::Symlink(target) => (b'2', target.as_str(), (0, 0)),
            Kind::CharDevice(major, minor) => (b'3', "", (*major, *minor)),
            Kind::BlockDevice(major, minor) => (b'4', "", (*major, *minor)),
            Kind::Directory => (b'5', "", (0, 0)),
            Kind::Fifo => (b'6', "", (0, 0)),
        };
        let data = match &entry.kind {
            Kind::File(content) => content.clone(),
            Kind::Sparse { size, pieces } => sparse_data(*size, pieces),
            _ => Vec::new(),
        };
        if entry.gnu {
            self.push_gnu_names(&entry.path, link);
        } else {
            self.push_pax(entry, link);
        }
        let mut header = Header::new(if entry.gnu { *b"ustar  \0" } else { *b"ustar\x0000" });
        header.text(0..100, &entry.path);
        header.number(100..108, u64::from(entry.mode), entry.gnu);
        header.number(108..116, entry.owner.0, entry.gnu);
        header.number(116..124, entry.owner.1, entry.gnu);
        header.number(124..136, data.len() as u64, entry.gnu);
        header.signed(136..148, entry.seconds, entry.gnu);
        header.0[156] = kind;
        header.text(157..257, link);
        header.number(329..337, u64::from(device.0), entry.gnu);
        header.number(337..345, u64::from(device.1), entry.gnu);
        self.bytes.extend(header.finish());
        self.push_data(&data);
    }

    fn push_data(&mut self, data: &[u8]) {
        self.bytes.extend(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
    }

    fn push_gnu_names(&mut self, path: &str, link: &str) {
        for (kind, text) in [(b'K', link), (b'L', path)] {
            if text.len() > 100 {
                let mut header = Header::new(*b"ustar  \0");
                header.text(0..100, "././@LongLink");
                header.number(124..136, text.len() as u64 + 1, false);
                header.0[156] = kind;
                self.bytes.extend(header.finish());
                self.push_data(&[text.as_bytes(), b"\0"].concat());
            }
        }
    }

    fn push_pax(&mut self, entry: &Entry, link: &str) {
        let mut records = Vec::new();
        if entry.path.len() > 100 || !entry.path.is_ascii() {
            records.extend(record("path", entry.path.as_bytes()));
        }
        if link.len() > 100 || !link.is_ascii() {
            records.extend(record("linkpath", link.as_bytes()));
        }
        for (name, value) in [("uid", entry.owner.0), ("gid", entry.owner.1)] {
            if value > 0o7_777_777 {
                records.extend(record(name, value.to_string().as_bytes()));
            }
        }
        if entry.nanoseconds != 0 || !(0..1 << 33).contains(&entry.seconds) {
            records.extend(record("mtime", decimal_time(entry).as_bytes()));
        }
        for (name, value) in &entry.xattrs {
            records.extend(record(&format!("SCHILY.xattr.{name}"), value));
        }
        if let Kind::Sparse { size, .. } = entry.kind {
            records.extend(record("GNU.sparse.major", b"1"));
            records.extend(record("GNU.sparse.minor", b"0"));
            records.extend(record("GNU.sparse.name", entry.path.as_bytes()));
            records.extend(record("GNU.sparse.realsize", size.to_string().as_bytes()));
        }
        if records.is_empty() {
            return;
        }
        let mut header = Header::new(*b"ustar\x0000");
        header.text(0..100, "PaxHeaders/entry");
        header.number(100..108, 0o644, false);
        header.number(124..136, records.len() as u64, false);
        header.0[156] = b'x';
        self.bytes.extend(header.finish());
        self.push_data(&records);
    }
}

/// The data of a sparse file in PAX format 1.0: its map in decimal lines, padded, then the pieces.
fn sparse_data(size: u64, pieces: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut map = format!("{}\n", pieces.len() + 1);
    for (offset, data) in pieces {
        write!(map, "{offset}\n{}\n", data.len()).expect("a string takes all");
    }
    // The last entry marks the end of the file, as GNU tar writes it.
    write!(map, "{size}\n0\n").expect("a string takes all");
    let mut bytes = map.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes.extend(pieces.iter().flat_map(|(_, data)| data));
    bytes
}

/// `mtime` as PAX has it; the fraction counts upwards from the next lower second.
fn decimal_time(entry: &Entry) -> String {
    let fraction = |nanoseconds: u32| match nanoseconds {
        0 => String::new(),
        nanoseconds => format!(".{nanoseconds:09}"),
    };
    if entry.seconds < 0 && entry.nanoseconds != 0 {
        let whole = -(entry.seconds + 1);
        return format!("-{whole}{}", fraction(1_000_000_000 - entry.nanoseconds));
    }
    format!("{}{}", entry.seconds, fraction(entry.nanoseconds))
}

/// `LENGTH NAME=VALUE\n`, where the length counts itself.
fn record(name: &str, value: &[u8]) -> Vec<u8> {
    let rest = name.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {name}=").as_bytes(), value, b"\n"].concat()
}

struct Header([u8; 512]);

impl Header {
    fn new(magic: [u8; 8]) -> Header {
        let mut header = Header([0; 512]);
        header.0[257..265].copy_from_slice(&magic);
        header
    }

    /// A text, cut to its field: whoever needs more writes a PAX record or a long name first.
    fn text(&mut self, field: std::ops::Range<usize>, text: &str) {
        let length = text.len().min(field.len());
        self.0[field.start..field.start + length].copy_from_slice(&text.as_bytes()[..length]);
    }

    /// Octal digits; what does not fit is written in base 256 by GNU, and as 0 under a PAX record.
    fn number(&mut self, field: std::ops::Range<usize>, value: u64, gnu: bool) {
        let digits = field.len() - 1;
        if value < 1 << (3 * digits) {
            return self.text(field, &format!("{value:0digits$o}"));
        }
        if gnu {
            return self.base_256(field, i128::from(value));
        }
        self.text(field, &format!("{:0digits$o}", 0));
    }

    fn signed(&mut self, field: std::ops::Range<usize>, value: i64, gnu: bool) {
        match u64::try_from(value) {
            Ok(value) => self.number(field, value, gnu),
            Err(_) if gnu => self.base_256(field, i128::from(value)),
            Err(_) => self.number(field, 0, gnu),
        }
    }

    fn base_256(&mut self, field: std::ops::Range<usize>, value: i128) {
        let bytes = value.to_be_bytes();
        let length = field.len();
        self.0[field.clone()].copy_from_slice(&bytes[bytes.len() - length..]);
        self.0[field.start] |= 0x80;
    }

    fn finish(mut self) -> [u8; 512] {
        self.0[148..156].copy_from_slice(b"        ");
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.0[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}
