//! Entries of a tar, by the crate `tar`'s idea of a header.

use std::borrow::Cow;
use std::io::{self, Read};

use tar::{GnuExtSparseHeader, Header};

use super::data::{self, Piece};
use super::records::Records;
use super::strange;
use crate::layer::Timestamp;
use crate::overlaybd::{Cancel, OverlayError};
use crate::verify::content::Content;

const BLOCK: usize = 512;

/// Extended headers are no larger, nor are maps of sparse files.
const MAX_HEADER: u64 = 1 << 20;
const MAX_MAP: usize = 64 << 20;

/// The last second that a file's time is set to.
const LAST_SECOND: i64 = 9_223_372_036;

/// What an entry makes.
pub(super) enum What {
    File(Content),
    Directory,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// One entry, its content read.
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) what: What,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timestamp,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

pub(super) struct Archive<R> {
    input: R,
}

impl<R: Read> Archive<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input }
    }

    /// The next entry; `None` at the end.
    pub(super) fn next(&mut self, cancel: &Cancel) -> Result<Option<Entry>, OverlayError> {
        let mut records = Records::default();
        let (mut long_name, mut long_link) = (None, None);
        loop {
            cancel.check()?;
            let Some(block) = self.block()? else { return Ok(None) };
            if block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            let header = Header::from_byte_slice(&block);
            match header.entry_type().as_byte() {
                b'x' => records = Records::parse(&self.special(header)?)?,
                b'g' => {
                    self.special(header)?;
                    records = Records::default();
                    (long_name, long_link) = (None, None);
                }
                b'L' => long_name = Some(text(&self.special(header)?)),
                b'K' => long_link = Some(text(&self.special(header)?)),
                _ => {
                    let path = long_name
                        .or_else(|| records.text(b"GNU.sparse.name"))
                        .or_else(|| records.text(b"path"))
                        .unwrap_or_else(|| header.path_bytes().into_owned());
                    let link = long_link
                        .or_else(|| records.text(b"linkpath"))
                        .or_else(|| header.link_name_bytes().map(Cow::into_owned));
                    return self.entry(header, &records, path, link, cancel).map(Some);
                }
            }
        }
    }

    fn entry(
        &mut self,
        header: &Header,
        records: &Records,
        path: Vec<u8>,
        link: Option<Vec<u8>>,
        cancel: &Cancel,
    ) -> Result<Entry, OverlayError> {
        let device = |number: io::Result<Option<u32>>| number.ok().flatten().unwrap_or_default();
        let numbers = (device(header.device_major()), device(header.device_minor()));
        let link = link.unwrap_or_default();
        let what = match header.entry_type().as_byte() {
            0 if path.ends_with(b"/") => What::Directory,
            0 | b'0' | b'7' | b'S' => What::File(self.file(header, records, &path, cancel)?),
            b'1' => What::HardLink(link),
            b'2' => What::Symlink(link),
            b'3' => What::CharDevice(numbers.0, numbers.1),
            b'4' => What::BlockDevice(numbers.0, numbers.1),
            b'5' => What::Directory,
            b'6' => What::Fifo,
            _ => return Err(strange(&path, "its type is unknown")),
        };
        let owner = |name: &[u8], field: io::Result<u64>| {
            let id = match records.number(name) {
                Some(id) => id,
                None => field.unwrap_or_default().cast_signed(),
            };
            // As chown has it: 32 bits, and -1 leaves root.
            let id = u32::try_from(id & 0xffff_ffff).unwrap_or_default();
            if id == u32::MAX { 0 } else { id }
        };
        Ok(Entry {
            what,
            mode: u16::try_from(header.mode().unwrap_or_default() & 0o7777).unwrap_or_default(),
            uid: owner(b"uid", header.uid()),
            gid: owner(b"gid", header.gid()),
            mtime: time(header, records),
            xattrs: records.xattrs(),
            path,
        })
    }

    fn file(
        &mut self,
        header: &Header,
        records: &Records,
        path: &[u8],
        cancel: &Cancel,
    ) -> Result<Content, OverlayError> {
        let stored = match records.number(b"size").and_then(|size| u64::try_from(size).ok()) {
            Some(size) => size,
            None => header.entry_size()?,
        };
        let padding = stored.wrapping_neg() % BLOCK as u64;
        let mut stored = stored;
        let (size, pieces) = if header.entry_type().is_gnu_sparse() {
            self.old_pieces(header)?
        } else if let Some(size) = records.real_size() {
            let pieces = if records.text(b"GNU.sparse.major").as_deref() == Some(b"1") {
                self.map(&mut stored, path)?
            } else {
                records.pieces()
            };
            (size, pieces)
        } else {
            (stored, vec![Piece { at: 0, len: stored }])
        };
        if pieces.iter().map(|piece| piece.len).sum::<u64>() != stored {
            return Err(strange(path, "its map does not fit its data"));
        }
        let content = data::read(&mut self.input, size, &pieces, cancel)?;
        // The last padding of a sloppy archive is missing.
        io::copy(&mut (&mut self.input).take(padding), &mut io::sink())?;
        Ok(content)
    }

    fn old_pieces(&mut self, header: &Header) -> Result<(u64, Vec<Piece>), OverlayError> {
        let none = || OverlayError::invalid("source layer", "a sparse file without its map");
        let gnu = header.as_gnu().ok_or_else(none)?;
        let mut pieces = Vec::new();
        let mut take = |list: &[tar::GnuSparseHeader]| -> io::Result<()> {
            for one in list.iter().take_while(|one| !one.is_empty()) {
                pieces.push(Piece { at: one.offset()?, len: one.length()? });
            }
            Ok(())
        };
        take(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let block = self.block()?.ok_or_else(none)?;
            let mut extension = GnuExtSparseHeader::new();
            extension.as_mut_bytes().copy_from_slice(&block);
            take(&extension.sparse)?;
            more = extension.is_extended();
        }
        Ok((gnu.real_size()?, pieces))
    }

    /// The map of format 1.0, in whole blocks before the data: a count, then pairs, one number a line.
    fn map(&mut self, stored: &mut u64, path: &[u8]) -> Result<Vec<Piece>, OverlayError> {
        let mut numbers: Vec<u64> = Vec::new();
        let mut text = Vec::new();
        loop {
            let block = self.block()?.ok_or_else(|| strange(path, "its map is cut off"))?;
            *stored = stored
                .checked_sub(BLOCK as u64)
                .ok_or_else(|| strange(path, "its map is longer than its data"))?;
            text.extend_from_slice(&block);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let line = std::str::from_utf8(line.get(..end).unwrap_or_default());
                let number = line.ok().and_then(|line| line.parse().ok());
                numbers.push(number.ok_or_else(|| strange(path, "its map has no number"))?);
                let wanted = numbers.first().and_then(|count| usize::try_from(*count).ok());
                let wanted = wanted.and_then(|count| count.checked_mul(2)?.checked_add(1));
                if wanted == Some(numbers.len()) {
                    let pairs = numbers.get(1..).unwrap_or_default().chunks_exact(2);
                    let piece =
                        |pair: &[u64]| Some(Piece { at: *pair.first()?, len: *pair.last()? });
                    return Ok(pairs.filter_map(piece).collect());
                }
            }
            if text.len() + numbers.len() * 8 > MAX_MAP {
                return Err(strange(path, "its map is too large"));
            }
        }
    }

    /// The body of a header that speaks of the next entry.
    fn special(&mut self, header: &Header) -> Result<Vec<u8>, OverlayError> {
        let size = header.entry_size()?;
        if size > MAX_HEADER {
            return Err(OverlayError::invalid("source layer", "a header of more than 1 MiB"));
        }
        let mut body = vec![0; usize::try_from(size.next_multiple_of(512)).unwrap_or_default()];
        self.input.read_exact(&mut body)?;
        body.truncate(usize::try_from(size).unwrap_or_default());
        Ok(body)
    }

    /// The next block; `None` when the archive ends before it.
    fn block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = Vec::with_capacity(BLOCK);
        (&mut self.input).take(BLOCK as u64).read_to_end(&mut block)?;
        match <[u8; BLOCK]>::try_from(block) {
            Ok(block) => Ok(Some(block)),
            Err(short) if short.is_empty() => Ok(None),
            Err(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// The modification time; one that cannot be set is 0.
fn time(header: &Header, records: &Records) -> Timestamp {
    let given = records.time().unwrap_or_else(|| {
        // A base-256 number with the sign in its second bit.
        let negative = header.as_old().mtime.first().is_some_and(|first| first & 0xc0 == 0xc0);
        let seconds = i64::try_from(header.mtime().unwrap_or_default()).unwrap_or(-1);
        Timestamp { secs: if negative { -1 } else { seconds }, nanos: 0 }
    });
    let late = given.secs > LAST_SECOND || (given.secs == LAST_SECOND && given.nanos > 854_775_807);
    if given.secs < 0 || late { Timestamp::default() } else { given }
}

fn text(body: &[u8]) -> Vec<u8> {
    body.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}
