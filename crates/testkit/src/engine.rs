//! Container engines of other makers, as clients: a real Docker daemon and a real containerd, each
//! with folders and a socket of its own. Both need root.

use crate::environment::required_path;
use crate::process::{as_root, run, wait_until};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A root process that is stopped (and its mounts undone) when dropped.
#[derive(Debug)]
struct Engine {
    child: Child,
    pid_file: PathBuf,
    folder: TempDir,
}

impl Engine {
    /// Runs `program` with `arguments` as root; its process id lands in a file, since `sudo` may stand
    /// between it and us.
    fn start(program: &str, arguments: impl FnOnce(&Path) -> Vec<String>) -> Engine {
        let folder = tempfile::Builder::new()
            .prefix("berth-engine-")
            .tempdir()
            .expect("a temporary folder can be made");
        let pid_file = folder.path().join("pid");
        let log = File::create(folder.path().join("log")).expect("a log can be written");
        let script = format!("echo $$ > {}; exec \"$@\"", pid_file.display());
        let mut command = as_root("setpriv");
        command.args(["--pdeathsig", "TERM", "sh", "-c", &script, "sh", program]);
        command.args(arguments(folder.path()));
        let errors = log.try_clone().expect("a file handle can be doubled");
        let child = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
        Engine { child, pid_file, folder }
    }

    fn wait_ready(&mut self, ready: impl Fn() -> Command) {
        let log = self.folder.path().join("log");
        let says = |log: &Path| std::fs::read_to_string(log).unwrap_or_default();
        wait_until(&format!("the engine of {}", log.display()), Duration::from_secs(60), || {
            let ended = self.child.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "it ended with {ended:?}:\n{}", says(&log));
            ready().stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
        });
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(&self.pid_file).unwrap_or_default();
        if !pid.trim().is_empty() {
            drop(as_root("kill").args(["-TERM", pid.trim()]).status());
        }
        drop(self.child.wait());
        // Whatever a killed container left mounted would keep the folder alive.
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let root = self.folder.path().to_string_lossy().into_owned();
        let mounted = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        let ours: Vec<&str> = mounted.filter(|point| point.starts_with(&root)).collect();
        for point in ours.iter().rev() {
            drop(as_root("umount").args(["--lazy", point]).status());
        }
        drop(as_root("rm").args(["-rf", "--one-file-system"]).arg(self.folder.path()).status());
    }
}

/// A Docker engine without networks.
#[derive(Debug)]
pub struct Docker {
    _engine: Engine,
    socket: String,
    config: PathBuf,
}

impl Docker {
    /// Starts an empty engine.
    #[must_use]
    pub fn start() -> Docker {
        let mut socket = PathBuf::new();
        let mut config = PathBuf::new();
        let mut engine = Engine::start("dockerd", |folder| {
            socket = folder.join("docker.sock");
            config = folder.join("client");
            let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
            vec![
                "--iptables=false".to_owned(),
                "--ip6tables=false".to_owned(),
                "--bridge=none".to_owned(),
                format!("--data-root={}", path("data")),
                format!("--exec-root={}", path("exec")),
                format!("--pidfile={}", path("docker.pid")),
                format!("--host=unix://{}", path("docker.sock")),
            ]
        });
        let socket = format!("unix://{}", socket.display());
        engine.wait_ready(|| docker(&socket, &config, &["version"]));
        Docker { _engine: engine, socket, config }
    }

    /// Where it listens, as `DOCKER_HOST` has it.
    #[must_use]
    pub fn socket(&self) -> &str {
        &self.socket
    }

    /// Runs `docker …` against this engine and returns what it prints.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> String {
        run(&mut docker(&self.socket, &self.config, arguments))
    }
}

fn docker(socket: &str, config: &Path, arguments: &[&str]) -> Command {
    let mut command = as_root("docker");
    command.arg("--config").arg(config).args(["--host", socket]).args(arguments);
    command
}

/// A containerd with `ctr`.
#[derive(Debug)]
pub struct Containerd {
    _engine: Engine,
    address: String,
    ctr: String,
}

impl Containerd {
    /// Starts an empty engine of the system's version.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn start() -> Containerd {
        // No Kubernetes interface: it would listen on a port and look for network plugins.
        let config = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
        Containerd::start_as("containerd", "ctr", config)
    }

    /// Starts an empty engine of version 2, which is what nodes run today.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn start_today() -> Containerd {
        let [containerd, ctr] = ["BERTH_TEST_CONTAINERD", "BERTH_TEST_CTR"]
            .map(|name| required_path(name).to_string_lossy().into_owned());
        let config = "version = 3\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \
                      \"io.containerd.cri.v1.images\", \"io.containerd.cri.v1.runtime\"]\n";
        Containerd::start_as(&containerd, &ctr, config)
    }

    fn start_as(program: &str, ctr: &str, text: &str) -> Containerd {
        let mut address = PathBuf::new();
        let mut engine = Engine::start(program, |folder| {
            address = folder.join("containerd.sock");
            let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
            let config = folder.join("config.toml");
            std::fs::write(&config, text).expect("the configuration can be written");
            vec![
                format!("--config={}", config.display()),
                format!("--root={}", path("root")),
                format!("--state={}", path("state")),
                format!("--address={}", path("containerd.sock")),
            ]
        });
        let address = address.to_string_lossy().into_owned();
        engine.wait_ready(|| client(ctr, &address, &["version"]));
        Containerd { _engine: engine, address, ctr: ctr.to_owned() }
    }

    /// Its socket, as `CONTAINERD_ADDRESS` has it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Runs `ctr …` against this engine and returns what it prints.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> String {
        run(&mut client(&self.ctr, &self.address, arguments))
    }
}

fn client(ctr: &str, address: &str, arguments: &[&str]) -> Command {
    let mut command = as_root(ctr);
    command.args(["--address", address]).args(arguments);
    command
}
