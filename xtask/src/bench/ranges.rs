//! Readers of random ranges: one thread for all connections, since threads that are woken for every segment
//! cost more than the server.

use anyhow::{Context, Result, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::wire::{DROPPED, HEAD, Head, PATIENCE, Peer, drop_some};

/// Requests prepared for each reader; it goes round.
const REQUESTS: u64 = 1024;

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
    /// Reads, each client on a connection of its own, one request after the other.
    pub(super) fn read(&self, peer: Peer<'_>) -> Result<Seen> {
        let mut readers = (0..self.clients)
            .map(|number| Reader::connect(peer, self.requests(peer, number.into())))
            .collect::<Result<Vec<_>>>()?;
        let ready = epoll::create(CreateFlags::CLOEXEC)?;
        for (number, reader) in (0..).zip(&readers) {
            epoll::add(&ready, &reader.stream, EventData::new_u64(number), EventFlags::IN)?;
        }
        let length = usize::try_from(self.length)?;
        let patience = PATIENCE.try_into()?;
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
            ensure!(!events.is_empty(), "no answer within {PATIENCE:?}");
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

    fn requests(&self, peer: Peer<'_>, seed: u64) -> Vec<Vec<u8>> {
        let mut state = seed;
        let request = |_| {
            // Knuth's linear congruential generator: the same ranges in every run.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let first = (state >> 16) % (self.size - self.length);
            let last = first + self.length - 1;
            peer.request("GET", self.path, &[("Range", &format!("bytes={first}-{last}"))])
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
    fn connect(peer: Peer<'_>, requests: Vec<Vec<u8>>) -> Result<Reader> {
        let stream = peer.connect()?;
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
            match drop_some(&self.stream, dropped, rest) {
                Ok(count) => rest -= count,
                Err(error) if is_early(&error) => {
                    self.rest = Some(rest);
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(self.asked.elapsed()))
    }

    /// Bytes of the body that are still to come, when the head is whole.
    fn take_head(&mut self, length: usize) -> Result<Option<usize>> {
        ensure!(self.head.len() < HEAD, "an endless head");
        match recv(&self.stream, spare_capacity(&mut self.head), RecvFlags::empty()) {
            Ok((_, count)) => ensure!(count > 0, "the connection was closed"),
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let Some(head) = Head::of(&self.head) else { return Ok(None) };
        let rest = head.rest(206)?;
        ensure!(rest + head.beyond == length, "a range of another length");
        Ok(Some(rest))
    }
}

/// Whether nothing has come yet.
fn is_early(error: &anyhow::Error) -> bool {
    error.downcast_ref() == Some(&Errno::AGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stay_in_the_blob() {
        let ranges = RandomRanges { path: "/b", length: 10, size: 100, clients: 1, seconds: 1 };
        for request in ranges.requests(Peer { host: "h", token: None }, 7) {
            let text = String::from_utf8_lossy(&request).into_owned();
            let range = text.split("bytes=").nth(1).and_then(|rest| rest.split("\r\n").next());
            let (first, last) = range.and_then(|range| range.split_once('-')).expect("a range");
            let (first, last): (u64, u64) =
                (first.parse().expect("first"), last.parse().expect("last"));
            assert!(last < 100 && last - first == 9, "{text}");
        }
    }
}
