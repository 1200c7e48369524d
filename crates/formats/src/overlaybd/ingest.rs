//! The one pass over a source layer: decompress, hash, walk the tar, compress file data.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use berth_types::{Algorithm as DigestAlgorithm, Digest, Hasher};

use super::cutter::{Cutter, Sink};
use super::layer::{Amounts, IngestedLayer, Limits, Options, ReadLayer};
use super::lsmt::{Header, Role};
use super::uuid::Lineage;
use super::zfile::ZFileWriter;
use super::{Cancel, OverlayError, Spool, tarwrap};
use crate::compression::{Compression, decoder, detect};
use crate::layer::{EntryKind, FileData, LayerEntries, LayerEntry};
use crate::tar::{TarFile, TarReader};

/// Inflated bytes from which the ratio limit is looked at.
const RATIO_FROM: u64 = 1 << 30;

/// Reads a source layer into `spool`.
///
/// The names of the layer stand at the front of the blob, so they must be known before: the image
/// configuration gives the diff-ids, and `expected` is checked at the end. `compression` `None`
/// tells it by the first bytes. `reader` is read to its end, so that a checking reader of the
/// caller sees every byte.
///
/// # Errors
/// [`OverlayError::Tar`] names a broken entry, [`OverlayError::Damaged`] is broken compression,
/// [`OverlayError::Source`] hands back the error of `reader`, [`OverlayError::DiffId`],
/// [`OverlayError::Limit`], [`OverlayError::Io`] when the spool fails,
/// [`OverlayError::Cancelled`].
pub fn ingest(
    source: Source<impl Read + Send>,
    lineage: Lineage,
    options: &Options,
    mut spool: Spool,
    cancel: &Cancel,
) -> Result<IngestedLayer, OverlayError> {
    io::Write::write_all(&mut spool, &tarwrap::placeholder())?;
    let mut output = ZFileWriter::new(spool, options.zfile())?;
    let header = Header {
        role: Role::Header,
        index_offset: 0,
        index_count: 0,
        virtual_size: options.virtual_size,
        uuid: lineage.uuid.clone(),
        parent: lineage.parent.clone(),
        user_tag: String::new(),
    };
    output.append(&header.encode())?;
    let mut cutter = Cutter::new(Sink::Output(Box::new(output)));
    let read = read_layer(source, &mut cutter, cancel)?;
    match cutter.into_sink() {
        Sink::Output(output) => {
            Ok(IngestedLayer { read, output: *output, lineage, virtual_size: options.virtual_size })
        }
        Sink::Nowhere => Err(OverlayError::Unsupported("a layer without output".to_owned())),
    }
}

/// Reads a source layer for its entries only: what a layer above needs to be placed.
///
/// # Errors
/// Those of [`ingest`].
pub fn skim(source: Source<impl Read + Send>, cancel: &Cancel) -> Result<ReadLayer, OverlayError> {
    read_layer(source, &mut Cutter::new(Sink::Nowhere), cancel)
}

/// A source layer and what is known of it.
pub struct Source<R> {
    pub reader: R,
    /// `None`: told by the first bytes.
    pub compression: Option<Compression>,
    /// The diff-id that the image configuration promises.
    pub expected: Option<Digest>,
    pub limits: Limits,
}

fn read_layer(
    source: Source<impl Read + Send>,
    cutter: &mut Cutter,
    cancel: &Cancel,
) -> Result<ReadLayer, OverlayError> {
    let Source { reader, compression, expected, limits } = source;
    let watch = Watch::default();
    let mut raw = Raw { reader, watch: &watch };
    let mut head = Vec::new();
    (&mut raw).take(8).read_to_end(&mut head).map_err(|error| watch.explain(error, ""))?;
    let compression = compression.unwrap_or_else(|| detect(&head));
    let inner = Box::new(io::Cursor::new(head).chain(&mut raw));
    let tar = Inflated {
        reader: decoder(compression, inner),
        hasher: Hasher::new(DigestAlgorithm::Sha256),
        watch: &watch,
        limits,
        cancel,
    };
    let (entries, diff_id) = read_tar(tar, cutter)?;
    io::copy(&mut raw, &mut io::sink()).map_err(|error| watch.explain(error, ""))?;
    if let Some(expected) = expected.filter(|expected| *expected != diff_id) {
        let (expected, found) = (expected.to_string(), diff_id.to_string());
        return Err(OverlayError::DiffId { expected, found });
    }
    let amounts = Amounts {
        compressed: watch.compressed.load(Ordering::Relaxed),
        inflated: watch.inflated.load(Ordering::Relaxed),
        entries: entries.len() as u64,
        data: cutter.data(),
    };
    let dense_from = cutter.dense_from();
    Ok(ReadLayer { entries: LayerEntries { entries }, diff_id, amounts, dense_from })
}

/// Reads a tar to its end.
fn read_tar<R: Read>(
    mut tar: Inflated<'_, R>,
    cutter: &mut Cutter,
) -> Result<(Vec<LayerEntry<FileData>>, Digest), OverlayError> {
    let (watch, limits, cancel) = (tar.watch, tar.limits, tar.cancel);
    let entries =
        walk(&mut tar, cutter, &limits, cancel).map_err(|(error, near)| watch.or(error, &near))?;
    // What follows the archive's end belongs to the diff-id, and the checksums of the compressed
    // stream stand at its end.
    let near = " (behind the last entry)";
    io::copy(&mut tar, &mut io::sink()).map_err(|error| watch.explain(error, near))?;
    Ok((entries, tar.hasher.finish()))
}

/// The error and the entry that it came near to.
type Failed = (OverlayError, String);

fn walk(
    input: &mut impl Read,
    cutter: &mut Cutter,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<Vec<LayerEntry<FileData>>, Failed> {
    let mut tar = TarReader::new(input);
    let mut entries: Vec<LayerEntry<FileData>> = Vec::new();
    loop {
        let after = || match entries.last() {
            Some(last) => format!(" (after entry {:?})", String::from_utf8_lossy(&last.path)),
            None => String::new(),
        };
        cancel.check().map_err(|error| (error, String::new()))?;
        let Some(entry) = tar.next_entry().map_err(|error| (error.into(), after()))? else {
            return Ok(entries);
        };
        if entries.len() as u64 >= limits.entries {
            let error = OverlayError::Limit(format!("more than {} entries", limits.entries));
            return Err((error, String::new()));
        }
        let data = match &entry.kind {
            EntryKind::File(file) => {
                let name = || format!(" (in entry {:?})", String::from_utf8_lossy(&entry.path));
                cut(&mut tar, cutter, file, &entry, cancel).map_err(|error| (error, name()))?
            }
            _ => FileData::default(),
        };
        entries.push(entry.map_file(|_| data));
    }
}

fn cut<R: Read>(
    tar: &mut TarReader<R>,
    cutter: &mut Cutter,
    file: &TarFile,
    entry: &LayerEntry<TarFile>,
    cancel: &Cancel,
) -> Result<FileData, OverlayError> {
    cutter.cut(tar, file, cancel).map_err(|error| match error {
        OverlayError::Invalid { part, reason } => {
            let path = String::from_utf8_lossy(&entry.path);
            OverlayError::invalid(part, format!("entry {} ({path:?}): {reason}", entry.index))
        }
        other => other,
    })
}

/// What happened below the tar reader, whose own errors do not tell.
#[derive(Default)]
struct Watch {
    compressed: AtomicU64,
    inflated: AtomicU64,
    fault: Mutex<Option<Fault>>,
}

enum Fault {
    /// The caller's reader failed.
    Source(io::Error),
    /// The compressed stream is damaged.
    Damaged(String),
    /// Ours: a limit, or the wish to stop.
    Own(OverlayError),
}

impl Watch {
    fn set(&self, fault: Fault) {
        let mut slot = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert(fault);
    }

    /// The fault that lies behind `error`, else `error`.
    fn or(&self, error: OverlayError, near: &str) -> OverlayError {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        let inflated = self.inflated.load(Ordering::Relaxed);
        let near = near.to_owned();
        match fault {
            None => error,
            Some(Fault::Own(own)) => own,
            Some(Fault::Source(source)) => OverlayError::Source { inflated, near, source },
            Some(Fault::Damaged(reason)) => OverlayError::Damaged { inflated, near, reason },
        }
    }

    fn explain(&self, error: io::Error, near: &str) -> OverlayError {
        self.or(OverlayError::Io(error), near)
    }
}

/// The caller's reader, counted.
struct Raw<'a, R> {
    reader: R,
    watch: &'a Watch,
}

impl<R: Read> Read for Raw<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.reader.read(buffer) {
            Ok(read) => {
                self.watch.compressed.fetch_add(read as u64, Ordering::Relaxed);
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let copy = io::Error::new(error.kind(), error.to_string());
                self.watch.set(Fault::Source(error));
                Err(copy)
            }
        }
    }
}

/// The uncompressed tar: hashed, counted, limited.
struct Inflated<'a, R> {
    reader: R,
    hasher: Hasher,
    watch: &'a Watch,
    limits: Limits,
    cancel: &'a Cancel,
}

impl<R> Inflated<'_, R> {
    fn check(&self) -> Result<(), OverlayError> {
        self.cancel.check()?;
        let inflated = self.watch.inflated.load(Ordering::Relaxed);
        if inflated > self.limits.inflated {
            let limit = self.limits.inflated;
            return Err(OverlayError::Limit(format!("more than {limit} bytes of tar")));
        }
        let compressed = self.watch.compressed.load(Ordering::Relaxed);
        if inflated > RATIO_FROM && inflated / self.limits.ratio.max(1) > compressed {
            return Err(OverlayError::Limit(format!(
                "{inflated} bytes of tar out of {compressed} compressed bytes"
            )));
        }
        Ok(())
    }
}

impl<R: Read> Read for Inflated<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Err(own) = self.check() {
            let copy = io::Error::other(own.to_string());
            self.watch.set(Fault::Own(own));
            return Err(copy);
        }
        match self.reader.read(buffer) {
            Ok(read) => {
                self.hasher.update(buffer.get(..read).unwrap_or_default());
                self.watch.inflated.fetch_add(read as u64, Ordering::Relaxed);
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                // A fault of the caller's reader was noted first and stays.
                self.watch.set(Fault::Damaged(error.to_string()));
                Err(error)
            }
        }
    }
}
