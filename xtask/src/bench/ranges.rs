//! Readers of random ranges.
//!
//! A program that looks at 64 KiB per answer, as wrk does, costs more than the server that sends them, and
//! on a machine that both share it would be what is measured. These readers look at the head of an answer
//! and have the kernel drop its body (`MSG_TRUNC`, tcp(7)).

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::net::{RecvFlags, recv};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Requests prepared for each reader; it goes round.
const REQUESTS: u64 = 1024;
/// Bytes dropped by one call at most.
const DROPPED: usize = 256 << 10;
/// A server that is silent for so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

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
        let begin = Instant::now();
        let end = begin + Duration::from_secs(self.seconds.into());
        let answers = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..self.clients)
                .map(|number| scope.spawn(move || self.reader(host, token, number, end)))
                .collect();
            readers
                .into_iter()
                .map(|reader| reader.join().map_err(|_| anyhow!("a reader panicked"))?)
                .collect::<Result<Vec<_>>>()
        })?;
        let seconds = begin.elapsed().as_secs_f64();
        let mut times = answers.concat();
        times.sort_unstable();
        let slow = times.get(times.len() * 99 / 100).context("nothing was read")?;
        let requests = times.len() as f64;
        Ok(Seen { requests, rate: requests / seconds, slow: slow.as_secs_f64() * 1000.0 })
    }

    /// How long each request took.
    fn reader(
        &self,
        host: &str,
        token: Option<&str>,
        number: u32,
        end: Instant,
    ) -> Result<Vec<Duration>> {
        let mut stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let requests = self.requests(host, token, number.into());
        let mut buffer = vec![0; DROPPED];
        let mut times = Vec::new();
        for request in requests.iter().cycle() {
            let begin = Instant::now();
            if begin >= end {
                break;
            }
            stream.write_all(request)?;
            self.answer(&mut stream, &mut buffer)?;
            times.push(begin.elapsed());
        }
        Ok(times)
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

    /// Reads the head of an answer and drops its body.
    fn answer(&self, stream: &mut TcpStream, buffer: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        let head = loop {
            let room = buffer.get_mut(filled..filled + 1024).context("an endless head")?;
            let count = stream.read(room)?;
            ensure!(count > 0, "the connection was closed");
            filled += count;
            let seen = buffer.get(..filled).unwrap_or_default();
            if let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = String::from_utf8_lossy(buffer.get(..head).unwrap_or_default());
        if !text.starts_with("HTTP/1.1 206 ") || length_of(&text) != Some(self.length) {
            bail!("not the answer to a range: {text}");
        }
        let mut rest = usize::try_from(self.length)? - (filled - head);
        while rest > 0 {
            let part = buffer.get_mut(..rest.min(DROPPED)).unwrap_or_default();
            let (_, count) = recv(&*stream, part, RecvFlags::TRUNC | RecvFlags::WAITALL)?;
            ensure!(count > 0, "the connection was closed");
            rest = rest.checked_sub(count).context("more came than was asked for")?;
        }
        Ok(())
    }
}

fn length_of(head: &str) -> Option<u64> {
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
