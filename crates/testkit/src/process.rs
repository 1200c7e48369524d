//! Programs that a test runs: short commands with useful failures, and daemons that cannot outlive it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Runs a command to its end and returns its standard output.
///
/// # Panics
/// When it cannot start or does not exit with 0; the message holds the command and all its output.
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    assert!(output.status.success(), "{}", describe(command, &output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command that has to fail, and returns all that it printed.
///
/// # Panics
/// When it cannot start, or succeeds.
pub fn run_failing(command: &mut Command) -> String {
    let output = output(command);
    assert!(!output.status.success(), "should have failed: {}", describe(command, &output));
    let [printed, complained] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{printed}{complained}")
}

/// Runs a command to its end, whatever that is.
///
/// # Panics
/// When it cannot start.
pub fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null());
    command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"))
}

/// `program`, as root: mounts, container engines and foreign owners need it.
#[must_use]
pub fn as_root(program: impl AsRef<Path>) -> Command {
    let user = run(Command::new("id").arg("-u"));
    if user.trim() == "0" {
        return Command::new(program.as_ref());
    }
    let mut command = Command::new("sudo");
    command.arg("--non-interactive").arg("--").arg(program.as_ref());
    command
}

/// A TCP port of the loopback address on which nothing listens now.
///
/// # Panics
/// When the machine has none left.
#[must_use]
pub fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map_or_else(|error| panic!("no free port: {error}"), |address| address.port())
}

/// Asks `ready` every 50 ms until it says yes.
///
/// # Panics
/// When it has not after `limit`; the message names `what`.
pub fn wait_until(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !ready() {
        assert!(begin.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A background program with its output in a file. It is killed when dropped, and by the kernel when
/// the thread that started it ends, however that happens.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command`, which runs as this user; its output is appended to `log`.
    ///
    /// # Panics
    /// When it cannot start.
    #[must_use]
    pub fn start(command: &Command, log: &Path) -> Daemon {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", log.display()));
        let errors = file.try_clone().expect("a file handle can be doubled");
        let mut wrapped = Command::new("setpriv");
        wrapped.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
        wrapped.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            wrapped.current_dir(folder);
        }
        let child = wrapped
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        Daemon { child, log: log.to_owned() }
    }

    /// Waits until `ready` says yes.
    ///
    /// # Panics
    /// With the log, when the program ends first or takes longer than `limit`.
    pub fn wait_ready(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !ready() {
            let ended = self.child.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "it ended with {ended:?}:\n{}", self.log());
            assert!(begin.elapsed() < limit, "not ready within {limit:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it with SIGKILL, without a chance to clean up.
    pub fn kill9(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Asks it to end (SIGTERM) and waits for that.
    ///
    /// # Panics
    /// With the log, when it takes longer than `limit`.
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
        self.wait_ended(limit)
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// With the log, when it takes longer than `limit`.
    pub fn wait_ended(&mut self, limit: Duration) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return status;
            }
            assert!(begin.elapsed() < limit, "it does not end within {limit:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// The end of what it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let begin = text.len().saturating_sub(16 * 1024);
        String::from_utf8_lossy(text.get(begin..).unwrap_or_default()).into_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill9();
    }
}

fn describe(command: &Command, output: &Output) -> String {
    let [printed, complained] = [&output.stdout, &output.stderr].map(|bytes| {
        let begin = bytes.len().saturating_sub(32 * 1024);
        String::from_utf8_lossy(bytes.get(begin..).unwrap_or_default()).into_owned()
    });
    format!("{command:?} ended with {}\n{printed}\n{complained}", output.status)
}
