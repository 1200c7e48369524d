//! Registries as processes of their own: started on an empty store, watched from outside, ended.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::shell::{capture, free_port};

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum Kind {
    /// Berth, of this repository.
    #[value(skip)]
    Berth,
    /// Another build of it.
    #[value(skip)]
    Before,
    /// distribution 3.1, the Go module.
    Dist31,
    /// docker-registry 2.8, Debian's package of distribution 2.
    Dist28,
}

impl Kind {
    pub(super) fn title(self) -> &'static str {
        match self {
            Kind::Berth => "Berth",
            Kind::Before => "Berth before",
            Kind::Dist31 => "distribution 3.1",
            Kind::Dist28 => "docker-registry 2.8",
        }
    }
}

/// Where the programs are.
pub(super) struct Programs {
    pub(super) berth: PathBuf,
    /// What [`Kind::Before`] runs.
    pub(super) before: PathBuf,
    pub(super) dist31: PathBuf,
    pub(super) dist28: PathBuf,
}

/// The first key of a Berth, and its instance.
pub(super) struct Root {
    pub(super) access_key_id: String,
    pub(super) access_key_secret: String,
    pub(super) instance_id: String,
}

/// A registry at work.
pub(super) struct Server {
    pub(super) kind: Kind,
    /// Host and port.
    pub(super) host: String,
    /// The credentials of Berth's first user.
    login: Option<String>,
    child: Child,
    data: PathBuf,
}

impl Server {
    /// Starts it on an empty folder below `folder`.
    pub(super) fn start(kind: Kind, programs: &Programs, folder: &Path) -> Result<Server> {
        let data = folder.join(format!("{kind:?}").to_lowercase());
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        fs::create_dir_all(&data)?;
        let host = format!("127.0.0.1:{}", free_port()?);
        let log = folder.join(format!("{kind:?}.log").to_lowercase());
        let command = match kind {
            Kind::Berth => berth(&programs.berth, &data, &host),
            Kind::Before => berth(&programs.before, &data, &host),
            Kind::Dist31 => distribution(&programs.dist31, folder, &data, &host)?,
            Kind::Dist28 => distribution(&programs.dist28, folder, &data, &host)?,
        };
        let mut server = Server::launch(kind, command, host, data, &log)?;
        if matches!(kind, Kind::Berth | Kind::Before) {
            let root = server.root()?;
            server.login = Some(format!("{}:{}", root.access_key_id, root.access_key_secret));
        }
        Ok(server)
    }

    /// Starts Berth with these settings on an empty folder below `folder`, which goes with it.
    pub(super) fn start_berth(
        program: &Path,
        folder: &Path,
        name: &str,
        settings: &[String],
    ) -> Result<Server> {
        let data = folder.join(name);
        fs::create_dir_all(&data)?;
        let host = format!("127.0.0.1:{}", free_port()?);
        let mut command = berth(program, &data, &host);
        command.args(settings.iter().flat_map(|setting| ["--set", setting.as_str()]));
        let log = folder.join(format!("{name}.log"));
        Server::launch(Kind::Berth, command, host, data, &log)
    }

    fn launch(
        kind: Kind,
        mut command: Command,
        host: String,
        data: PathBuf,
        log: &Path,
    ) -> Result<Server> {
        command.stdout(File::create(log)?).stderr(File::options().append(true).open(log)?);
        let child = command.spawn().with_context(|| format!("cannot start {}", kind.title()))?;
        let mut server = Server { kind, host, login: None, child, data };
        server.wait_until_ready(log)?;
        Ok(server)
    }

    fn wait_until_ready(&mut self, log: &Path) -> Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(30) {
            if self.child.try_wait()?.is_some() {
                break;
            }
            let url = format!("http://{}/v2/", self.host);
            if capture(Command::new("curl").args(["--silent", "--output", "/dev/null", &url]))
                .is_ok()
            {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let text = fs::read_to_string(log).unwrap_or_default();
        bail!("{} did not start:\n{text}", self.kind.title())
    }

    /// What the first start of Berth wrote down.
    pub(super) fn root(&self) -> Result<Root> {
        let file = self.data.join("root-credentials.json");
        let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let value: Value = serde_json::from_slice(&text)?;
        let part = |name: &str| {
            value[name].as_str().map(str::to_owned).context("the credentials lack a part")
        };
        Ok(Root {
            access_key_id: part("AccessKeyId")?,
            access_key_secret: part("AccessKeySecret")?,
            instance_id: part("InstanceId")?,
        })
    }

    /// A bearer token for pulls from and pushes to the repositories; none where nobody asks for one.
    pub(super) fn token(&self, repositories: &[&str]) -> Result<Option<String>> {
        let Some(login) = &self.login else { return Ok(None) };
        let url = format!("http://{}/v2/", self.host);
        let head = capture(Command::new("curl").args(["--silent", "--include", &url]))?;
        let service = head.split_once("service=\"").and_then(|(_, rest)| rest.split_once('"'));
        let (service, _) = service.context("Berth does not say where tokens come from")?;
        let mut url = format!("http://{}/auth/token?service={service}", self.host);
        for name in repositories {
            url.push_str(&format!("&scope=repository:{name}:pull,push"));
        }
        let args = ["--silent", "--fail", "--user", login, &url];
        let answer: Value = serde_json::from_str(&capture(Command::new("curl").args(args))?)?;
        Ok(Some(answer["token"].as_str().context("no token in the answer")?.to_owned()))
    }

    /// Seconds of processor time so far, in user and system mode, of all threads.
    pub(super) fn cpu(&self) -> Result<f64> {
        /// Clock ticks per second that Linux shows to programs.
        const TICKS: f64 = 100.0;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, rest) = stat.rsplit_once(')').context("a strange stat file")?;
        let mut fields = rest.split_ascii_whitespace().skip(11).map(str::parse::<f64>);
        let mut next = || fields.next().context("a short stat file");
        Ok((next()?? + next()??) / TICKS)
    }

    /// MiB of memory now.
    pub(super) fn memory(&self) -> Result<f64> {
        self.status("VmRSS:")
    }

    /// MiB of memory at most since [`Server::forget_peak`].
    pub(super) fn peak(&self) -> Result<f64> {
        self.status("VmHWM:")
    }

    /// Measures the peak from now on.
    pub(super) fn forget_peak(&self) -> Result<()> {
        Ok(fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?)
    }

    fn status(&self, name: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = capture(Command::new("kill").arg(self.child.id().to_string()));
        if ended.is_err() {
            // Already gone, or not ours to ask: make sure.
            drop(self.child.kill());
        }
        drop(self.child.wait());
        drop(fs::remove_dir_all(&self.data));
    }
}

/// Berth as it comes, fsync and authentication included; like its peers without an access log.
fn berth(program: &Path, data: &Path, host: &str) -> Command {
    let mut command = Command::new(program);
    command.arg("serve").arg("--data-dir").arg(data).args(["--listen", host]);
    command.args(["--set", "server.log_level=warn"]);
    command
}

fn distribution(program: &Path, folder: &Path, data: &Path, host: &str) -> Result<Command> {
    let file = folder.join("distribution.yml");
    let text = format!(
        "version: 0.1\n\
         log: {{ level: error, accesslog: {{ disabled: true }} }}\n\
         storage:\n\
         \x20 filesystem: {{ rootdirectory: {} }}\n\
         \x20 cache: {{ blobdescriptor: inmemory }}\n\
         \x20 delete: {{ enabled: true }}\n\
         http: {{ addr: '{host}', secret: bench }}\n",
        data.display()
    );
    fs::write(&file, text)?;
    let mut command = Command::new(program);
    command.arg("serve").arg(&file);
    Ok(command)
}
