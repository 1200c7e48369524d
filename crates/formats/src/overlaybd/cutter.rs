//! Cuts the content of files into the runs that go into the data stream.

use std::io::Read;

use super::zfile::ZFileWriter;
use super::{BLOCK, Cancel, OverlayError, SECTOR, Spool};
use crate::layer::{FileData, Segment};
use crate::tar::{SparseRegion, TarFile};

/// Runs of zero blocks shorter than this, between data, stay data: compressed they are next to
/// nothing, while a hole costs an extent and an index entry.
const SHORTEST_HOLE: u64 = 32 * 1024;

/// Files from this size on begin at a block of the stream, so that a page of theirs is in one
/// compressed block. Smaller ones are packed sector by sector.
const ALIGNED_FROM: u64 = 32 * 1024;

/// From this many segments on, data are padded to whole blocks, so that neighbouring files join
/// into one index entry and the index stays within what readers take.
const DENSE_AFTER: u64 = 400_000;

const BLOCK_LEN: usize = 4096;
const CHUNK: usize = 1 << 20;

/// Where the data stream goes.
pub(crate) enum Sink {
    Output(Box<ZFileWriter<Spool>>),
    /// Only counted.
    Nowhere,
}

/// Takes one file after the other.
pub(crate) struct Cutter {
    sink: Sink,
    chunk: Vec<u8>,
    /// Length of the data stream so far.
    position: u64,
    segments: u64,
    dense_from: Option<u64>,
    data: u64,
}

/// The file that is being cut.
struct Current {
    size: u64,
    segments: Vec<Segment>,
    /// A block of which only a part has come; what has not is zero.
    partial: Box<[u8; BLOCK_LEN]>,
    /// File offset of `partial`, when it holds something.
    partial_at: Option<u64>,
}

impl Cutter {
    pub(crate) fn new(sink: Sink) -> Self {
        Self { sink, chunk: vec![0; CHUNK], position: 0, segments: 0, dense_from: None, data: 0 }
    }

    /// Bytes of file data so far.
    pub(crate) fn data(&self) -> u64 {
        self.data
    }

    /// The stream position from which data are padded to whole blocks.
    pub(crate) fn dense_from(&self) -> u64 {
        self.dense_from.unwrap_or(u64::MAX)
    }

    pub(crate) fn into_sink(self) -> Sink {
        self.sink
    }

    /// Reads the stored bytes of `file` from `input` into the stream.
    ///
    /// # Errors
    /// [`OverlayError::Invalid`] for sparse regions out of order or bounds and when `input` fails,
    /// [`OverlayError::Io`] of the spool, [`OverlayError::Cancelled`].
    pub(crate) fn cut(
        &mut self,
        input: &mut impl Read,
        file: &TarFile,
        cancel: &Cancel,
    ) -> Result<FileData, OverlayError> {
        let whole = [SparseRegion { offset: 0, len: file.size }];
        let regions = file.sparse.as_deref().unwrap_or(&whole);
        let mut current = Current {
            size: file.size,
            segments: Vec::new(),
            partial: Box::new([0; BLOCK_LEN]),
            partial_at: None,
        };
        let mut free_from = 0;
        for region in regions {
            let end = region.offset.checked_add(region.len).filter(|end| *end <= file.size);
            let Some(end) = end.filter(|_| region.offset >= free_from) else {
                return Err(OverlayError::invalid(
                    "sparse map",
                    "a region overlaps another or lies beyond the end of the file",
                ));
            };
            free_from = end;
            let mut at = region.offset;
            while at < end {
                cancel.check()?;
                let want = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
                let mut chunk = std::mem::take(&mut self.chunk);
                let read = input.read_exact(chunk.get_mut(..want).unwrap_or_default());
                let broken =
                    |error: std::io::Error| OverlayError::invalid("file data", error.to_string());
                let result = read.map_err(broken).and_then(|()| {
                    self.take(&mut current, at, chunk.get(..want).unwrap_or_default())
                });
                self.chunk = chunk;
                result?;
                at += want as u64;
            }
        }
        self.flush_partial(&mut current)?;
        self.close(&current)?;
        Ok(FileData { size: file.size, segments: current.segments })
    }

    /// Takes bytes of the file at `at`, in ascending order.
    fn take(&mut self, current: &mut Current, at: u64, bytes: &[u8]) -> Result<(), OverlayError> {
        let (mut at, mut bytes) = (at, bytes);
        while !bytes.is_empty() {
            let block_at = at - at % BLOCK;
            if current.partial_at.is_some_and(|partial| partial != block_at) {
                self.flush_partial(current)?;
            }
            if current.partial_at.is_none()
                && at == block_at
                && let Some((block, rest)) = bytes.split_first_chunk::<BLOCK_LEN>()
            {
                self.block(current, at, block)?;
                bytes = rest;
                at += BLOCK;
                continue;
            }
            let inside = usize::try_from(at - block_at).unwrap_or_default();
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK_LEN - inside));
            let target = current.partial.get_mut(inside..inside + now.len());
            target.unwrap_or_default().copy_from_slice(now);
            current.partial_at = Some(block_at);
            at += now.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    fn flush_partial(&mut self, current: &mut Current) -> Result<(), OverlayError> {
        if let Some(at) = current.partial_at.take() {
            let block = std::mem::replace(&mut current.partial, Box::new([0; BLOCK_LEN]));
            let len = usize::try_from(current.size - at).unwrap_or(BLOCK_LEN).min(BLOCK_LEN);
            self.block(current, at, block.get(..len).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Takes a block of the file: 4096 bytes, fewer only at its end.
    fn block(&mut self, current: &mut Current, at: u64, block: &[u8]) -> Result<(), OverlayError> {
        if is_zero(block) {
            return Ok(());
        }
        let end = current.segments.last().map(|last| last.file_offset + last.len);
        match end.map(|end| at - end) {
            Some(gap) if gap < SHORTEST_HOLE => self.fill(current, gap)?,
            _ => self.open(current, at)?,
        }
        self.write(block)?;
        if let Some(last) = current.segments.last_mut() {
            last.len += block.len() as u64;
        }
        self.data += block.len() as u64;
        Ok(())
    }

    /// Continues the last segment over zeros.
    fn fill(&mut self, current: &mut Current, gap: u64) -> Result<(), OverlayError> {
        for _ in 0..gap / BLOCK {
            self.write(&[0; BLOCK_LEN])?;
        }
        if let Some(last) = current.segments.last_mut() {
            last.len += gap;
        }
        Ok(())
    }

    fn open(&mut self, current: &mut Current, at: u64) -> Result<(), OverlayError> {
        self.close(current)?;
        if current.size - at >= ALIGNED_FROM {
            self.pad(BLOCK)?;
        }
        self.segments += 1;
        if self.segments > DENSE_AFTER && self.dense_from.is_none() {
            self.pad(BLOCK)?;
            self.dense_from = Some(self.position);
        }
        let stream_offset = self.position;
        current.segments.push(Segment { file_offset: at, len: 0, stream_offset });
        Ok(())
    }

    /// Pads the end of the last segment.
    fn close(&mut self, current: &Current) -> Result<(), OverlayError> {
        if current.segments.is_empty() {
            return Ok(());
        }
        self.pad(if self.dense_from.is_some() { BLOCK } else { SECTOR })
    }

    fn pad(&mut self, alignment: u64) -> Result<(), OverlayError> {
        let missing = self.position.next_multiple_of(alignment) - self.position;
        let zeros = [0; BLOCK_LEN];
        self.write(zeros.get(..usize::try_from(missing).unwrap_or_default()).unwrap_or_default())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), OverlayError> {
        self.position += bytes.len() as u64;
        match &mut self.sink {
            Sink::Output(output) => Ok(output.append(bytes)?),
            Sink::Nowhere => Ok(()),
        }
    }
}

fn is_zero(block: &[u8]) -> bool {
    const ZEROS: [u8; BLOCK_LEN] = [0; BLOCK_LEN];
    block.first() == Some(&0) && ZEROS.get(..block.len()) == Some(block)
}
