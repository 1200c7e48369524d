//! The official Python SDKs, unmodified, in small programs that print JSON.

use crate::tool;
use berth_testkit::process::run;
use berth_testkit::python;
use berth_testkit::server::TestServer;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A program of `tools/` with the server's address and root key in its environment.
#[must_use]
pub fn program(server: &TestServer, name: &str) -> Command {
    let credentials = server.credentials();
    let mut command = python::script(&tool(name));
    command.env("ENDPOINT", server.host());
    command.env("ACCESS_KEY_ID", &credentials.access_key_id);
    command.env("ACCESS_KEY_SECRET", &credentials.access_key_secret);
    command.env("INSTANCE_ID", &credentials.instance_id);
    command
}

/// Runs a program to its end and returns the JSON that it prints.
///
/// # Panics
/// When it fails or prints anything else.
#[must_use]
pub fn json(server: &TestServer, name: &str, arguments: &[&str]) -> Value {
    let text = run(program(server, name).args(arguments));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"))
}

/// Calls operations of the instance through the current SDK and returns their bodies.
///
/// # Panics
/// When the SDK cannot be run.
#[must_use]
pub fn call(server: &TestServer, calls: &[(&str, Value)]) -> Vec<Value> {
    let calls = serde_json::to_string(calls).expect("JSON");
    match json(server, "call.py", &[&calls]) {
        Value::Array(bodies) => bodies,
        other => panic!("no list of bodies: {other}"),
    }
}

/// A program that has loaded its SDK and waits for a word on its input, so that what it then watches
/// is not over before the SDK is loaded.
#[derive(Debug)]
pub struct Waiting {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Waiting {
    /// Starts a program and waits until it prints `ready`.
    ///
    /// # Panics
    /// When it prints something else.
    #[must_use]
    pub fn start(server: &TestServer, name: &str) -> Waiting {
        let mut child = program(server, name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python can be started");
        let input = child.stdin.take().expect("a piped input");
        let mut output = BufReader::new(child.stdout.take().expect("a piped output"));
        let mut line = String::new();
        output.read_line(&mut line).expect("the program prints");
        assert_eq!(line.trim(), "ready", "{name}");
        Waiting { child, input, output }
    }

    /// Gives it its word and returns the JSON that it prints in the end.
    ///
    /// # Panics
    /// When it fails or prints anything else.
    #[must_use]
    pub fn finish(mut self, word: &str) -> Value {
        writeln!(self.input, "{word}").expect("the program reads");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut self.output, &mut text).expect("the program prints");
        let status = self.child.wait().expect("the program ends");
        assert!(status.success(), "it ended with {status}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}
