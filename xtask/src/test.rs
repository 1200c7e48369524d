//! `cargo xtask test`: the one command that prepares, checks and tests everything.

use crate::check;
use crate::services::Services;
use crate::setup::{self, Extent};
use crate::shell::{capture, repository, run as run_command};
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

#[derive(Args)]
pub(crate) struct Options {
    /// Only these steps (may be given more than once); all of them when not given.
    #[arg(long, value_enum)]
    only: Vec<Step>,
    /// Only the tests of this package (may be given more than once).
    #[arg(short, long)]
    package: Vec<String>,
    /// Only this test target, as in `cargo test --test` (may be given more than once).
    #[arg(long)]
    test: Vec<String>,
    /// A part of the names of the tests to run; after `--` also options of the test programs.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    filter: Vec<String>,
    /// Further variables for the tests.
    #[arg(skip)]
    variables: Vec<(&'static str, String)>,
}

impl Options {
    /// The end-to-end tests of one target whose names contain `filter`, with what they print.
    pub(crate) fn of_story(
        target: &str,
        filter: &str,
        variables: Vec<(&'static str, String)>,
    ) -> Self {
        Self {
            only: vec![Step::Tests],
            package: vec!["berth-tests".to_owned()],
            test: vec![target.to_owned()],
            filter: [filter, "--", "--nocapture", "--test-threads=1"].map(str::to_owned).to_vec(),
            variables,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// `cargo fmt --check`.
    Fmt,
    /// The house rules of `cargo xtask check`.
    Check,
    /// Clippy over every target, warnings denied.
    Clippy,
    /// Set-up, then every test.
    Tests,
}

/// Runs the chosen steps in order; the first that fails ends the run.
pub(crate) fn run(options: &Options) -> Result<()> {
    let chosen = |step| options.only.is_empty() || options.only.contains(&step);
    let mut summary = Vec::new();
    let mut totals = Totals::default();
    if chosen(Step::Fmt) {
        summary
            .push(timed("format check", || run_command(cargo("fmt").args(["--all", "--check"])))?);
    }
    if chosen(Step::Check) {
        summary.push(timed("house rules", check::run)?);
    }
    if chosen(Step::Clippy) {
        let arguments = ["--workspace", "--all-targets", "--", "-D", "warnings"];
        summary.push(timed("clippy", || run_command(cargo("clippy").args(arguments)))?);
    }
    let mut outcome = Ok(());
    if chosen(Step::Tests) {
        let tests = timed("tests", || {
            totals = all_tests(options)?;
            totals.verdict()
        });
        match tests {
            Ok(line) => summary.push(line),
            Err(error) => outcome = Err(error),
        }
    }
    println!("\nxtask: {}", summary.join(", "));
    if chosen(Step::Tests) {
        println!("{} passed, {} failed, {} skipped", totals.passed, totals.failed, totals.ignored);
    }
    outcome
}

/// Runs one step under its name; returns its line of the summary.
fn timed(name: &str, step: impl FnOnce() -> Result<()>) -> Result<String> {
    println!("xtask: {name}");
    let begin = Instant::now();
    step().with_context(|| format!("{name} failed"))?;
    Ok(format!("{name}: {:.0} s", begin.elapsed().as_secs_f64()))
}

fn all_tests(options: &Options) -> Result<Totals> {
    let end_to_end = |name: &String| name == "berth-tests";
    let everything = options.package.is_empty() || options.package.iter().any(end_to_end);
    let extent = if everything { Extent::Everything } else { Extent::Services };
    // First and alone: it may ask for a password.
    setup::install_packages(extent)?;
    // On a fresh machine both take minutes, and neither keeps the cores busy all the time.
    let (prepared, built) = std::thread::scope(|scope| {
        let preparing = scope.spawn(|| setup::prepare(extent));
        let built = if everything {
            run_command(cargo("build").args(["--package", "berth"])).and_then(|()| built_binary())
        } else {
            Ok(String::new())
        };
        (preparing.join(), built)
    });
    let mut variables = prepared.map_err(|_| anyhow!("the set-up panicked"))??;
    let minio = variables.iter().find(|(name, _)| *name == "BERTH_TEST_MINIO");
    let minio = minio.map(|(_, path)| path.clone()).context("no MinIO was prepared")?;
    if everything {
        variables.push(("BERTH_BIN", built?));
    }
    let services = Services::start(Path::new(&minio))?;
    variables.extend(services.variables().iter().cloned());
    variables.extend(options.variables.iter().cloned());

    let mut command = cargo("test");
    command.arg("--no-fail-fast");
    if options.package.is_empty() {
        command.arg("--workspace");
    }
    command.args(options.package.iter().flat_map(|package| ["--package", package]));
    command.args(options.test.iter().flat_map(|target| ["--test", target]));
    command.args(&options.filter);
    command.envs(variables);
    watch(&mut command)
}

pub(crate) fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.arg(subcommand).current_dir(repository());
    command
}

/// The `berth` of the release build, built first when asked to.
pub(crate) fn release_binary(build: bool) -> Result<String> {
    if build {
        run_command(cargo("build").args(["--release", "--package", "berth"]))?;
    }
    binary("release")
}

/// The `berth` of the debug build.
pub(crate) fn built_binary() -> Result<String> {
    binary("debug")
}

fn binary(profile: &str) -> Result<String> {
    let metadata = capture(cargo("metadata").args(["--no-deps", "--format-version=1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let target = metadata["target_directory"].as_str().context("cargo names no target folder")?;
    Ok(format!("{target}/{profile}/berth"))
}

/// How many tests ended in which way.
#[derive(Default)]
struct Totals {
    passed: u64,
    failed: u64,
    ignored: u64,
    exit: Option<String>,
}

impl Totals {
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        let counts = counts.split_once(". ").map_or("", |(_, counts)| counts);
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else { continue };
            let number = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    fn verdict(&self) -> Result<()> {
        if let Some(exit) = &self.exit {
            bail!("cargo test ended with {exit}");
        }
        if self.passed == 0 {
            bail!("no test was run");
        }
        Ok(())
    }
}

/// Runs `cargo test`, passes its output on and counts the results that it prints.
fn watch(command: &mut Command) -> Result<Totals> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo test")?;
    let output = child.stdout.take().context("cargo test has no output")?;
    let mut totals = Totals::default();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        totals.add(&line);
    }
    let status = child.wait()?;
    totals.exit = (!status.success()).then(|| status.to_string());
    Ok(totals)
}

#[cfg(test)]
mod tests {
    use super::Totals;

    #[test]
    fn results_are_added_up() {
        let mut totals = Totals::default();
        totals.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out");
        totals
            .add("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        totals.add("running 3 tests");
        assert_eq!((totals.passed, totals.failed, totals.ignored), (4, 2, 1));
        assert!(totals.verdict().is_ok());
        assert!(Totals::default().verdict().is_err());
    }
}
