//! A server that is pestered in every way at once goes on serving, and is itself again afterwards.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use berth_testkit::process::run;
use berth_testkit::registry::{Registry, sha256};
use berth_testkit::server::TestServer;

const CONFIG: &str = "
[limits]
connections = 300
address_connections = 200
header_timeout = \"2s\"
body_timeout = \"2s\"
write_timeout = \"2s\"
failed_logins = 3
";

/// How a client misbehaves.
#[derive(Debug, Clone, Copy)]
enum Pest {
    /// Drips the head of a request.
    Head,
    /// Announces a body and drips it.
    Body,
    /// Reads nothing of a large answer.
    Reader,
    /// Speaks no HTTP.
    Garbage,
    /// Opens a connection and says nothing.
    Silence,
    /// Guesses passwords.
    Guesser,
}

const PESTS: [Pest; 6] =
    [Pest::Head, Pest::Body, Pest::Reader, Pest::Garbage, Pest::Silence, Pest::Guesser];

struct Target {
    address: SocketAddr,
    authorization: String,
    blob: String,
}

/// Misbehaves until the server has had enough, again and again until `stop`.
fn pester(pest: Pest, target: &Target, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(target.address) else { continue };
        stream.set_write_timeout(Some(Duration::from_millis(500))).expect("set");
        let authorization = &target.authorization;
        let (start, drip): (String, &[u8]) = match pest {
            Pest::Head => ("GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ".to_owned(), b"x"),
            Pest::Body => (
                format!(
                    "PUT /v2/team/app/manifests/x HTTP/1.1\r\nHost: x\r\n{authorization}\
                     Content-Length: 100000\r\n\r\n"
                ),
                b"x",
            ),
            Pest::Reader => {
                (format!("GET {} HTTP/1.1\r\nHost: x\r\n{authorization}\r\n", target.blob), b"")
            }
            Pest::Garbage => ("\u{16}\u{3}\u{1}\r\n\r\n".to_owned(), b"\r\n"),
            Pest::Silence => (String::new(), b""),
            Pest::Guesser => (
                "GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eDp5\r\n\r\n".to_owned(),
                b"",
            ),
        };
        let begun = Instant::now();
        let mut alive = stream.write_all(start.as_bytes()).is_ok();
        while alive && !stop.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(6) {
            std::thread::sleep(Duration::from_millis(100));
            alive = match (pest, look(&stream)) {
                (_, Seen::End) | (Pest::Guesser, Seen::Answer) => false,
                _ => stream.write_all(drip).is_ok(),
            };
        }
    }
}

/// What a client sees that reads nothing.
enum Seen {
    Nothing,
    Answer,
    End,
}

fn look(stream: &TcpStream) -> Seen {
    stream.set_nonblocking(true).expect("set");
    let seen = match stream.peek(&mut [0]) {
        Ok(0) => Seen::End,
        Ok(_) => Seen::Answer,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Seen::Nothing,
        Err(_) => Seen::End,
    };
    stream.set_nonblocking(false).expect("set");
    seen
}

/// What a client of another address gets.
fn honest(url: &str, user: &str) -> String {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--interface", "127.0.0.2"]);
    curl.args(["--noproxy", "*", "--max-time", "30", "--user", user, url]);
    run(&mut curl)
}

fn metric(registry: &Registry, name: &str) -> f64 {
    let page = registry.request("GET", "/metrics").send().expect("an answer");
    let text = page.text().expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

#[test]
fn a_pestered_server_goes_on_serving() {
    let mut server = TestServer::start_with(CONFIG);
    let registry = server.registry();
    let content = vec![5u8; 32 << 20];
    registry.push_blob("team/app", &content).expect("blob");
    let user = server.user_and_password();
    let request = registry.request("GET", "/").build().expect("request");
    let basic = request.headers()["authorization"].to_str().expect("text");
    let target = Target {
        address: server.host().parse().expect("address"),
        authorization: format!("Authorization: {basic}\r\n"),
        blob: format!("/v2/team/app/blobs/{}", sha256(&content)),
    };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..240 {
            let pest = PESTS[number % PESTS.len()];
            let (target, stop) = (&target, &stop);
            scope.spawn(move || pester(pest, target, stop));
        }
        let begun = Instant::now();
        let mut served = 0;
        while begun.elapsed() < Duration::from_secs(8) {
            let page = honest(&format!("{}/v2/", server.url()), &user);
            assert_eq!(page.trim(), "{}");
            served += 1;
        }
        stop.store(true, Ordering::Relaxed);
        assert!(served > 0);
    });
    // Everything that was taken is given back, sooner or later.
    let patience = Instant::now() + Duration::from_secs(30);
    let other = Registry::anonymous(&server.url());
    loop {
        let running = metric(&other, "berth_http_requests_in_flight");
        let sockets = sockets(server.process_id());
        if running <= 1.0 && sockets < 10 {
            break;
        }
        assert!(Instant::now() < patience, "{running} requests, {sockets} sockets are left");
        std::thread::sleep(Duration::from_millis(200));
    }
    for reason in ["address_connections", "body_slow", "failed_logins"] {
        let name = format!("berth_refused_total{{reason=\"{reason}\"}}");
        assert!(metric(&other, &name) > 0.0, "{reason}");
    }
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
    assert!(server.stop().success());
}

/// Sockets that a process has open.
fn sockets(process: u32) -> usize {
    let folder = std::fs::read_dir(format!("/proc/{process}/fd")).expect("the process runs");
    let is_socket = |entry: &std::fs::DirEntry| {
        std::fs::read_link(entry.path())
            .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    folder.filter_map(Result::ok).filter(is_socket).count()
}
