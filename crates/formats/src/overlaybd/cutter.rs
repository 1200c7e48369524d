//! Lays the content of files out in the data stream.

use std::io::Read;

use super::blocks::{BlockReader, BlockSink};
use super::source::Intake;
use super::zfile::ZFileWriter;
use super::{BLOCK, Cancel, OverlayError, SECTOR, Spool};
use crate::layer::{FileData, Segment};
use crate::tar::TarFile;

/// Runs of zero blocks shorter than this, between data, stay data: compressed they are next to
/// nothing, while a hole costs an extent and an index entry.
const SHORTEST_HOLE: u64 = 32 * 1024;

/// Files from this size on begin at a block of the stream, so that a page of theirs is in one
/// compressed block. Smaller ones are packed sector by sector.
const ALIGNED_FROM: u64 = 32 * 1024;

/// From this many segments on, data are padded to whole blocks, so that neighbouring files join
/// into one index entry and the index stays within what readers take.
const DENSE_AFTER: u64 = 400_000;

const ZEROS: [u8; 4096] = [0; 4096];

/// Where the data stream goes.
pub(crate) enum Sink {
    Output(Box<ZFileWriter<Spool>>),
    /// Only counted.
    Nowhere,
}

/// Takes one file after the other.
pub(crate) struct Cutter {
    reader: Option<BlockReader>,
    stream: Stream,
}

impl Cutter {
    pub(crate) fn new(sink: Sink) -> Self {
        let stream = Stream { sink, position: 0, segments: 0, dense_from: None, data: 0 };
        Self { reader: Some(BlockReader::new()), stream }
    }

    /// Bytes of file data so far.
    pub(crate) fn data(&self) -> u64 {
        self.stream.data
    }

    /// The stream position from which data are padded to whole blocks.
    pub(crate) fn dense_from(&self) -> u64 {
        self.stream.dense_from.unwrap_or(u64::MAX)
    }

    pub(crate) fn into_sink(self) -> Sink {
        self.stream.sink
    }
}

impl Intake for Cutter {
    type File = FileData;

    fn take(
        &mut self,
        input: &mut impl Read,
        file: &TarFile,
        cancel: &Cancel,
    ) -> Result<FileData, OverlayError> {
        let mut reader = self.reader.take().unwrap_or_else(BlockReader::new);
        let segments = Vec::new();
        let mut layout = Layout { stream: &mut self.stream, size: file.size, segments };
        let result = reader.read(input, file, &mut layout, cancel);
        self.reader = Some(reader);
        result?;
        layout.close()?;
        Ok(FileData { size: file.size, segments: layout.segments })
    }
}

/// The data stream of a layer.
struct Stream {
    sink: Sink,
    position: u64,
    segments: u64,
    dense_from: Option<u64>,
    data: u64,
}

impl Stream {
    fn pad(&mut self, alignment: u64) -> Result<(), OverlayError> {
        let missing = self.position.next_multiple_of(alignment) - self.position;
        self.write(ZEROS.get(..usize::try_from(missing).unwrap_or_default()).unwrap_or_default())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), OverlayError> {
        self.position += bytes.len() as u64;
        match &mut self.sink {
            Sink::Output(output) => Ok(output.append(bytes)?),
            Sink::Nowhere => Ok(()),
        }
    }
}

/// The file that is being laid out.
struct Layout<'a> {
    stream: &'a mut Stream,
    size: u64,
    segments: Vec<Segment>,
}

impl BlockSink for Layout<'_> {
    fn block(&mut self, at: u64, block: &[u8]) -> Result<(), OverlayError> {
        let end = self.segments.last().map(|last| last.file_offset + last.len);
        match end.map(|end| at - end) {
            Some(gap) if gap < SHORTEST_HOLE => self.fill(gap)?,
            _ => self.open(at)?,
        }
        self.stream.write(block)?;
        if let Some(last) = self.segments.last_mut() {
            last.len += block.len() as u64;
        }
        self.stream.data += block.len() as u64;
        Ok(())
    }
}

impl Layout<'_> {
    /// Continues the last segment over zeros.
    fn fill(&mut self, gap: u64) -> Result<(), OverlayError> {
        for _ in 0..gap / BLOCK {
            self.stream.write(&ZEROS)?;
        }
        if let Some(last) = self.segments.last_mut() {
            last.len += gap;
        }
        Ok(())
    }

    fn open(&mut self, at: u64) -> Result<(), OverlayError> {
        self.close()?;
        if self.size - at >= ALIGNED_FROM {
            self.stream.pad(BLOCK)?;
        }
        self.stream.segments += 1;
        if self.stream.segments > DENSE_AFTER && self.stream.dense_from.is_none() {
            self.stream.pad(BLOCK)?;
            self.stream.dense_from = Some(self.stream.position);
        }
        let stream_offset = self.stream.position;
        self.segments.push(Segment { file_offset: at, len: 0, stream_offset });
        Ok(())
    }

    /// Pads the end of the last segment.
    fn close(&mut self) -> Result<(), OverlayError> {
        if self.segments.is_empty() {
            return Ok(());
        }
        self.stream.pad(if self.stream.dense_from.is_some() { BLOCK } else { SECTOR })
    }
}
