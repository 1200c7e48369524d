//! A client of the control plane that signs with ACS3-HMAC-SHA256 and measures each answer.

use anyhow::{Context, Result, ensure};
use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, recv};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::server::{Root, Server};
use super::wire::{Head, Peer};
use crate::shell::capture;

const BLOCK: usize = 64;

/// Calls operations of a server over one connection.
pub(super) struct Signed<'a> {
    pub(super) server: &'a Server,
    root: Root,
    stream: TcpStream,
    date: String,
}

/// An operation with its parameters, sorted by name; names and values need no encoding.
pub(super) struct Operation {
    pub(super) action: &'static str,
    pub(super) parameters: Vec<(&'static str, String)>,
}

/// Requests that this process has signed.
static NONCES: AtomicU64 = AtomicU64::new(0);

impl<'a> Signed<'a> {
    pub(super) fn connect(server: &'a Server) -> Result<Signed<'a>> {
        let stream = Peer { host: &server.host, token: None }.connect()?;
        let date = capture(Command::new("date").args(["--utc", "+%Y-%m-%dT%H:%M:%SZ"]))?;
        let date = date.trim().to_owned();
        Ok(Signed { server, root: server.root()?, stream, date })
    }

    pub(super) fn instance_id(&self) -> &str {
        &self.root.instance_id
    }

    /// The bytes of a request, signed, with a nonce of its own.
    pub(super) fn request(&mut self, operation: &Operation) -> Vec<u8> {
        let pairs = operation.parameters.iter().map(|(name, value)| format!("{name}={value}"));
        let query = pairs.collect::<Vec<_>>().join("&");
        // Ports come again within one run.
        let number = NONCES.fetch_add(1, Ordering::Relaxed);
        let nonce = format!("{}-{}-{number}", std::process::id(), self.date);
        let nonce = hex(&Sha256::digest(nonce));
        let empty = hex(&Sha256::digest([]));
        let headers = [
            ("host", self.server.host.as_str()),
            ("x-acs-action", operation.action),
            ("x-acs-content-sha256", &empty),
            ("x-acs-date", &self.date),
            ("x-acs-signature-nonce", &nonce),
            ("x-acs-version", "2018-12-01"),
        ];
        let names = headers.map(|(name, _)| name).join(";");
        let lines: String =
            headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!("GET\n/\n{query}\n{lines}\n{names}\n{empty}");
        let text = format!("ACS3-HMAC-SHA256\n{}", hex(&Sha256::digest(canonical)));
        let signature = hex(&hmac(self.root.access_key_secret.as_bytes(), text.as_bytes()));
        let authorization = format!(
            "ACS3-HMAC-SHA256 Credential={},SignedHeaders={names},Signature={signature}",
            self.root.access_key_id
        );
        let mut sent = vec![("authorization", authorization.as_str())];
        // The host is always sent.
        sent.extend(headers.iter().skip(1));
        let peer = Peer { host: &self.server.host, token: None };
        peer.request("GET", &format!("/?{query}"), &sent)
    }

    /// Sends a request; the body of the answer and how many milliseconds it took.
    pub(super) fn send(&mut self, request: &[u8]) -> Result<(String, f64)> {
        let begin = Instant::now();
        self.ask(request)?;
        let body = self.answer()?;
        Ok((body, begin.elapsed().as_secs_f64() * 1000.0))
    }

    /// Where answers come.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends a request whose answer is read later.
    pub(super) fn ask(&mut self, request: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(request)?)
    }

    /// The body of the next answer, which has to be 200.
    pub(super) fn answer(&mut self) -> Result<String> {
        let mut bytes: Vec<u8> = Vec::with_capacity(256 << 10);
        loop {
            let (_, count) = recv(&self.stream, spare_capacity(&mut bytes), RecvFlags::empty())?;
            ensure!(count > 0, "the connection was closed");
            if let Some(head) = Head::of(&bytes) {
                let rest = head
                    .rest(200)
                    .with_context(|| format!("{}", String::from_utf8_lossy(&bytes)))?;
                if rest == 0 {
                    return Ok(String::from_utf8(bytes.split_off(bytes.len() - head.beyond))?);
                }
            }
        }
    }
}

/// RFC 2104.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0u8; BLOCK];
    let digest = Sha256::digest(key);
    let key = if key.len() > BLOCK { digest.as_slice() } else { key };
    for (place, byte) in block.iter_mut().zip(key) {
        *place = *byte;
    }
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test cases 2 and 6.
    #[test]
    fn hmacs() {
        let short = hex(&hmac(b"Jefe", b"what do ya want for nothing?"));
        assert_eq!(short, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let long = hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        let expected = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        assert_eq!(hex(&long), expected);
    }
}
