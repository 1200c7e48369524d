//! Writes a ZFile as the original streams in.

use std::io::{self, Write};

use super::codec::Algorithm;
use super::crc;
use super::header::{HEADER_SIZE, Header};
use super::pool::{Batch, Pool};

/// Bytes of the original that are compressed in one go. A multiple of every block size.
const BATCH: usize = 256 * 1024;

/// How a ZFile is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    pub algorithm: Algorithm,
    /// 4096, 8192, 16384 or 32768. Never 64 KiB: readers in the field cannot take its
    /// incompressible blocks.
    pub block_size: u32,
    /// Threads that compress; 0 for the caller's own.
    pub threads: usize,
}

/// What the end of a ZFile gives.
pub struct Finished<W> {
    pub out: W,
    /// To be written over the first 512 bytes of the ZFile.
    pub header: [u8; 512],
    /// Bytes of the whole ZFile.
    pub len: u64,
    /// Bytes of the original.
    pub original_size: u64,
}

/// Compresses what is written to it block by block.
///
/// The header goes out empty first; [`ZFileWriter::finish`] gives the one to put in its place.
pub struct ZFileWriter<W> {
    out: W,
    parameters: Parameters,
    pool: Pool,
    buffer: Vec<u8>,
    spares: Vec<Vec<u8>>,
    lengths: Vec<u32>,
    /// Bytes of the file so far.
    position: u64,
    /// Bytes of the original so far.
    original: u64,
}

impl<W: Write> ZFileWriter<W> {
    /// # Errors
    /// `InvalidInput` for another block size; errors of `out`.
    pub fn new(mut out: W, parameters: Parameters) -> io::Result<Self> {
        let block_size = parameters.block_size;
        if !block_size.is_power_of_two() || !(4096..=32_768).contains(&block_size) {
            let message = format!("block size {block_size} is none of 4096, 8192, 16384, 32768");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let pool = Pool::new(parameters.algorithm, block_size as usize, parameters.threads)?;
        out.write_all(&[0; 512])?;
        Ok(Self {
            out,
            parameters,
            pool,
            buffer: Vec::with_capacity(BATCH),
            spares: Vec::new(),
            lengths: Vec::new(),
            position: HEADER_SIZE,
            original: 0,
        })
    }

    /// Bytes of the original written so far: the position of the next.
    pub fn original_position(&self) -> u64 {
        self.original
    }

    /// Bytes of the file written so far.
    pub fn stored_bytes(&self) -> u64 {
        self.position
    }

    /// Appends to the original.
    ///
    /// # Errors
    /// Those of the output.
    pub fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.original += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = BATCH - self.buffer.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == BATCH {
                self.submit()?;
            }
        }
        Ok(())
    }

    /// Appends zeros until the original's length is a multiple of `alignment`.
    ///
    /// # Errors
    /// Those of the output.
    pub fn pad(&mut self, alignment: u64) -> io::Result<()> {
        const ZEROS: [u8; 512] = [0; 512];
        let mut missing = self.original.next_multiple_of(alignment) - self.original;
        while missing > 0 {
            let take = missing.min(512);
            self.append(ZEROS.get(..usize::try_from(take).unwrap_or(512)).unwrap_or(&ZEROS))?;
            missing -= take;
        }
        Ok(())
    }

    /// Writes what is pending, the jump table and the trailer.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<Finished<W>> {
        if !self.buffer.is_empty() {
            self.submit()?;
        }
        while let Some(batch) = self.pool.drain()? {
            self.store(batch)?;
        }
        let table: Vec<u8> = self.lengths.iter().flat_map(|len| len.to_le_bytes()).collect();
        self.out.write_all(&table)?;
        let mut header = Header {
            is_header: false,
            complete: false,
            index_offset: self.position,
            blocks: self.lengths.len() as u64,
            original_size: self.original,
            index_crc: crc::raw(crc::PLAIN, &table),
            checked: true,
            block_size: self.parameters.block_size,
            algorithm: self.parameters.algorithm,
            verify: true,
        };
        self.out.write_all(&header.encode())?;
        header.is_header = true;
        header.complete = true;
        Ok(Finished {
            header: header.encode(),
            len: self.position + table.len() as u64 + HEADER_SIZE,
            original_size: self.original,
            out: self.out,
        })
    }

    fn submit(&mut self) -> io::Result<()> {
        let next = self.spares.pop().unwrap_or_else(|| Vec::with_capacity(BATCH));
        let full = std::mem::replace(&mut self.buffer, next);
        for batch in self.pool.submit(full)? {
            self.store(batch)?;
        }
        Ok(())
    }

    fn store(&mut self, mut batch: Batch) -> io::Result<()> {
        self.out.write_all(&batch.stored)?;
        self.position += batch.stored.len() as u64;
        self.lengths.append(&mut batch.lengths);
        batch.spare.clear();
        self.spares.push(batch.spare);
        Ok(())
    }
}
