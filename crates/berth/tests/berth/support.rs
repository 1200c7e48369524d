//! The command in a home of its own, and a registry that only notes what it is told.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// `berth` with no settings but those that a test gives.
pub(crate) fn berth(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("HOME", home);
    command
}

/// A registry that wants a password and has nothing.
pub(crate) struct Registry {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    pub(crate) fn start(address: IpAddr) -> Registry {
        let listener = TcpListener::bind((address, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let heads = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let head = read_head(&stream);
                let known = head.to_ascii_lowercase().contains("authorization:");
                heads.lock().expect("a lock").push(head);
                answer(stream, known);
            }
        });
        Registry { address, seen }
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// What was given as `Authorization` so far, one entry a request that had one.
    pub(crate) fn authorizations(&self) -> Vec<String> {
        let heads = self.seen.lock().expect("a lock");
        let lines = heads.iter().flat_map(|head| head.lines());
        lines
            .filter_map(|line| line.split_once(": "))
            .filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }

    pub(crate) fn requests(&self) -> usize {
        self.seen.lock().expect("a lock").len()
    }
}

fn read_head(stream: &TcpStream) -> String {
    let mut head = String::new();
    let mut reader = BufReader::new(stream);
    while reader.read_line(&mut head).is_ok_and(|count| count > 2) {}
    head
}

fn answer(mut stream: TcpStream, known: bool) {
    let head = if known {
        "404 Not Found\r\n"
    } else {
        "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"test\"\r\n"
    };
    let text = format!("HTTP/1.1 {head}Content-Length: 0\r\nConnection: close\r\n\r\n");
    // The client may have gone.
    drop(stream.write_all(text.as_bytes()));
}

/// An address of this machine that is not loopback.
pub(crate) fn machine_address() -> IpAddr {
    // A documentation address (RFC 5737). Connecting a datagram socket sends nothing.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a datagram socket");
    socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9)).expect("a route");
    socket.local_addr().expect("an address").ip()
}
