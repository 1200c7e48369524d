//! Reads a source layer once: decompress, hash, walk the tar.

use std::io::{self, BufReader, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use berth_types::{Algorithm, Digest, Hasher};

use super::layer::{Amounts, Limits};
use super::{Cancel, OverlayError};
use crate::compression::{Compression, WindowTooLarge, decoder, detect};
use crate::layer::{EntryKind, LayerEntries, LayerEntry};
use crate::tar::{TarFile, TarReader};
use crate::unpack;

/// Bytes of tar that are decompressed at a time.
const BUFFER: usize = 256 * 1024;

/// What becomes of the content of regular files.
pub(crate) trait Intake {
    /// What is kept of a file.
    type File;

    /// Reads the stored bytes of `file` from `input`.
    fn take(
        &mut self,
        input: &mut impl Read,
        file: &TarFile,
        cancel: &Cancel,
    ) -> Result<Self::File, OverlayError>;
}

/// A source layer that was read.
pub(crate) struct SourceRead<F> {
    pub(crate) entries: LayerEntries<F>,
    pub(crate) diff_id: Digest,
    /// `data` is not filled in.
    pub(crate) amounts: Amounts,
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

/// Reads a source layer to its end.
pub(crate) fn read_source<I: Intake>(
    source: Source<impl Read + Send>,
    intake: &mut I,
    cancel: &Cancel,
) -> Result<SourceRead<I::File>, OverlayError> {
    let limits = source.limits;
    let (entries, diff_id, amounts) = inflate_near(source, cancel, |tar| {
        walk(BufReader::with_capacity(BUFFER, tar), intake, &limits, cancel)
    })?;
    let amounts = Amounts { entries: entries.len() as u64, ..amounts };
    Ok(SourceRead { entries: LayerEntries { entries }, diff_id, amounts })
}

/// Hands the uncompressed bytes of a layer to `read` and checks that they have the diff-id.
pub(crate) fn inflate<T>(
    source: Source<impl Read + Send>,
    cancel: &Cancel,
    read: impl FnOnce(&mut dyn Read) -> Result<T, OverlayError>,
) -> Result<(T, Digest, Amounts), OverlayError> {
    inflate_near(source, cancel, |tar| {
        read(&mut BufReader::with_capacity(BUFFER, tar)).map_err(|error| (error, String::new()))
    })
}

fn inflate_near<T>(
    source: Source<impl Read + Send>,
    cancel: &Cancel,
    read: impl FnOnce(&mut dyn Read) -> Result<T, Failed>,
) -> Result<(T, Digest, Amounts), OverlayError> {
    let Source { reader, compression, expected, limits } = source;
    let watch = Watch::default();
    let mut raw = Raw { reader, watch: &watch };
    let mut head = Vec::new();
    (&mut raw).take(8).read_to_end(&mut head).map_err(|error| watch.explain(error, ""))?;
    let compression = compression.unwrap_or_else(|| detect(&head));
    let inner = Box::new(io::Cursor::new(head).chain(&mut raw));
    let (value, diff_id) = {
        let mut tar = Inflated {
            reader: decoder(compression, inner, limits.window, cancel),
            hasher: Hasher::new(Algorithm::Sha256),
            watch: &watch,
            limits,
            cancel,
        };
        let value = read(&mut tar).map_err(|(error, near)| watch.or(error, &near))?;
        // What follows the archive's end belongs to the diff-id, and the checksums of the compressed
        // stream stand at its end.
        let near = " (behind the last entry)";
        io::copy(&mut tar, &mut io::sink()).map_err(|error| watch.explain(error, near))?;
        (value, tar.hasher.finish())
    };
    io::copy(&mut raw, &mut io::sink()).map_err(|error| watch.explain(error, ""))?;
    if let Some(expected) = expected.filter(|expected| *expected != diff_id) {
        let (expected, found) = (expected.to_string(), diff_id.to_string());
        return Err(OverlayError::DiffId { expected, found });
    }
    let amounts = Amounts {
        compressed: watch.compressed.load(Ordering::Relaxed),
        inflated: watch.inflated.load(Ordering::Relaxed),
        entries: 0,
        data: 0,
    };
    Ok((value, diff_id, amounts))
}

/// The error and the entry that it came near to.
type Failed = (OverlayError, String);

fn walk<I: Intake>(
    input: impl Read,
    intake: &mut I,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<Vec<LayerEntry<I::File>>, Failed> {
    let mut tar = TarReader::new(input);
    let mut entries: Vec<LayerEntry<I::File>> = Vec::new();
    loop {
        cancel.check().map_err(|error| (error, String::new()))?;
        let entry = tar.next_entry().map_err(|error| (error.into(), after(entries.last())))?;
        let Some(entry) = entry else { return Ok(entries) };
        if entries.len() as u64 >= limits.entries {
            let error =
                OverlayError::Limit(format!("the layer has more than {} entries", limits.entries));
            return Err((error, String::new()));
        }
        entries.push(take(&mut tar, intake, entry, cancel)?);
    }
}

fn after<F>(last: Option<&LayerEntry<F>>) -> String {
    last.map(|last| format!(" (after entry {:?})", String::from_utf8_lossy(&last.path)))
        .unwrap_or_default()
}

/// Reads the content of an entry.
fn take<R: Read, I: Intake>(
    tar: &mut TarReader<R>,
    intake: &mut I,
    entry: LayerEntry<TarFile>,
    cancel: &Cancel,
) -> Result<LayerEntry<I::File>, Failed> {
    let LayerEntry { index, path, kind, metadata } = entry;
    let metadata = unpack::metadata(&kind, metadata);
    let kind = match kind {
        EntryKind::File(file) => {
            let taken = intake.take(tar, &file, cancel).map_err(|error| {
                let name = String::from_utf8_lossy(&path);
                let error = match error {
                    OverlayError::Invalid { part, reason } => {
                        OverlayError::invalid(part, format!("entry {index} ({name:?}): {reason}"))
                    }
                    other => other,
                };
                (error, format!(" (in entry {name:?})"))
            })?;
            EntryKind::File(taken)
        }
        EntryKind::Directory => EntryKind::Directory,
        EntryKind::Symlink(target) => EntryKind::Symlink(target),
        EntryKind::HardLink(target) => EntryKind::HardLink(target),
        EntryKind::CharDevice { major, minor } => EntryKind::CharDevice { major, minor },
        EntryKind::BlockDevice { major, minor } => EntryKind::BlockDevice { major, minor },
        EntryKind::Fifo => EntryKind::Fifo,
    };
    Ok(LayerEntry { index, path, kind, metadata })
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
            let message = format!("the layer has more than {limit} bytes uncompressed");
            return Err(OverlayError::Limit(message));
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
                self.watch.set(match error.get_ref() {
                    Some(inner) if inner.is::<WindowTooLarge>() => {
                        Fault::Own(OverlayError::Limit(inner.to_string()))
                    }
                    _ if self.cancel.is_cancelled() => Fault::Own(OverlayError::Canceled),
                    _ => Fault::Damaged(error.to_string()),
                });
                Err(error)
            }
        }
    }
}
