//! Where lines of the log go: a bounded queue, and one thread that writes it out.
//!
//! Whoever logs neither waits nor fails, whatever has become of the other end: a full disk, a pipe
//! that nobody reads, a closed one. A line that does not fit into the queue or cannot be written is
//! gone and counted; once lines can be written again, the log says how many are missing.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait, and their bytes.
const MOST_LINES: usize = 16 * 1024;
const MOST_BYTES: usize = 8 << 20;
/// How often a log with gaps says so.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// Pause of the thread before it tries a non-blocking end again, and of who waits for the thread.
const PAUSE: Duration = Duration::from_millis(10);

/// The way in. Clones lead to the same queue.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    queue: SyncSender<Message>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    waiting_bytes: AtomicUsize,
    lost: AtomicU64,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Everything before it is written; says so.
    Written(SyncSender<()>),
}

impl Sink {
    /// Starts the thread that writes to `output`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, lines) = sync_channel(MOST_LINES);
        let counts = Arc::new(Counts::default());
        let writer = Writer {
            output,
            counts: Arc::clone(&counts),
            torn: false,
            reported: 0,
            next_report: Instant::now(),
        };
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.run(&lines))?;
        Ok(Self { queue, counts })
    }

    /// Puts a line into the queue, or counts it as lost.
    pub(super) fn push(&self, line: Vec<u8>) {
        let size = line.len();
        let waiting = self.counts.waiting_bytes.fetch_add(size, Ordering::Relaxed);
        let fits = waiting.saturating_add(size) <= MOST_BYTES;
        if !fits || self.queue.try_send(Message::Line(line)).is_err() {
            self.counts.waiting_bytes.fetch_sub(size, Ordering::Relaxed);
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything that is in the queue was written or given up, at most `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let end = Instant::now() + limit;
        let (done, written) = sync_channel(1);
        let mut message = Message::Written(done);
        while let Err(error) = self.queue.try_send(message) {
            if Instant::now() >= end {
                return;
            }
            let (std::sync::mpsc::TrySendError::Full(back)
            | std::sync::mpsc::TrySendError::Disconnected(back)) = error;
            message = back;
            std::thread::sleep(PAUSE);
        }
        // Not in time, or the thread is gone: either way there is nothing to wait for.
        written.recv_timeout(end.saturating_duration_since(Instant::now())).ok();
    }
}

/// Collects what is written of one line; the line goes when this does.
#[derive(Debug)]
pub(super) struct Line<'a> {
    sink: &'a Sink,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { sink: self, bytes: Vec::new() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.sink.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// The other end of the queue.
struct Writer<W> {
    output: W,
    counts: Arc<Counts>,
    /// The last line is there in part.
    torn: bool,
    /// Lost lines of which the log has spoken.
    reported: u64,
    next_report: Instant,
}

impl<W: Write> Writer<W> {
    fn run(mut self, lines: &Receiver<Message>) {
        for message in lines {
            match message {
                Message::Line(line) => {
                    let written = self.write_line(&line);
                    self.counts.waiting_bytes.fetch_sub(line.len(), Ordering::Relaxed);
                    if written {
                        self.report_gap();
                    } else {
                        self.counts.lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
                // Who asked may have stopped waiting.
                Message::Written(done) => {
                    done.try_send(()).ok();
                }
            }
        }
    }

    /// Whether the whole line is there.
    fn write_line(&mut self, line: &[u8]) -> bool {
        if self.torn && self.write_all(b"\n").is_err() {
            return false;
        }
        self.torn = false;
        match self.write_all(line) {
            Ok(()) => true,
            Err(written) => {
                self.torn = written > 0;
                false
            }
        }
    }

    /// Writes all, or says how much there was room for.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.output.write(rest) {
                Ok(0) => return Err(written),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(PAUSE);
                }
                Err(_) => return Err(written),
            }
        }
        Ok(())
    }

    /// Speaks of lost lines once lines can be written again. The line goes the way of every other.
    fn report_gap(&mut self) {
        let lost = self.counts.lost.load(Ordering::Relaxed);
        let now = Instant::now();
        if lost == self.reported || now < self.next_report {
            return;
        }
        tracing::warn!(lines = lost - self.reported, "lines of the log could not be written");
        self.reported = lost;
        self.next_report = now + REPORT_EVERY;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc::channel;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// A file of limited size on a disk that is full while `full` says so.
    #[derive(Clone, Default)]
    struct Disk {
        full: Arc<AtomicBool>,
        content: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut content = self.content.lock().expect("a lock");
            if self.full.load(Ordering::SeqCst) {
                if content.len() < 8 {
                    content.extend_from_slice(&bytes[..2]);
                    return Ok(2);
                }
                return Err(io::ErrorKind::StorageFull.into());
            }
            content.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_a_full_disk_takes_no_more_are_counted_and_later_ones_are_written() {
        let disk = Disk::default();
        let sink = Sink::start(disk.clone()).expect("a sink");
        disk.full.store(true, Ordering::SeqCst);
        sink.push(b"first line\n".to_vec());
        sink.push(b"second\n".to_vec());
        sink.flush(LONG);
        assert_eq!(sink.lost(), 2);
        disk.full.store(false, Ordering::SeqCst);
        sink.push(b"third\n".to_vec());
        sink.flush(LONG);
        let content = disk.content.lock().expect("a lock").clone();
        assert_eq!(String::from_utf8_lossy(&content), "first li\nthird\n");
        assert_eq!(sink.lost(), 2);
    }

    /// Takes nothing until it is let go.
    struct Stuck(std::sync::mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().ok();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_a_reader_that_does_not_read() {
        let (release, stuck) = channel();
        let sink = Sink::start(Stuck(stuck)).expect("a sink");
        let begin = Instant::now();
        let line = vec![b'x'; 1 << 10];
        for _ in 0..MOST_LINES {
            drop(sink.make_writer().write(&line));
        }
        sink.flush(Duration::from_millis(100));
        assert!(begin.elapsed() < LONG);
        let kept = u64::try_from(MOST_BYTES / line.len()).expect("a number");
        let lines = u64::try_from(MOST_LINES).expect("a number");
        assert!(sink.lost() >= lines - kept - 1, "{} lost", sink.lost());
        drop(release);
        sink.flush(LONG);
        assert!(sink.lost() <= lines - kept + 1, "{} lost", sink.lost());
    }
}
