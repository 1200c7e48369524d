//! The servers that run beside the tests: PostgreSQL and MinIO, on free ports, in a folder that goes
//! away with them.

mod minio;
mod postgres;

use crate::setup::Variables;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Running servers; stopped when dropped.
pub(crate) struct Services {
    _postgres: Daemon,
    _minio: Daemon,
    _folder: tempfile::TempDir,
    variables: Variables,
}

impl Services {
    /// Starts both; an error when either does not answer.
    pub(crate) fn start(minio_program: &Path) -> Result<Services> {
        let folder = tempfile::Builder::new().prefix("berth-test-").tempdir()?;
        // PostgreSQL runs as another user and has to reach its own folder.
        open_to_all(folder.path())?;
        let (postgres, mut variables) =
            postgres::start(folder.path(), &[]).context("PostgreSQL does not start")?;
        let (minio, of_minio) =
            minio::start(minio_program, folder.path()).context("MinIO does not start")?;
        variables.extend(of_minio);
        Ok(Services { _postgres: postgres, _minio: minio, _folder: folder, variables })
    }

    /// PostgreSQL alone, with settings besides those of tests, in a folder that outlives it, and its
    /// address.
    pub(crate) fn postgres(folder: &Path, settings: &[&str]) -> Result<(Daemon, String)> {
        open_to_all(folder)?;
        let (daemon, variables) =
            postgres::start(folder, settings).context("PostgreSQL does not start")?;
        let url = variables.into_iter().next().map(|(_, url)| url);
        Ok((daemon, url.context("PostgreSQL has no address")?))
    }

    /// What the tests are told about them.
    pub(crate) fn variables(&self) -> &Variables {
        &self.variables
    }
}

/// A child process that ends with its owner, also when the owner is killed.
pub(crate) struct Daemon(Child);

impl Daemon {
    /// Starts `program` with its output in `log`, under `setpriv` so that it cannot outlive us.
    pub(crate) fn start(
        program: &Path,
        log: &Path,
        set_up: impl FnOnce(&mut Command),
    ) -> Result<Daemon> {
        let output = std::fs::File::create(log)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]).arg(program);
        set_up(&mut command);
        command.stdin(std::process::Stdio::null());
        command.stdout(output.try_clone()?).stderr(output);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {} by setpriv", program.display()))?;
        Ok(Daemon(child))
    }

    /// Waits until `ready` says so; the log is part of the error when it does not.
    pub(crate) fn wait(&mut self, log: &Path, mut ready: impl FnMut() -> bool) -> Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(60) {
            if ready() {
                return Ok(());
            }
            if let Some(status) = self.0.try_wait()? {
                bail!("it ended with {status}: {}", tail(log));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("it does not answer within a minute: {}", tail(log))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SIGTERM by the process id; `Child::kill` is SIGKILL and leaves PostgreSQL's workers behind.
        let pid = self.0.id().to_string();
        drop(Command::new("kill").args(["-INT", &pid]).status());
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(10) {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}

fn open_to_all(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?)
}
