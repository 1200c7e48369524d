//! Measurements of the product beside others, on this machine, that anybody can repeat.
//!
//! The server under test and its peers run one after another within each repetition, so that a
//! neighbour on the machine meets all of them; the medians go into `docs/performance.md`.

mod data_plane;
mod figures;
mod fill;
mod image;
mod load;
mod machine;
mod page;
mod ranges;
mod server;
mod signed;
mod tasks;
mod turns;
mod wire;

use anyhow::{Result, bail};
use clap::Subcommand;
use std::process::{Command, ExitStatus};

use crate::shell::is_root;

/// Set in the process that measures.
const SESSION: &str = "BERTH_BENCH_SESSION";

/// What is measured.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Pushes, pulls, ranged reads, manifests and memory of the data plane.
    DataPlane(data_plane::Options),
    /// Lists, tasks and tags at a thousand and at a million rows, on SQLite and on PostgreSQL.
    Tasks(tasks::Options),
}

/// Measures.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    if let Some(status) = in_a_session_of_its_own()? {
        return if status.success() {
            Ok(())
        } else {
            bail!("the measurement ended with {status}")
        };
    }
    match bench {
        Bench::DataPlane(options) => data_plane::run(options),
        Bench::Tasks(options) => tasks::run(options),
    }
}

/// Measures in a process session of its own, whose share of the processors can be raised without
/// raising that of a whole terminal. `None` in that session, and where there is no raising.
fn in_a_session_of_its_own() -> Result<Option<ExitStatus>> {
    const PRIORITY: &str = "/proc/self/autogroup";
    if std::env::var_os(SESSION).is_some() {
        if std::fs::write(PRIORITY, "-19").is_err() {
            println!("xtask: the priority could not be raised");
        }
        return Ok(None);
    }
    if !is_root()? || !std::path::Path::new(PRIORITY).exists() {
        println!("xtask: not root: measuring at the usual priority");
        return Ok(None);
    }
    let mut command = Command::new("setsid");
    command.arg("--wait").arg(std::env::current_exe()?).args(std::env::args_os().skip(1));
    Ok(Some(command.env(SESSION, "1").status()?))
}
