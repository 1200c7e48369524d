//! HTTP/1.1 as the clients speak it: on a machine that clients and server share, the clients must not be
//! what is measured. The kernel sends their files (`sendfile`) and drops what comes (`MSG_TRUNC`, tcp(7)): a
//! program that looks at every byte, as curl and wrk do, costs about as much as the server.

use anyhow::{Context, Result, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::fs::File;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

/// Bytes of an answer's head at most.
pub(super) const HEAD: usize = 4096;
/// Bytes sent by one call at most.
const SENT: usize = 1 << 20;
/// Bytes dropped by one call at most.
pub(super) const DROPPED: usize = 256 << 10;
/// A server that is silent for so long has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Where requests go, with the right to make them.
#[derive(Clone, Copy)]
pub(super) struct Peer<'a> {
    /// Host and port.
    pub(super) host: &'a str,
    /// Sent as a bearer token.
    pub(super) token: Option<&'a str>,
}

impl Peer<'_> {
    /// The head of a request.
    pub(super) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        if let Some(token) = self.token {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    pub(super) fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}

/// The head of an answer.
pub(super) struct Head {
    /// Its lines, without the empty one.
    text: String,
    /// Bytes of the body that came with it.
    pub(super) beyond: usize,
}

impl Head {
    /// The head of what has come, once it is whole.
    pub(super) fn of(bytes: &[u8]) -> Option<Head> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(bytes.get(..end)?).into_owned();
        Some(Head { text, beyond: bytes.len() - end - 4 })
    }

    /// The value of a header.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| {
            let (is, value) = line.split_once(':')?;
            is.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Bytes of the body that are still to come, of an answer with this status.
    pub(super) fn rest(&self, status: u16) -> Result<usize> {
        if !self.text.starts_with(&format!("HTTP/1.1 {status} ")) {
            bail!("not a {status}: {}", self.text);
        }
        let length = self.value("content-length").and_then(|length| length.parse::<usize>().ok());
        let rest = length.context("an answer of no length")?.checked_sub(self.beyond);
        rest.context("more came than was announced")
    }
}

/// Sends a request with a file as its body.
pub(super) fn send_file(stream: &mut TcpStream, head: &[u8], file: &File, size: u64) -> Result<()> {
    stream.write_all(head)?;
    let mut offset = 0;
    while offset < size {
        let part = usize::try_from(size - offset)?.min(SENT);
        match sendfile(&*stream, file, Some(&mut offset), part) {
            Ok(0) => bail!("the file is too short"),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Takes an answer of this status and drops its body. Its head, and the length of the body.
pub(super) fn take(stream: &TcpStream, status: u16) -> Result<(Head, usize)> {
    let mut bytes = Vec::with_capacity(HEAD);
    let head = loop {
        ensure!(bytes.len() < HEAD, "an endless head");
        let (_, count) = recv(stream, spare_capacity(&mut bytes), RecvFlags::empty())?;
        ensure!(count > 0, "the connection was closed");
        if let Some(head) = Head::of(&bytes) {
            break head;
        }
    };
    let mut rest = head.rest(status)?;
    let length = rest + head.beyond;
    let mut dropped = vec![0; rest.min(DROPPED)];
    while rest > 0 {
        rest -= drop_some(stream, &mut dropped, rest)?;
    }
    Ok((head, length))
}

/// Drops bytes that have come, `rest` at most. How many.
///
/// # Errors
/// [`Errno::AGAIN`] when none have, on a stream that does not wait.
pub(super) fn drop_some(stream: &TcpStream, buffer: &mut [u8], rest: usize) -> Result<usize> {
    let part = buffer.get_mut(..rest.min(DROPPED)).context("a buffer that is too small")?;
    let (_, count) = recv(stream, part, RecvFlags::TRUNC)?;
    ensure!(count > 0, "the connection was closed");
    Ok(count.min(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let head =
            Head::of(b"HTTP/1.1 206 Partial\r\ncontent-Length: 10\r\n\r\n123").expect("whole");
        assert_eq!((head.value("Content-Length"), head.beyond), (Some("10"), 3));
        assert_eq!(head.rest(206).ok(), Some(7));
        assert!(head.rest(200).is_err());
        assert!(Head::of(b"HTTP/1.1 206 Partial\r\nContent-Length: 10\r\n").is_none());
        let strange = Head::of(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").expect("whole");
        assert!(strange.rest(200).is_err());
    }

    #[test]
    fn requests() {
        let peer = Peer { host: "h:1", token: Some("t") };
        let request = peer.request("GET", "/v2/", &[("Range", "bytes=0-1")]);
        let expected =
            "GET /v2/ HTTP/1.1\r\nHost: h:1\r\nAuthorization: Bearer t\r\nRange: bytes=0-1\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&request), expected);
    }
}
