//! The command line: one module for each subcommand.

mod call;
mod convert;
mod demo;
mod gc;
mod inspect;
mod scrub;
mod serve;
mod settings;
mod verify;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit code of a command that was understood and failed.
pub(crate) const FAILED: u8 = 1;
/// Exit code of a command line or configuration that cannot be understood.
pub(crate) const USAGE: u8 = 2;

/// Self-hosted container registry with the API of Alibaba Cloud Container Registry.
#[derive(Debug, Parser)]
#[command(name = "berth", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Demo(demo::DemoArgs),
    Gc(gc::GcArgs),
    Scrub(scrub::ScrubArgs),
    Call(call::CallArgs),
    Convert(convert::ConvertArgs),
    Verify(verify::VerifyArgs),
    Inspect(inspect::InspectArgs),
}

/// How a command ends when it does not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Exit code 1 with the error and its causes.
    Failed(anyhow::Error),
    /// Exit code 2 with what to do instead.
    Usage(String),
    /// Exit code 1; everything was said already.
    Silent,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Runs the command line and says how it went: 0 done, 1 failed, 2 usage.
pub(crate) fn run() -> ExitCode {
    // Usage errors end the process here, with exit code 2.
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Gc(args) => gc::run(&args),
        Command::Scrub(args) => scrub::run(&args),
        Command::Call(args) => call::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Inspect(args) => inspect::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Silent) => ExitCode::from(FAILED),
        Err(Failure::Failed(error)) => {
            print_error(&causes(&error));
            ExitCode::from(FAILED)
        }
        Err(Failure::Usage(message)) => {
            print_error(&message);
            ExitCode::from(USAGE)
        }
    }
}

/// An error and its causes; those that one before them already tells are not told again.
fn causes(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.ends_with(&cause) {
            continue;
        }
        if !told.is_empty() {
            told.push_str(": ");
        }
        told.push_str(&cause);
    }
    told
}

fn print_error(message: &str) {
    tell(&format!("berth: {message}"));
}

/// A line for people, on standard error. Nobody may be reading, or the line may not fit on the disk;
/// neither is a reason to stop.
pub(crate) fn tell(line: &str) {
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}

/// The runtime of commands that talk over the network.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(anyhow::Error::new(error).context("no async runtime")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_cause_is_told_once() {
        let cause = std::io::Error::other("no space");
        let twice = anyhow::Error::new(cause).context("cannot write a: no space").context("gc");
        assert_eq!(super::causes(&twice), "gc: cannot write a: no space");
        assert_eq!(super::causes(&anyhow::anyhow!("alone")), "alone");
    }
}
