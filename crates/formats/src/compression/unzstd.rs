//! Zstandard frame by frame (RFC 8878), so that the memory of each is known before it is read.

use std::io::{self, BufRead, Read};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use super::WindowTooLarge;
use crate::overlaybd::Cancel;

/// The most that a decoder can be told to look back (`ZSTD_WINDOWLOG_MAX`, 64 bit).
const MAX_WINDOW_LOG: u32 = 31;

/// Windows above this are decoded one at a time. `zstd` itself asks for permission (`--long=N`) above
/// it.
const LARGE: u64 = 128 << 20;

/// Magic number, descriptor, window, dictionary and content size.
const LONGEST_HEADER: usize = 18;
const MAGIC: u32 = 0xfd2f_b528;
const SKIPPABLE: u32 = 0x184d_2a50;
const SKIPPABLE_HEADER: usize = 8;

/// Bytes on the way through the decoder.
pub(super) struct Unzstd<'a, R> {
    source: R,
    /// Bytes of `source` that were looked at before they were decoded.
    head: Vec<u8>,
    decoder: Option<Decoder<'static>>,
    in_frame: bool,
    /// Held while a large frame is decoded.
    turn: Option<Turn>,
    limit: u64,
    cancel: &'a Cancel,
}

impl<'a, R: BufRead> Unzstd<'a, R> {
    pub(super) fn new(source: R, limit: u64, cancel: &'a Cancel) -> Self {
        let head = Vec::with_capacity(LONGEST_HEADER);
        let limit = limit.min(1 << MAX_WINDOW_LOG);
        Self { source, head, decoder: None, in_frame: false, turn: None, limit, cancel }
    }

    /// Goes to the next frame with data; `false` at the end.
    fn begin_frame(&mut self) -> io::Result<bool> {
        loop {
            while self.head.len() < LONGEST_HEADER {
                let bytes = self.source.fill_buf()?;
                if bytes.is_empty() {
                    break;
                }
                let count = bytes.len().min(LONGEST_HEADER - self.head.len());
                self.head.extend(bytes.iter().take(count));
                self.source.consume(count);
            }
            if self.head.is_empty() {
                return Ok(false);
            }
            match skippable(&self.head) {
                Some(size) => self.skip(SKIPPABLE_HEADER as u64 + size)?,
                None => break,
            }
        }
        let window = window(&self.head).unwrap_or_default();
        if window > self.limit {
            return Err(io::Error::other(WindowTooLarge { window, limit: self.limit }));
        }
        if window > LARGE {
            self.turn = Some(Turn::wait(self.cancel)?);
        }
        if let Some(decoder) = &mut self.decoder {
            decoder.reinit()?;
        } else {
            let mut decoder = Decoder::new()?;
            decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))?;
            self.decoder = Some(decoder);
        }
        self.in_frame = true;
        Ok(true)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let held = self.head.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
        self.head.drain(..held);
        let rest = bytes - held as u64;
        let skipped = io::copy(&mut (&mut self.source).take(rest), &mut io::sink())?;
        if skipped < rest { Err(cut_off()) } else { Ok(()) }
    }

    /// Decodes what there is into `buffer`.
    fn step(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(decoder) = &mut self.decoder else { return Ok(0) };
        let from_head = !self.head.is_empty();
        let bytes = if from_head { self.head.as_slice() } else { self.source.fill_buf()? };
        let at_end = bytes.is_empty();
        let mut input = InBuffer::around(bytes);
        let mut output = OutBuffer::around(buffer);
        let left = decoder.run(&mut input, &mut output)?;
        let (taken, made) = (input.pos(), output.pos());
        if from_head {
            self.head.drain(..taken);
        } else {
            self.source.consume(taken);
        }
        if left == 0 {
            self.in_frame = false;
            if self.turn.take().is_some() {
                // Its window goes with it.
                self.decoder = None;
            }
        } else if at_end && made == 0 {
            return Err(cut_off());
        }
        Ok(made)
    }
}

impl<R: BufRead> Read for Unzstd<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() {
            if !self.in_frame && !self.begin_frame()? {
                break;
            }
            let made = self.step(buffer)?;
            if made > 0 {
                return Ok(made);
            }
        }
        Ok(0)
    }
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the last zstd frame is cut off")
}

fn number(head: &[u8], from: usize, len: usize) -> Option<u64> {
    let bytes = head.get(from..from.checked_add(len)?)?;
    Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// The size of a frame that holds no data.
fn skippable(head: &[u8]) -> Option<u64> {
    let magic = number(head, 0, 4)?;
    (magic & 0xffff_fff0 == u64::from(SKIPPABLE)).then(|| number(head, 4, 4)).flatten()
}

/// How far back a frame looks (RFC 8878, 3.1.1.1); `None` when the decoder will refuse it anyway.
fn window(head: &[u8]) -> Option<u64> {
    if number(head, 0, 4)? != u64::from(MAGIC) {
        return None;
    }
    let descriptor = number(head, 4, 1)?;
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let window = number(head, 5, 1)?;
        let base = 1u64.checked_shl(10 + u32::try_from(window >> 3).ok()?)?;
        return Some(base + base / 8 * (window & 7));
    }
    let dictionary = [0, 1, 2, 4].get(usize::try_from(descriptor & 3).ok()?)?;
    let at = 5 + dictionary;
    match descriptor >> 6 {
        0 => number(head, at, 1),
        1 => number(head, at, 2).map(|size| size + 256),
        2 => number(head, at, 4),
        _ => number(head, at, 8),
    }
}

/// Whether a large frame is being decoded in this process.
static BUSY: Mutex<bool> = Mutex::new(false);
static FREE: Condvar = Condvar::new();

/// The right to decode a large frame.
struct Turn;

impl Turn {
    fn wait(cancel: &Cancel) -> io::Result<Self> {
        let mut busy = BUSY.lock().unwrap_or_else(PoisonError::into_inner);
        while *busy {
            if cancel.is_cancelled() {
                return Err(io::Error::other("cancelled"));
            }
            let waited = FREE.wait_timeout(busy, Duration::from_millis(200));
            busy = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *busy = true;
        Ok(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *BUSY.lock().unwrap_or_else(PoisonError::into_inner) = false;
        FREE.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use zstd::stream::raw::CParameter;

    use super::{Unzstd, WindowTooLarge, window};
    use crate::overlaybd::Cancel;

    fn read(bytes: &[u8], limit: u64) -> std::io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Unzstd::new(bytes, limit, &Cancel::new()).read_to_end(&mut out)?;
        Ok(out)
    }

    /// What `zstd --long=LOG` writes of a stream whose length it does not know.
    fn long(log: u32, data: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
        encoder.set_parameter(CParameter::WindowLog(log)).expect("a window");
        encoder.write_all(data).expect("compress");
        encoder.finish().expect("compress")
    }

    #[test]
    fn frames_that_look_far_back_are_read_within_the_limit() {
        let data = b"as zstd --long writes it".repeat(100);
        for log in [27, 28, 29, 30, 31] {
            let frame = long(log, &data);
            assert_eq!(window(&frame), Some(1 << log));
            assert_eq!(read(&frame, 1 << log).expect("read"), data, "{log}");
            let error = read(&frame, (1 << log) - 1).expect_err("above the limit");
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<WindowTooLarge>());
            assert_eq!(inner.map(|inner| inner.window), Some(1 << log), "{error}");
        }
    }

    #[test]
    fn frames_of_all_kinds_follow_one_another() {
        let skippable = [&0x184d_2a53_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"xyz"].concat();
        let small = zstd::encode_all(&b"a"[..], 3).expect("compress");
        let empty = zstd::encode_all(&b""[..], 3).expect("compress");
        let mut bytes = Vec::new();
        for _ in 0..300 {
            bytes.extend([&skippable[..], &small, &empty, &long(28, b"b"), &skippable].concat());
        }
        assert_eq!(read(&bytes, 1 << 28).expect("read"), b"ab".repeat(300));
        for cut in 1..small.len() {
            assert!(read(&small[..cut], 1 << 28).is_err(), "cut at {cut}");
        }
        assert!(read(&skippable[..9], 1 << 28).is_err());
        assert!(read(&[&small[..], b"garbage"].concat(), 1 << 28).is_err());
    }

    #[test]
    fn a_frame_larger_than_any_decoder_takes_is_refused_with_its_size() {
        let mut frame = long(27, b"x");
        frame[5] = 31 << 3;
        let error = read(&frame, u64::MAX).expect_err("refused");
        assert!(error.to_string().contains("2199023255552 bytes"), "{error}");
    }
}
