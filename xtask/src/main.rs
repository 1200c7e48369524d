//! Tasks of the repository: `cargo xtask test` prepares what the tests need and runs them all,
//! `cargo xtask check` holds the rules of the house that no compiler knows.
//!
//! Owns set-up and orchestration only. Must not depend on the product's crates, so that it builds
//! within seconds whatever state they are in.
//!
//! Entry points: [`test::run`], [`check::run`], [`bench::run`], [`conformance::run`], [`stress::run`],
//! [`fuzz::run`].
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks on the terminal")]

mod bench;
mod check;
mod conformance;
mod fuzz;
mod services;
mod setup;
mod shell;
mod stress;
mod test;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Tasks of the Berth repository.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the tests need, then format check, house rules, clippy and every test.
    Test(test::Options),
    /// Drive a conformance program of the OCI distribution specification against a server.
    Conformance(conformance::Options),
    /// Measure Berth beside other registries, on this machine.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Tell the stories that have a duration for longer than the suite does.
    Stress(stress::Options),
    /// Feed whatever reads foreign bytes with bytes that nobody would send.
    Fuzz(fuzz::Options),
    /// Check the house rules: direction of dependencies, file length, crate heads.
    Check,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Test(options) => test::run(&options),
        Task::Conformance(options) => conformance::run(&options),
        Task::Bench(bench) => bench::run(&bench),
        Task::Stress(options) => stress::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Check => check::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
