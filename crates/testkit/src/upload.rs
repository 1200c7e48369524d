//! A client of upload sessions, which may go away in the middle of a request and come back anywhere.

use crate::registry::Registry;
use anyhow::{Context, Result, ensure};
use std::io::Write;
use std::net::{Shutdown, TcpStream};

/// An upload session, as one client sees it.
#[derive(Debug, Clone)]
pub struct Upload {
    registry: Registry,
    path: String,
}

/// What the server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// `Range`, as a number of bytes; 0 also for one byte, which the header cannot say.
    pub received: Option<u64>,
    /// The code of the first error.
    pub code: String,
    /// All of the body.
    pub body: String,
}

impl Upload {
    /// Begins a session.
    ///
    /// # Errors
    /// When the server does not.
    pub fn start(registry: &Registry, repository: &str) -> Result<Upload> {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let answer = registry.request("POST", &path).body("").send();
        let answer = answer?;
        ensure!(answer.status().as_u16() == 202, "an upload could not be started: {answer:?}");
        Upload::of(registry, &answer).context("an upload without a place")
    }

    /// The session that an answer of 202 names.
    #[must_use]
    pub fn of(registry: &Registry, answer: &reqwest::blocking::Response) -> Option<Upload> {
        let location = answer.headers().get("location")?.to_str().ok()?;
        let path = location.find("/v2/").and_then(|start| location.get(start..))?;
        Some(Upload { registry: registry.clone(), path: path.to_owned() })
    }

    /// The same session at another server, or for another caller.
    #[must_use]
    pub fn at(&self, registry: &Registry) -> Upload {
        Upload { registry: registry.clone(), path: self.path.clone() }
    }

    /// The same session's name in another repository.
    #[must_use]
    pub fn in_repository(&self, repository: &str) -> Upload {
        let id = self.path.rsplit('/').next().unwrap_or_default();
        let path = format!("/v2/{repository}/blobs/uploads/{id}");
        Upload { registry: self.registry.clone(), path }
    }

    /// Sends a chunk that begins at `offset`; without a range when that is `None`.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn patch(&self, offset: Option<u64>, bytes: &[u8]) -> Result<Answer> {
        self.send("PATCH", &self.path, offset, bytes)
    }

    /// Ends the session with a last chunk, which may be empty.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn put(&self, digest: &str, offset: Option<u64>, bytes: &[u8]) -> Result<Answer> {
        self.send("PUT", &self.ending(digest), offset.filter(|_| !bytes.is_empty()), bytes)
    }

    /// Asks where the session stands.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn status(&self) -> Result<Answer> {
        self.send("GET", &self.path, None, b"")
    }

    /// Ends the session without a blob.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn cancel(&self) -> Result<Answer> {
        self.send("DELETE", &self.path, None, b"")
    }

    /// Begins to send a chunk of `length` bytes and goes away after the first ones.
    ///
    /// # Panics
    /// When the server does not take them.
    pub fn patch_and_leave(&self, length: u64, first: &[u8]) {
        self.leave("PATCH", &self.path, length, first);
    }

    /// Begins to end the session with a chunk of `length` bytes and goes away after the first ones.
    ///
    /// # Panics
    /// When the server does not take them.
    pub fn put_and_leave(&self, digest: &str, length: u64, first: &[u8]) {
        self.leave("PUT", &self.ending(digest), length, first);
    }

    fn ending(&self, digest: &str) -> String {
        let separator = if self.path.contains('?') { '&' } else { '?' };
        format!("{}{separator}digest={digest}", self.path)
    }

    fn send(&self, method: &str, path: &str, offset: Option<u64>, bytes: &[u8]) -> Result<Answer> {
        let mut request = self.registry.request(method, path);
        if method == "PATCH" || method == "PUT" {
            request = request
                .header("Content-Type", "application/octet-stream")
                .header("Content-Length", bytes.len())
                .body(bytes.to_vec());
        }
        if let Some(offset) = offset {
            let last = (offset + bytes.len() as u64).saturating_sub(1);
            request = request.header("Content-Range", format!("{offset}-{last}"));
        }
        let answer = request.send()?;
        let status = answer.status().as_u16();
        let range = answer.headers().get("range").and_then(|value| value.to_str().ok());
        let last = range.and_then(|range| range.rsplit('-').next()?.parse::<u64>().ok());
        let received = last.map(|last| if last == 0 { 0 } else { last + 1 });
        let body = answer.text()?;
        let document: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        let code = document["errors"][0]["code"].as_str().unwrap_or_default().to_owned();
        Ok(Answer { status, received, code, body })
    }

    fn leave(&self, method: &str, path: &str, length: u64, first: &[u8]) {
        let host = self.registry.host();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\
             Content-Type: application/octet-stream\r\n"
        );
        if let Some(value) = self.registry.authorization() {
            head += &format!("Authorization: {value}\r\n");
        }
        let mut stream = TcpStream::connect(host).expect("the server listens");
        stream.write_all((head + "\r\n").as_bytes()).expect("the server reads");
        stream.write_all(first).expect("the server reads");
        stream.shutdown(Shutdown::Both).expect("a connection can be closed");
    }
}
