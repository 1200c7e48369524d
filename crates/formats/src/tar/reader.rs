//! The streaming walk over an archive.

use std::io::{self, Read};

use super::error::TarError;
use super::header::{BLOCK, Header};
use super::pax::Pax;
use super::{SparseRegion, TarFile, sparse};
use crate::layer::{EntryKind, LayerEntry, Metadata, Timestamp};

/// Bound on extended headers and long names, as in Go's reader.
const MAX_SPECIAL: u64 = 1 << 20;
/// Bound on entries of one layer; the virtual disk has fewer inodes.
const MAX_ENTRIES: u64 = 10_000_000;

/// Reads entries one after another. The data of the entry returned last are read through
/// [`Read`], which ends with `Ok(0)` at their end; for a sparse file these are the stored
/// regions, one after another. What is left unread is skipped by the next call.
pub struct TarReader<R> {
    inner: R,
    offset: u64,
    entry: u64,
    path: Vec<u8>,
    /// Unread data bytes of the current entry.
    remaining: u64,
    /// Bytes between its data and the next header.
    padding: u64,
    ended: bool,
}

/// What the headers in front of an entry said about it.
#[derive(Default)]
struct Prelude {
    pax: Option<Pax>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> TarReader<R> {
    /// Starts at the first header of the (uncompressed) archive.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            offset: 0,
            entry: 0,
            path: Vec::new(),
            remaining: 0,
            padding: 0,
            ended: false,
        }
    }

    /// Bytes of the archive consumed so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Gives the source back, which may have bytes left behind the end of the archive.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// The next entry, or `None` at the end of the archive.
    pub fn next_entry(&mut self) -> Result<Option<LayerEntry<TarFile>>, TarError> {
        if !self.skip_data()? {
            return Ok(None);
        }
        self.path.clear();
        let mut prelude = Prelude::default();
        while let Some(block) = self.header_block()? {
            let start = self.offset - BLOCK as u64;
            let header =
                Header::parse(&block).map_err(|error| self.invalid(start, error.to_string()))?;
            let special = |reader: &mut Self| {
                let size = header.size().filter(|size| *size <= MAX_SPECIAL);
                let size =
                    size.ok_or_else(|| reader.invalid(start, "a header of more than 1 MiB"))?;
                reader.special_body(size)
            };
            match header.type_flag() {
                b'x' => {
                    let body = special(self)?;
                    let pax = Pax::parse(&body)
                        .map_err(|error| self.invalid(start, error.to_string()))?;
                    prelude.pax = Some(pax);
                }
                // Go's reader shows it as an entry of its own, which unpackers pass over, so that
                // what it says is said of nothing.
                b'g' => {
                    let body = special(self)?;
                    Pax::parse(&body).map_err(|error| self.invalid(start, error.to_string()))?;
                    prelude = Prelude::default();
                }
                b'L' => prelude.long_name = Some(until_nul(special(self)?)),
                b'K' => prelude.long_link = Some(until_nul(special(self)?)),
                _ => return self.entry(&header, prelude, start).map(Some),
            }
        }
        // Headers that speak of an entry which never comes say nothing.
        Ok(None)
    }

    fn entry(
        &mut self,
        header: &Header<'_>,
        prelude: Prelude,
        start: u64,
    ) -> Result<LayerEntry<TarFile>, TarError> {
        if self.entry >= MAX_ENTRIES {
            return Err(self.invalid(start, "the layer has more than 10 million entries"));
        }
        let pax = prelude.pax.unwrap_or_default();
        let path = prelude
            .long_name
            .or_else(|| pax.sparse.name.clone())
            .or_else(|| pax.path.clone())
            .unwrap_or_else(|| header.path());
        self.path.clone_from(&path);
        let bad = |field: &'static str| format!("the header's {field} is not a valid number");
        let metadata = self.metadata(header, &pax, start)?;
        let link = |reader: &Self| {
            let target = prelude.long_link.clone().or_else(|| pax.link_path.clone());
            let target = target.unwrap_or_else(|| header.link_name());
            if target.is_empty() {
                return Err(reader.invalid(start, "a link without a target"));
            }
            Ok(target)
        };
        let device = |reader: &Self| {
            let numbers = header.device_major().zip(header.device_minor());
            numbers.ok_or_else(|| reader.invalid(start, bad("device number")))
        };
        self.remaining = 0;
        self.padding = 0;
        let kind = match header.type_flag() {
            0 if path.ends_with(b"/") => EntryKind::Directory,
            flag @ (0 | b'0' | b'7' | b'S') => {
                let size = pax.size.or_else(|| header.size());
                let size = size.ok_or_else(|| self.invalid(start, bad("size")))?;
                if size > i64::MAX as u64 {
                    return Err(self.invalid(start, bad("size")));
                }
                self.remaining = size;
                self.padding = size.wrapping_neg() % BLOCK as u64;
                EntryKind::File(self.file(header, pax, flag == b'S', start)?)
            }
            b'1' => EntryKind::HardLink(link(self)?),
            b'2' => EntryKind::Symlink(link(self)?),
            b'3' => device(self).map(|(major, minor)| EntryKind::CharDevice { major, minor })?,
            b'4' => device(self).map(|(major, minor)| EntryKind::BlockDevice { major, minor })?,
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            flag => {
                let shown = char::from(flag).escape_default().to_string();
                return Err(self.invalid(start, format!("unknown entry type '{shown}'")));
            }
        };
        let index = self.entry;
        self.entry += 1;
        Ok(LayerEntry { index, path, kind, metadata })
    }

    fn metadata(&self, header: &Header<'_>, pax: &Pax, start: u64) -> Result<Metadata, TarError> {
        let bad =
            |field: &str| self.invalid(start, format!("the header's {field} is not acceptable"));
        let owner = |value: Option<i64>| value.and_then(owner_id);
        let header_mtime = || header.mtime().map(|secs| Timestamp { secs, nanos: 0 });
        Ok(Metadata {
            mode: header.mode().ok_or_else(|| bad("mode"))?,
            uid: owner(pax.uid.or_else(|| header.uid())).ok_or_else(|| bad("owner"))?,
            gid: owner(pax.gid.or_else(|| header.gid())).ok_or_else(|| bad("group"))?,
            mtime: pax.mtime.or_else(header_mtime).ok_or_else(|| bad("modification time"))?,
            xattrs: pax.xattrs.clone(),
        })
    }

    /// The content of a regular file; reads the map of a sparse one, which comes with the data.
    fn file(
        &mut self,
        header: &Header<'_>,
        pax: Pax,
        old_gnu: bool,
        start: u64,
    ) -> Result<TarFile, TarError> {
        let (regions, size) = if old_gnu {
            let size = header.gnu_real_size();
            let size = size.ok_or_else(|| self.invalid(start, "a bad size of a sparse file"))?;
            (self.gnu_regions(header)?, size)
        } else if pax.sparse.seen {
            let pax = pax.sparse;
            let size = pax.real_size;
            let size =
                size.ok_or_else(|| self.invalid(start, "a sparse file without its real size"))?;
            match (pax.major, pax.minor) {
                (Some(1), Some(0)) => (self.pax_regions()?, size),
                (None | Some(0), _) => (pax.regions, size),
                _ => return Err(self.invalid(start, "an unknown version of sparse map")),
            }
        } else {
            return Ok(TarFile { size: self.remaining, sparse: None });
        };
        if size > i64::MAX as u64 {
            return Err(self.invalid(start, "a bad size of a sparse file"));
        }
        let regions = sparse::checked(regions, size, self.remaining)
            .map_err(|error| self.invalid(start, error.to_string()))?;
        Ok(TarFile { size, sparse: Some(regions) })
    }

    fn gnu_regions(&mut self, header: &Header<'_>) -> Result<Vec<SparseRegion>, TarError> {
        let mut regions = Vec::new();
        let (descriptors, mut extended) = header.gnu_sparse();
        let mut parsed = sparse::gnu_descriptors(descriptors, &mut regions);
        while extended {
            parsed.ok_or_else(|| self.invalid(self.offset, "a bad sparse map"))?;
            let block = self.block()?;
            parsed = sparse::gnu_descriptors(&block[..504], &mut regions);
            extended = block[504] != 0;
        }
        parsed.ok_or_else(|| self.invalid(self.offset, "a bad sparse map"))?;
        Ok(regions)
    }

    fn pax_regions(&mut self) -> Result<Vec<SparseRegion>, TarError> {
        let start = self.offset;
        let mut text = Vec::new();
        let mut lines = 0;
        let mut wanted = 1;
        while lines < wanted {
            if self.remaining < BLOCK as u64 {
                return Err(self.invalid(start, "the sparse map does not fit the stored data"));
            }
            let block = self.block()?;
            self.remaining -= BLOCK as u64;
            if text.is_empty() {
                wanted = sparse::pax_map_lines(&block)
                    .map_err(|error| self.invalid(start, error.to_string()))?;
            }
            lines += block.iter().filter(|byte| **byte == b'\n').count();
            text.extend_from_slice(&block);
        }
        sparse::pax_map(&text).map_err(|error| self.invalid(start, error.to_string()))
    }

    /// Skips what is left of the current entry; `false` when the archive ends in the padding.
    fn skip_data(&mut self) -> Result<bool, TarError> {
        let mut scratch = vec![0; usize::try_from(self.remaining.min(1 << 16)).unwrap_or(0)];
        while self.remaining > 0 {
            let most = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(scratch.len());
            if self.read_raw(&mut scratch[..most])? == 0 {
                return Err(self.truncated());
            }
            self.remaining -= most as u64;
        }
        let mut block = [0; BLOCK];
        let padding = usize::try_from(std::mem::take(&mut self.padding)).unwrap_or(0);
        let got = self.read_full(&mut block[..padding])?;
        self.ended |= got < padding;
        Ok(!self.ended)
    }

    /// The next header block; `None` at the end: two blocks of zeros, or no more bytes.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        for zeros in 0..2 {
            match self.read_full(&mut block)? {
                0 => break,
                BLOCK => {}
                _ => return Err(self.truncated()),
            }
            if block.iter().any(|byte| *byte != 0) {
                if zeros > 0 {
                    let start = self.offset - BLOCK as u64;
                    return Err(self.invalid(start, "a header follows a block of zeros"));
                }
                return Ok(Some(block));
            }
        }
        self.ended = true;
        Ok(None)
    }

    fn special_body(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        let padded = size.next_multiple_of(BLOCK as u64);
        let mut body = vec![0; usize::try_from(padded).unwrap_or(0)];
        if self.read_full(&mut body)? < body.len() {
            return Err(self.truncated());
        }
        body.truncate(usize::try_from(size).unwrap_or(0));
        Ok(body)
    }

    fn block(&mut self) -> Result<[u8; BLOCK], TarError> {
        let mut block = [0; BLOCK];
        if self.read_full(&mut block)? < BLOCK {
            return Err(self.truncated());
        }
        Ok(block)
    }

    fn read_full(&mut self, buf: &mut [u8]) -> Result<usize, TarError> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.read_raw(&mut buf[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    fn read_raw(&mut self, buf: &mut [u8]) -> Result<usize, TarError> {
        loop {
            match self.inner.read(buf) {
                Ok(count) => {
                    self.offset += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(TarError::Io {
                        entry: self.entry,
                        path: self.shown_path(),
                        offset: self.offset,
                        source,
                    });
                }
            }
        }
    }

    fn shown_path(&self) -> String {
        String::from_utf8_lossy(self.path.get(..4096).unwrap_or(&self.path)).into_owned()
    }

    fn truncated(&self) -> TarError {
        TarError::Truncated { entry: self.entry, path: self.shown_path(), offset: self.offset }
    }

    fn invalid(&self, offset: u64, reason: impl Into<String>) -> TarError {
        let (entry, path, reason) = (self.entry, self.shown_path(), reason.into());
        TarError::Invalid { entry, path, offset, reason }
    }
}

impl<R: Read> Read for TarReader<R> {
    /// Data of the current entry. A [`TarError`] is the inner error of what this returns.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buf.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.read_raw(&mut buf[..most]).map_err(io::Error::other)?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, self.truncated()));
        }
        self.remaining -= count as u64;
        Ok(count)
    }
}

fn until_nul(mut text: Vec<u8>) -> Vec<u8> {
    if let Some(end) = text.iter().position(|byte| *byte == 0) {
        text.truncate(end);
    }
    text
}

/// An owner as `chown` takes it: negative numbers wrap into 32 bits, and -1, which `chown` takes
/// as "leave it", is root.
fn owner_id(value: i64) -> Option<u32> {
    let id = match u32::try_from(value) {
        Ok(id) => id,
        Err(_) => i32::try_from(value).ok()?.cast_unsigned(),
    };
    Some(if id == u32::MAX { 0 } else { id })
}
