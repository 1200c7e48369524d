//! `cargo xtask conformance`: a conformance program of the OCI distribution specification, as the
//! machine has one, against a Berth server made for it.
//!
//! Our own suite is `tests/e2e/conformance` and needs no such program.

use crate::services::Daemon;
use crate::shell::{find_program, free_port, run as run_command};
use crate::test::{built_binary, cargo};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Names under which the program is looked for when no other is given.
const NAMES: &[&str] = &["oci-conformance", "conformance"];

#[derive(Args)]
pub(crate) struct Options {
    /// The program, by name or path; without it `oci-conformance` or `conformance` on the PATH.
    #[arg(long, env = "BERTH_CONFORMANCE")]
    program: Option<String>,
    /// Versions of the specification, one run each.
    #[arg(long, value_delimiter = ',', default_value = "1.1,dev")]
    versions: Vec<String>,
    /// Where the reports are kept; without it they go away with the server.
    #[arg(long)]
    results: Option<PathBuf>,
}

/// Runs the program once per version; an error when something failed or was skipped.
pub(crate) fn run(options: &Options) -> Result<()> {
    let program = find(options.program.as_deref())?;
    run_command(cargo("build").args(["--package", "berth"]))?;
    let folder = tempfile::Builder::new().prefix("berth-conformance-").tempdir()?;
    let results = match &options.results {
        Some(results) => std::path::absolute(results)?,
        None => folder.path().join("results"),
    };
    let mut summary = Vec::new();
    for version in &options.versions {
        // Each in a registry that nobody has used.
        let server = Server::start(&folder.path().join(version))?;
        println!("xtask: {} for version {version}", program.display());
        summary.push((version, server.examine(&program, version, &results.join(version))?));
    }
    let mut well = true;
    for (version, counts) in &summary {
        println!(
            "xtask: conformance {version}: {} passed, {} failed, {} skipped",
            counts.passed, counts.failed, counts.skipped
        );
        well &= counts.failed == 0 && counts.skipped == 0 && counts.passed > 0;
    }
    if options.results.is_some() {
        println!("xtask: reports are in {}", results.display());
    }
    if !well {
        bail!("not everything passed");
    }
    Ok(())
}

fn find(named: Option<&str>) -> Result<PathBuf> {
    let names = named.map_or_else(|| NAMES.to_vec(), |name| vec![name]);
    let found = names.iter().find_map(|name| {
        let path = Path::new(name);
        if path.components().count() > 1 {
            return path.is_file().then(|| std::path::absolute(path).ok()).flatten();
        }
        find_program(name)
    });
    found.with_context(|| {
        format!(
            "no conformance program: {} is not on the PATH. Build the one in `conformance/` of the \
             distribution specification (Go module \
             github.com/opencontainers/distribution-spec/conformance) and put it there, or name it \
             by --program or BERTH_CONFORMANCE. Our own suite needs none: \
             `cargo xtask test --only tests -p berth-tests --test conformance`",
            names.join(" or ")
        )
    })
}

/// A server with an empty data folder, on a free port.
struct Server {
    _daemon: Daemon,
    address: String,
    user: String,
    password: String,
}

impl Server {
    fn start(folder: &Path) -> Result<Server> {
        std::fs::create_dir_all(folder)?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let (data, log) = (folder.join("data"), folder.join("berth.log"));
        let mut daemon = Daemon::start(Path::new(&built_binary()?), &log, |command| {
            for (name, _) in std::env::vars_os() {
                if name.to_str().is_some_and(|name| name.starts_with("BERTH_")) {
                    command.env_remove(name);
                }
            }
            command.arg("serve").arg("--data-dir").arg(&data).args(["--listen", &address]);
            command.current_dir(folder);
        })?;
        daemon.wait(&log, || is_ready(&address))?;
        let path = data.join("root-credentials.json");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let credentials: serde_json::Value = serde_json::from_str(&text)?;
        let field = |name: &str| {
            let value = credentials[name].as_str().map(str::to_owned);
            value.with_context(|| format!("{} has no {name}", path.display()))
        };
        let (user, password) = (field("AccessKeyId")?, field("AccessKeySecret")?);
        Ok(Server { _daemon: daemon, address, user, password })
    }

    fn examine(&self, program: &Path, version: &str, results: &Path) -> Result<Counts> {
        std::fs::create_dir_all(results)?;
        let output = Command::new(program)
            .env("OCI_REGISTRY", &self.address)
            .env("OCI_TLS", "disabled")
            .env("OCI_REPO1", "conformance/one")
            .env("OCI_REPO2", "conformance/two")
            .env("OCI_USERNAME", &self.user)
            .env("OCI_PASSWORD", &self.password)
            .env("OCI_VERSION", version)
            .env("OCI_LOG", "warn")
            .env("OCI_RESULTS_DIR", results)
            .current_dir(results)
            .output()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{}", summary_of(&text));
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        let counts = Counts::read(&text);
        if !output.status.success() && counts.failed == 0 {
            bail!("{} ended with {}", program.display(), output.status);
        }
        Ok(counts)
    }
}

/// The end of what the program printed: its tables.
fn summary_of(text: &str) -> &str {
    text.find("OCI Conformance Result").and_then(|start| text.get(start..)).unwrap_or(text)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Counts {
    /// Reads lines such as `  Pass.......:   847` from the first table of the result.
    fn read(text: &str) -> Self {
        let mut counts = Self::default();
        for line in summary_of(text).lines().skip(1).take_while(|line| !line.trim().is_empty()) {
            let Some((label, number)) = line.split_once(':') else { continue };
            let number: u64 = number.trim().parse().unwrap_or(0);
            match label.trim().trim_end_matches('.').to_ascii_lowercase().as_str() {
                "pass" => counts.passed += number,
                "fail" | "error" => counts.failed += number,
                "skip" => counts.skipped += number,
                _ => {}
            }
        }
        counts
    }
}

/// Asks the readiness page, in the few words of HTTP that this takes.
fn is_ready(address: &str) -> bool {
    let answer = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(64).read_to_string(&mut answer)?;
        Ok(answer)
    };
    answer().is_ok_and(|answer| answer.contains(" 200 "))
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn the_first_table_is_counted() {
        let text = "log: Pass: 9\nOCI Conformance Result: FAIL\n  Disabled..:   2\n  Skip.....:   4\n  \
                    Pass.....:  847\n  FAIL...:   1\n  Error..:   3\n  Total..:  857\n\n\
                    API conformance:\n  Skip...:  8\n";
        let counts = Counts { passed: 847, failed: 4, skipped: 4 };
        assert_eq!(Counts::read(text), counts);
        assert_eq!(Counts::read(""), Counts::default());
    }
}
