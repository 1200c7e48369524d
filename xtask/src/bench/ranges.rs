//! Readers of random ranges.
//!
//! On a machine that readers and server share, the readers must not be what is measured. A program that looks
//! at 64 KiB per answer, as wrk does, costs more than the server that sends them; so do threads that are
//! woken for every segment. These readers are one thread for all connections, look at the head of an answer
//! and have the kernel drop its body (`MSG_TRUNC`, tcp(7)).

use anyhow::{Context, Result, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Requests prepared for each reader; it goes round.
const REQUESTS: u64 = 1024;
/// Bytes of an answer's head at most.
const HEAD: usize = 2048;
/// Bytes dropped by one call at most.
const DROPPED: usize = 256 << 10;
/// Servers that are all silent for so many seconds have failed.
const PATIENCE: i64 = 60;

/// What is read.
pub(super) struct RandomRanges<'a> {
    pub(super) path: &'a str,
    /// Bytes of a range.
    pub(super) length: u64,
    /// Bytes of the blob.
    pub(super) size: u64,
    pub(super) clients: u32,
    pub(super) seconds: u32,
}

/// What the readers saw.
pub(super) struct Seen {
    pub(super) requests: f64,
    /// Requests per second.
    pub(super) rate: f64,
    /// Milliseconds that one request in a hundred takes longer than.
    pub(super) slow: f64,
}

impl RandomRanges<'_> {
    /// Reads from `host`, each client on a connection of its own, one request after the other.
    pub(super) fn read(&self, host: &str, token: Option<&str>) -> Result<Seen> {
        let mut readers = (0..self.clients)
            .map(|number| Reader::connect(host, self.requests(host, token, number.into())))
            .collect::<Result<Vec<_>>>()?;
        let ready = epoll::create(CreateFlags::CLOEXEC)?;
        for (number, reader) in (0..).zip(&readers) {
            epoll::add(&ready, &reader.stream, EventData::new_u64(number), EventFlags::IN)?;
        }
        let length = usize::try_from(self.length)?;
        let patience = rustix::fs::Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
        let (mut dropped, mut events) = (vec![0; DROPPED], Vec::with_capacity(readers.len()));
        let mut times = Vec::new();
        let begin = Instant::now();
        let end = begin + Duration::from_secs(self.seconds.into());
        for reader in &mut readers {
            reader.ask()?;
        }
        let mut reading = readers.len();
        while reading > 0 {
            epoll::wait(&ready, spare_capacity(&mut events), Some(&patience))?;
            ensure!(!events.is_empty(), "no answer within {PATIENCE} seconds");
            for event in events.drain(..) {
                let number = usize::try_from(event.data.u64())?;
                let reader = readers.get_mut(number).context("an event of nobody")?;
                let Some(time) = reader.take(length, &mut dropped)? else { continue };
                times.push(time);
                if Instant::now() < end {
                    reader.ask()?;
                } else {
                    epoll::delete(&ready, &reader.stream)?;
                    reading -= 1;
                }
            }
        }
        let seconds = begin.elapsed().as_secs_f64();
        times.sort_unstable();
        let slow = times.get(times.len() * 99 / 100).context("nothing was read")?;
        let requests = times.len() as f64;
        Ok(Seen { requests, rate: requests / seconds, slow: slow.as_secs_f64() * 1000.0 })
    }

    fn requests(&self, host: &str, token: Option<&str>, seed: u64) -> Vec<Vec<u8>> {
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let token = token.unwrap_or_default();
        let mut state = seed;
        let request = |_| {
            // Knuth's linear congruential generator: the same ranges in every run.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let first = (state >> 16) % (self.size - self.length);
            let last = first + self.length - 1;
            format!(
                "GET {} HTTP/1.1\r\nHost: {host}\r\n{token}Range: bytes={first}-{last}\r\n\r\n",
                self.path
            )
            .into_bytes()
        };
        (0..REQUESTS).map(request).collect()
    }
}

/// A client on a connection of its own, with one request at a time.
struct Reader {
    stream: TcpStream,
    requests: std::iter::Cycle<std::vec::IntoIter<Vec<u8>>>,
    asked: Instant,
    /// The head of the answer as far as it has come.
    head: Vec<u8>,
    /// Bytes of the body that are still to come, once the head is there.
    rest: Option<usize>,
}

impl Reader {
    fn connect(host: &str, requests: Vec<Vec<u8>>) -> Result<Reader> {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let requests = requests.into_iter().cycle();
        let head = Vec::with_capacity(HEAD);
        Ok(Reader { stream, requests, asked: Instant::now(), head, rest: None })
    }

    fn ask(&mut self) -> Result<()> {
        let request = self.requests.next().context("no request")?;
        self.asked = Instant::now();
        self.head.clear();
        self.rest = None;
        Ok(self.stream.write_all(&request)?)
    }

    /// Takes what has come of an answer with so long a body. How long all of it took, at its end.
    fn take(&mut self, length: usize, dropped: &mut [u8]) -> Result<Option<Duration>> {
        let mut rest = match self.rest {
            Some(rest) => rest,
            None => {
                let Some(rest) = self.take_head(length)? else { return Ok(None) };
                rest
            }
        };
        while rest > 0 {
            let part = dropped.get_mut(..rest.min(DROPPED)).unwrap_or_default();
            match recv(&self.stream, part, RecvFlags::TRUNC) {
                Ok((_, 0)) => bail!("the connection was closed"),
                Ok((_, count)) => {
                    rest = rest.checked_sub(count).context("more came than was asked for")?;
                }
                Err(Errno::AGAIN) => {
                    self.rest = Some(rest);
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(self.asked.elapsed()))
    }

    /// Bytes of the body that are still to come, when the head is whole.
    fn take_head(&mut self, length: usize) -> Result<Option<usize>> {
        ensure!(self.head.len() < HEAD, "an endless head");
        match recv(&self.stream, spare_capacity(&mut self.head), RecvFlags::empty()) {
            Ok((_, 0)) => bail!("the connection was closed"),
            Ok(_) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let Some(end) = self.head.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(self.head.get(..end).unwrap_or_default());
        if !text.starts_with("HTTP/1.1 206 ") || length_of(&text) != Some(length) {
            bail!("not the answer to a range: {text}");
        }
        let rest = length.checked_sub(self.head.len() - end - 4);
        Ok(Some(rest.context("more came than was asked for")?))
    }
}

fn length_of(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        assert_eq!(length_of("HTTP/1.1 206 Partial\r\ncontent-length: 65536\r\n\r\n"), Some(65536));
        assert_eq!(length_of("HTTP/1.1 206 Partial\r\nContent-Length: x\r\n\r\n"), None);
        assert_eq!(length_of("HTTP/1.1 200 OK\r\n\r\n"), None);
    }

    #[test]
    fn ranges_stay_in_the_blob() {
        let ranges = RandomRanges { path: "/b", length: 10, size: 100, clients: 1, seconds: 1 };
        for request in ranges.requests("h", None, 7) {
            let text = String::from_utf8_lossy(&request).into_owned();
            let range = text.split("bytes=").nth(1).and_then(|rest| rest.split("\r\n").next());
            let (first, last) = range.and_then(|range| range.split_once('-')).expect("a range");
            let (first, last): (u64, u64) =
                (first.parse().expect("first"), last.parse().expect("last"));
            assert!(last < 100 && last - first == 9, "{text}");
        }
    }
}
