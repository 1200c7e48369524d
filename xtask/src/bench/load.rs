//! Clients: our own for blobs and ranges of them, wrk for what many ask at the same time, ab for HEAD, which
//! wrk cannot.

use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::figures::Sample;
use super::image::{Blob, Image};
use super::ranges::RandomRanges;
use super::server::Server;
use super::wire::{Peer, send_file, take};
use crate::shell::capture;

/// One server with the right to use it.
pub(super) struct Client<'a> {
    pub(super) server: &'a Server,
    token: Option<String>,
}

/// A request that is repeated.
pub(super) struct Repeated<'a> {
    pub(super) path: &'a str,
    pub(super) accept: Option<&'a str>,
    pub(super) clients: u32,
    pub(super) seconds: u32,
}

impl<'a> Client<'a> {
    pub(super) fn new(server: &'a Server, repositories: &[&str]) -> Result<Client<'a>> {
        Ok(Client { server, token: server.token(repositories)? })
    }

    fn peer(&self) -> Peer<'_> {
        Peer { host: &self.server.host, token: self.token.as_deref() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.host)
    }

    /// Pushes blobs whole, `parallel` at a time.
    pub(super) fn push(&self, repository: &str, blobs: &[Blob], parallel: usize) -> Result<()> {
        each(blobs, parallel, |blob| self.push_one(repository, blob))
    }

    fn push_one(&self, repository: &str, blob: &Blob) -> Result<()> {
        let peer = self.peer();
        let mut stream = peer.connect()?;
        let path = format!("/v2/{repository}/blobs/uploads/");
        stream.write_all(&peer.request("POST", &path, &[("Content-Length", "0")]))?;
        let (head, _) = take(&stream, 202)?;
        let location = head.value("location").context("no Location")?;
        // distribution gives a whole address.
        let path = location.strip_prefix(&self.url("")).unwrap_or(location);
        let sign = if path.contains('?') { '&' } else { '?' };
        let finish = format!("{path}{sign}digest={}", blob.digest);
        self.put(&mut stream, &finish, "application/octet-stream", blob)
    }

    fn put(&self, stream: &mut TcpStream, path: &str, kind: &str, blob: &Blob) -> Result<()> {
        let length = blob.size.to_string();
        let headers = [("Content-Type", kind), ("Content-Length", &length)];
        let head = self.peer().request("PUT", path, &headers);
        send_file(stream, &head, &File::open(&blob.file)?, blob.size)?;
        take(stream, 201).map(drop)
    }

    /// Pushes what makes the blobs an image.
    pub(super) fn push_manifest(&self, repository: &str, tag: &str, image: &Image) -> Result<()> {
        self.push_one(repository, &image.config)?;
        let path = format!("/v2/{repository}/manifests/{tag}");
        self.put(&mut self.peer().connect()?, &path, Image::MEDIA_TYPE, &image.manifest)
    }

    /// Pulls blobs and throws them away, `parallel` at a time.
    pub(super) fn pull(&self, repository: &str, blobs: &[Blob], parallel: usize) -> Result<()> {
        each(blobs, parallel, |blob| {
            let peer = self.peer();
            let mut stream = peer.connect()?;
            let path = format!("/v2/{repository}/blobs/{}", blob.digest);
            stream.write_all(&peer.request("GET", &path, &[]))?;
            let (_, length) = take(&stream, 200)?;
            ensure!(u64::try_from(length)? == blob.size, "{length} of {} bytes came", blob.size);
            Ok(())
        })
    }

    /// Measures work that moves so many bytes.
    pub(super) fn bulk(&self, bytes: u64, work: impl FnOnce() -> Result<()>) -> Result<Sample> {
        self.server.forget_peak()?;
        let (before, begin) = (self.server.cpu()?, Instant::now());
        work()?;
        let (seconds, cpu) = (begin.elapsed().as_secs_f64(), self.server.cpu()? - before);
        let megabytes = bytes as f64 / 1e6;
        Ok(Sample {
            rate: megabytes / seconds,
            cpu: cpu / megabytes * 100.0,
            peak: self.server.peak()?,
            slow: None,
        })
    }

    /// Repeats a GET.
    pub(super) fn get(&self, folder: &Path, asked: &Repeated<'_>) -> Result<Sample> {
        let script = folder.join("request.lua");
        std::fs::write(&script, self.script(asked))?;
        let clients = format!("-c{}", asked.clients);
        let seconds = format!("-d{}s", asked.seconds);
        self.small(|| {
            let output = capture(
                Command::new("wrk")
                    .args(["-t1", &clients, &seconds, "--latency", "--timeout", "60s"])
                    .arg("-s")
                    .arg(&script)
                    .arg(self.url(asked.path)),
            )?;
            for trouble in ["Non-2xx", "Socket errors"] {
                if let Some(line) = output.lines().find(|line| line.contains(trouble)) {
                    bail!("{}: {}", self.server.kind.title(), line.trim());
                }
            }
            let after = |name: &str| {
                let line = output.lines().find(|line| line.trim_start().starts_with(name));
                line.and_then(|line| line.split_ascii_whitespace().nth(1))
            };
            let total = output.lines().find(|line| line.contains(" requests in "));
            let total = total.and_then(|line| line.split_ascii_whitespace().next());
            Ok(Some((
                total.context("wrk names no total")?.parse()?,
                after("Requests/sec:").context("wrk names no rate")?.parse()?,
                milliseconds(after("99%").context("wrk names no percentile")?)?,
            )))
        })
    }

    /// Reads random ranges.
    pub(super) fn ranges(&self, asked: &RandomRanges<'_>) -> Result<Sample> {
        self.small(|| {
            let seen = asked.read(self.peer())?;
            Ok(Some((seen.requests, seen.rate, seen.slow)))
        })
    }

    /// Repeats a HEAD.
    pub(super) fn head(&self, asked: &Repeated<'_>) -> Result<Sample> {
        let mut command = Command::new("ab");
        command.args(["-q", "-i", "-k", "-n", "10000000", "-c", &asked.clients.to_string()]);
        command.args(["-t", &asked.seconds.to_string()]);
        let accept = asked.accept.map(|accept| format!("Accept: {accept}"));
        let token = self.token.as_ref().map(|token| format!("Authorization: Bearer {token}"));
        for header in [accept, token].into_iter().flatten() {
            command.args(["-H", &header]);
        }
        command.arg(self.url(asked.path));
        self.small(|| {
            let output = capture(&mut command)?;
            if let Some(line) = output.lines().find(|line| line.contains("Non-2xx")) {
                bail!("{}: {}", self.server.kind.title(), line.trim());
            }
            let field = |name: &str, at: usize| {
                let line = output.lines().find(|line| line.trim_start().starts_with(name));
                line.and_then(|line| line.split_ascii_whitespace().nth(at))
            };
            Ok(Some((
                field("Complete requests:", 2).context("ab names no total")?.parse()?,
                field("Requests per second:", 3).context("ab names no rate")?.parse()?,
                field("99%", 1).context("ab names no percentile")?.parse()?,
            )))
        })
    }

    /// Measures what returns total, requests per second and the slowest of a hundred.
    fn small(&self, work: impl FnOnce() -> Result<Option<(f64, f64, f64)>>) -> Result<Sample> {
        self.server.forget_peak()?;
        let before = self.server.cpu()?;
        let (total, rate, slow) = work()?.context("nothing was measured")?;
        let cpu = (self.server.cpu()? - before) * 1e6 / total;
        Ok(Sample { rate, cpu, peak: self.server.peak()?, slow: Some(slow) })
    }

    fn script(&self, asked: &Repeated<'_>) -> String {
        let mut fixed = String::new();
        if let Some(token) = &self.token {
            fixed.push_str(&format!("[\"Authorization\"] = \"Bearer {token}\", "));
        }
        if let Some(accept) = asked.accept {
            fixed.push_str(&format!("[\"Accept\"] = \"{accept}\", "));
        }
        format!("wrk.headers = {{ {fixed} }}\n")
    }
}

/// A duration of wrk, in milliseconds.
fn milliseconds(text: &str) -> Result<f64> {
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1000.0), ("m", 60_000.0)];
    let unit = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (number, factor) = unit.with_context(|| format!("`{text}` is no duration"))?;
    Ok(number.parse::<f64>()? * factor)
}

/// Does something with each blob, `parallel` at a time.
fn each(blobs: &[Blob], parallel: usize, work: impl Fn(&Blob) -> Result<()> + Sync) -> Result<()> {
    let queue: Mutex<VecDeque<&Blob>> = Mutex::new(blobs.iter().collect());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..parallel)
            .map(|_| scope.spawn(|| std::iter::from_fn(next).try_for_each(&work)))
            .collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().map_err(|_| anyhow!("a client thread panicked"))?
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_wrk() {
        assert_eq!(milliseconds("500.00us").ok(), Some(0.5));
        assert_eq!(milliseconds("1.50ms").ok(), Some(1.5));
        assert_eq!(milliseconds("2.00s").ok(), Some(2000.0));
        assert!(milliseconds("x").is_err());
    }
}
