//! Compression of batches of blocks, inline or on threads of its own, always in order.

use std::collections::BTreeMap;
use std::io;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::codec::{Algorithm, Compressor};

/// Blocks side by side; all are whole except the last one of the file.
struct Job {
    number: u64,
    blocks: Vec<u8>,
}

/// The stored form of a batch.
pub(crate) struct Batch {
    /// Compressed blocks with their checksums.
    pub(crate) stored: Vec<u8>,
    /// Length of each in `stored`.
    pub(crate) lengths: Vec<u32>,
    /// The input's buffer, to be used again.
    pub(crate) spare: Vec<u8>,
}

/// Takes batches and gives their stored forms back in the same order.
pub(crate) struct Pool {
    mode: Mode,
    sent: u64,
    taken: u64,
}

enum Mode {
    Inline { compressor: Box<Compressor>, block_size: usize },
    Threads(Threads),
}

struct Threads {
    jobs: Option<Sender<Job>>,
    done: Receiver<(u64, io::Result<Batch>)>,
    /// Finished batches that wait for an earlier one.
    waiting: BTreeMap<u64, io::Result<Batch>>,
    handles: Vec<JoinHandle<()>>,
}

impl Pool {
    /// `threads` 0 compresses on the caller's thread.
    pub(crate) fn new(algorithm: Algorithm, block_size: usize, threads: usize) -> io::Result<Self> {
        let mode = if threads == 0 {
            let compressor = Box::new(Compressor::new(algorithm, block_size)?);
            Mode::Inline { compressor, block_size }
        } else {
            Mode::Threads(Threads::start(algorithm, block_size, threads)?)
        };
        Ok(Self { mode, sent: 0, taken: 0 })
    }

    /// Hands a batch over. Results that are ready come back at once, so memory stays bounded.
    pub(crate) fn submit(&mut self, blocks: Vec<u8>) -> io::Result<Vec<Batch>> {
        let mut ready = Vec::new();
        let number = self.sent;
        self.sent += 1;
        match &mut self.mode {
            Mode::Inline { compressor, block_size } => {
                ready.push(compress(compressor, *block_size, blocks)?);
                self.taken += 1;
            }
            Mode::Threads(threads) => {
                let in_flight = 2 * threads.handles.len() as u64;
                while number - self.taken >= in_flight {
                    ready.push(threads.take(self.taken)?);
                    self.taken += 1;
                }
                let gone = || io::Error::other("the compression threads have ended");
                let jobs = threads.jobs.as_ref().ok_or_else(gone)?;
                jobs.send(Job { number, blocks }).map_err(|_| gone())?;
            }
        }
        Ok(ready)
    }

    /// Waits for the next batch that was handed over; `None` when all have come back.
    pub(crate) fn drain(&mut self) -> io::Result<Option<Batch>> {
        if self.taken == self.sent {
            return Ok(None);
        }
        match &mut self.mode {
            Mode::Inline { .. } => Ok(None),
            Mode::Threads(threads) => {
                let batch = threads.take(self.taken)?;
                self.taken += 1;
                Ok(Some(batch))
            }
        }
    }
}

impl Threads {
    fn start(algorithm: Algorithm, block_size: usize, threads: usize) -> io::Result<Self> {
        let (jobs, queue) = bounded::<Job>(2 * threads);
        let (results, done) = unbounded();
        let mut handles = Vec::with_capacity(threads);
        for _ in 0..threads {
            let (queue, results) = (queue.clone(), results.clone());
            let mut compressor = Compressor::new(algorithm, block_size)?;
            let work = move || {
                for job in queue {
                    let result = compress(&mut compressor, block_size, job.blocks);
                    if results.send((job.number, result)).is_err() {
                        return;
                    }
                }
            };
            let builder = std::thread::Builder::new().name("zfile".to_owned());
            handles.push(builder.spawn(work)?);
        }
        Ok(Self { jobs: Some(jobs), done, waiting: BTreeMap::new(), handles })
    }

    fn take(&mut self, number: u64) -> io::Result<Batch> {
        loop {
            if let Some(result) = self.waiting.remove(&number) {
                return result;
            }
            let (number, result) = self.done.recv().map_err(io::Error::other)?;
            self.waiting.insert(number, result);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        drop(self.jobs.take());
        for handle in self.handles.drain(..) {
            // A panic there has shown itself as a missing result.
            let _ = handle.join();
        }
    }
}

fn compress(compressor: &mut Compressor, block_size: usize, blocks: Vec<u8>) -> io::Result<Batch> {
    let mut stored = Vec::with_capacity(blocks.len());
    let mut lengths = Vec::with_capacity(blocks.len() / block_size + 1);
    for block in blocks.chunks(block_size) {
        lengths.push(compressor.append(block, &mut stored)?);
    }
    Ok(Batch { stored, lengths, spare: blocks })
}
