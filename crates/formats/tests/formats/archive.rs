//! Writes tar archives byte by byte, also the ones that no tool writes.

/// What a header says; fields that no test varies are fixed.
#[derive(Clone, Copy)]
pub(crate) struct Header<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) prefix: &'a [u8],
    pub(crate) flag: u8,
    pub(crate) size: u64,
    pub(crate) link: &'a [u8],
    pub(crate) mode: u32,
    pub(crate) uid: i64,
    pub(crate) gid: i64,
    pub(crate) mtime: i64,
    pub(crate) device: (u64, u64),
    pub(crate) magic: &'a [u8; 8],
}

pub(crate) const POSIX: &[u8; 8] = b"ustar\x0000";
pub(crate) const GNU: &[u8; 8] = b"ustar  \0";

impl Default for Header<'_> {
    fn default() -> Self {
        Self {
            name: b"",
            prefix: b"",
            flag: b'0',
            size: 0,
            link: b"",
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 1_700_000_000,
            device: (0, 0),
            magic: POSIX,
        }
    }
}

#[derive(Clone, Default)]
pub(crate) struct Archive {
    pub(crate) bytes: Vec<u8>,
}

/// Octal where it fits, base-256 otherwise.
fn number(field: &mut [u8], value: i64) {
    let digits = field.len() - 1;
    let fits = u64::try_from(value).is_ok_and(|value| value < 1 << (3 * digits));
    if fits {
        field[..digits].copy_from_slice(format!("{value:0digits$o}").as_bytes());
    } else {
        let bytes = value.to_be_bytes();
        field.fill(if value < 0 { 0xff } else { 0 });
        let start = field.len().saturating_sub(bytes.len());
        let from = bytes.len() - (field.len() - start);
        field[start..].copy_from_slice(&bytes[from..]);
        field[0] |= 0x80;
    }
}

impl Header<'_> {
    pub(crate) fn block(&self) -> [u8; 512] {
        let mut block = [0; 512];
        block[..self.name.len()].copy_from_slice(self.name);
        number(&mut block[100..108], i64::from(self.mode));
        number(&mut block[108..116], self.uid);
        number(&mut block[116..124], self.gid);
        number(&mut block[124..136], i64::try_from(self.size).expect("size"));
        number(&mut block[136..148], self.mtime);
        block[156] = self.flag;
        block[157..157 + self.link.len()].copy_from_slice(self.link);
        block[257..265].copy_from_slice(self.magic);
        number(&mut block[329..337], i64::try_from(self.device.0).expect("major"));
        number(&mut block[337..345], i64::try_from(self.device.1).expect("minor"));
        block[345..345 + self.prefix.len()].copy_from_slice(self.prefix);
        block
    }
}

/// Puts the checksum into a finished header block.
pub(crate) fn seal(mut block: [u8; 512]) -> [u8; 512] {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

impl Archive {
    pub(crate) fn add(&mut self, header: &Header<'_>, data: &[u8]) -> &mut Self {
        self.raw(&seal(header.block())).raw(data).pad()
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub(crate) fn pad(&mut self) -> &mut Self {
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(&mut self, name: &str, data: &[u8]) -> &mut Self {
        let size = data.len() as u64;
        self.add(&Header { name: name.as_bytes(), size, ..Header::default() }, data)
    }

    pub(crate) fn directory(&mut self, name: &str) -> &mut Self {
        let name = name.as_bytes();
        self.add(&Header { name, flag: b'5', mode: 0o755, ..Header::default() }, b"")
    }

    pub(crate) fn symlink(&mut self, name: &str, target: &str) -> &mut Self {
        let (name, link) = (name.as_bytes(), target.as_bytes());
        self.add(&Header { name, link, flag: b'2', mode: 0o777, ..Header::default() }, b"")
    }

    pub(crate) fn hard_link(&mut self, name: &str, target: &str) -> &mut Self {
        let (name, link) = (name.as_bytes(), target.as_bytes());
        self.add(&Header { name, link, flag: b'1', ..Header::default() }, b"")
    }

    /// An extended header: `flag` is `x` or `g`.
    pub(crate) fn extended(&mut self, flag: u8, records: &[(&str, &[u8])]) -> &mut Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let bare = key.len() + value.len() + 3;
            let mut length = bare + 1;
            while length != bare + length.to_string().len() {
                length = bare + length.to_string().len();
            }
            body.extend_from_slice(format!("{length} {key}=").as_bytes());
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        let size = body.len() as u64;
        self.add(&Header { name: b"pax", flag, size, ..Header::default() }, &body)
    }

    /// A GNU long name (`L`) or long link (`K`).
    pub(crate) fn long(&mut self, flag: u8, text: &[u8]) -> &mut Self {
        let size = text.len() as u64 + 1;
        let name = b"././@LongLink";
        let data = [text, b"\0"].concat();
        self.add(&Header { name, flag, size, magic: GNU, ..Header::default() }, &data)
    }

    /// The archive with its end marker.
    pub(crate) fn end(&self) -> Vec<u8> {
        [&self.bytes[..], &[0; 1024]].concat()
    }
}
