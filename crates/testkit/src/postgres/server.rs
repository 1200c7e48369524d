//! A PostgreSQL server of a test's own, to be stopped and started.

use crate::process::{Daemon, as_root, free_port, run};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// A server with an empty cluster on a free port. It is killed when dropped.
#[derive(Debug)]
pub struct PostgresServer {
    daemon: Option<Daemon>,
    port: u16,
    folder: TempDir,
}

impl PostgresServer {
    /// Makes a cluster and starts its server.
    ///
    /// # Panics
    /// When that fails; the message has the server's log.
    #[must_use]
    pub fn start() -> PostgresServer {
        PostgresServer::start_in(&std::env::temp_dir())
    }

    /// The same with all of its files below a folder, which may be on a small disk.
    ///
    /// # Panics
    /// When that fails; the message has the server's log.
    #[must_use]
    pub fn start_in(folder: &Path) -> PostgresServer {
        let folder = tempfile::Builder::new()
            .prefix("berth-postgres-")
            .tempdir_in(folder)
            .expect("a temporary folder can be made");
        if is_root() {
            run(as_root("chown").arg("postgres:postgres").arg(folder.path()));
        }
        let data = folder.path().join("data");
        let mut initdb = as_server_user(&programs().join("initdb"));
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        run(initdb.args(["--no-sync", "--pgdata"]).arg(&data).current_dir(folder.path()));
        let mut server = PostgresServer { daemon: None, port: free_port(), folder };
        server.resume();
        server
    }

    /// The URL of its database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends it as its operator would (SIGINT, a fast shutdown): connections are broken at once.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub fn stop(&mut self) {
        let mut daemon = self.daemon.take().expect("a server that runs");
        signal(&daemon, "INT");
        daemon.wait_ended(PATIENCE);
    }

    /// Starts it again on the same data and port.
    ///
    /// # Panics
    /// With its log, when it does not answer.
    pub fn resume(&mut self) {
        let mut command = as_server_user(&programs().join("postgres"));
        command.arg("-D").arg(self.folder.path().join("data")).current_dir(self.folder.path());
        let port = format!("port={}", self.port);
        for setting in ["listen_addresses=127.0.0.1", &port, "unix_socket_directories="] {
            command.args(["-c", setting]);
        }
        let mut daemon = Daemon::start(&command, &self.folder.path().join("postgres.log"));
        let url = self.url();
        daemon.wait_ready(PATIENCE, || {
            let mut psql = Command::new("psql");
            psql.args(["--no-psqlrc", "--dbname", &url, "--command", "SELECT 1"]);
            psql.stdout(Stdio::null()).stderr(Stdio::null());
            psql.status().is_ok_and(|status| status.success())
        });
        self.daemon = Some(daemon);
    }

    /// Halts all of its processes, as a machine that hangs or a network that drops everything:
    /// connections stay, and nobody answers.
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&self) {
        self.signal_all("STOP");
    }

    /// Lets it go on after [`PostgresServer::freeze`].
    ///
    /// # Panics
    /// When it does not run.
    pub fn thaw(&self) {
        self.signal_all("CONT");
    }

    fn signal_all(&self, name: &str) {
        let daemon = self.daemon.as_ref().expect("a server that runs");
        // The first process last when it halts, so that it starts no other meanwhile.
        signal(daemon, name);
        let children = Command::new("pgrep").args(["-P", &daemon.id().to_string()]).output();
        let children = children.expect("pgrep can be started");
        for child in String::from_utf8_lossy(&children.stdout).split_whitespace() {
            // It may have ended by itself.
            drop(as_root("kill").args([&format!("-{name}"), child]).status());
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            self.thaw();
        }
        if let Some(mut daemon) = self.daemon.take() {
            signal(&daemon, "QUIT");
            daemon.wait_ended(PATIENCE);
        }
        if is_root() {
            return;
        }
        drop(as_root("rm").arg("-rf").arg(self.folder.path().join("data")).status());
    }
}

fn signal(daemon: &Daemon, name: &str) {
    run(as_root("kill").args([&format!("-{name}"), &daemon.id().to_string()]));
}

fn is_root() -> bool {
    run(Command::new("id").arg("-u")).trim() == "0"
}

/// A program that runs as this user, or as `postgres` when this user is root, which the server
/// refuses to be.
fn as_server_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// The folder of the newest installed server's programs.
fn programs() -> PathBuf {
    let root = Path::new("/usr/lib/postgresql");
    let versions = std::fs::read_dir(root).expect("PostgreSQL is installed");
    let newest = versions
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|version| root.join(version.to_string()).join("bin/postgres").is_file())
        .max();
    root.join(newest.expect("a PostgreSQL server").to_string()).join("bin")
}
