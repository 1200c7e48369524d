//! `cargo xtask fuzz`: everything that reads foreign bytes, under a coverage-guided fuzzer.
//!
//! The targets are in `fuzz/`, a workspace of its own, since they need a nightly compiler. What a run
//! learns stays in `fuzz/corpus`; an input that did harm is kept in `fuzz/found`, where the tests of
//! the crates read it again.

use crate::shell::{capture, repository};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Targets with the golden files of `crates/formats/fixtures/overlaybd` that they begin with.
const TARGETS: &[(&str, &[&str])] = &[
    ("tar", &[]),
    ("compression", &["layer1.tar.gz"]),
    ("layer", &["layer1.tar.gz"]),
    ("lsmt", &[]),
    ("zfile", &["native-l1.zstd64k.zfile", "native-l1.lz4-16k.zfile"]),
    ("blob", &["native-l1.commit"]),
    ("ext4", &[]),
    ("manifest", &[]),
    ("config", &[]),
    ("headers", &[]),
    ("names", &[]),
    ("parameters", &[]),
];

/// The only target that needs the crates of the server.
const OF_THE_SERVER: &str = "parameters";

/// Bytes of the front of an unpacked golden layer that the reader of archives begins with.
const FRONT: u64 = 32 << 10;

#[derive(Args)]
pub(crate) struct Options {
    /// How long each target runs.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// The targets to run; all of them when none is given.
    targets: Vec<String>,
}

/// Runs the targets one after the other; an error when one found something.
pub(crate) fn run(options: &Options) -> Result<()> {
    if capture(Command::new("cargo").args(["fuzz", "--version"])).is_err() {
        bail!("cargo-fuzz is missing; install it with `cargo install cargo-fuzz`");
    }
    let known = |name: &str| TARGETS.iter().find(|(target, _)| *target == name);
    let chosen = match options.targets.as_slice() {
        [] => TARGETS.iter().collect(),
        names => names
            .iter()
            .map(|name| known(name).with_context(|| format!("there is no target `{name}`")))
            .collect::<Result<Vec<_>>>()?,
    };
    let mut harmful = Vec::new();
    for (target, goldens) in chosen {
        let corpus = plant(target, goldens)?;
        let begin = Instant::now();
        if !fuzz(target, &corpus, options.seconds)? {
            harmful.push(*target);
        }
        println!("xtask: fuzz {target}: {} s", begin.elapsed().as_secs());
    }
    if !harmful.is_empty() {
        bail!(
            "found something: {}; mend it, and keep the input of fuzz/artifacts in fuzz/found",
            harmful.join(", ")
        );
    }
    Ok(())
}

/// The folder of inputs of a target, with its seeds in it.
fn plant(target: &str, goldens: &[&str]) -> Result<PathBuf> {
    let fuzz = repository().join("fuzz");
    let corpus = fuzz.join("corpus").join(target);
    std::fs::create_dir_all(&corpus)?;
    for kept in ["seeds", "found"] {
        let folder = fuzz.join(kept).join(target);
        if !folder.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().context("a file has a name")?.to_string_lossy();
            std::fs::copy(&path, corpus.join(format!("{kept}-{name}")))?;
        }
    }
    let fixtures = repository().join("crates/formats/fixtures/overlaybd");
    for golden in goldens {
        std::fs::copy(fixtures.join(golden), corpus.join(format!("golden-{golden}")))?;
    }
    if target == "tar" {
        let front = unpacked_front(&fixtures.join("layer1.tar.gz"))?;
        std::fs::write(corpus.join("golden-layer1.tar"), front)?;
    }
    Ok(corpus)
}

fn unpacked_front(archive: &Path) -> Result<Vec<u8>> {
    let mut gzip = Command::new("gzip")
        .args(["--decompress", "--stdout"])
        .arg(archive)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start gzip")?;
    let mut front = Vec::new();
    if let Some(output) = gzip.stdout.take() {
        output.take(FRONT).read_to_end(&mut front)?;
    }
    // It ends by itself: with the archive, or because nobody reads on.
    gzip.wait()?;
    Ok(front)
}

/// Whether the target ran without harm. At low priority: the machine has other things to do.
fn fuzz(target: &str, corpus: &Path, seconds: u64) -> Result<bool> {
    let mut command = Command::new("nice");
    command.args(["-n", "10", "cargo", "+nightly", "fuzz", "run", target]).arg(corpus);
    command.arg("--fuzz-dir").arg(repository().join("fuzz"));
    if target == OF_THE_SERVER {
        command.args(["--features", "control"]);
    }
    command.arg("--").arg(format!("-max_total_time={seconds}"));
    // A tenth of a second is long for any of them; memory is bounded by what they are given.
    command.args(["-timeout=10", "-rss_limit_mb=1024", "-max_len=131072", "-print_final_stats=1"]);
    let status = command.current_dir(repository()).status().context("cannot start cargo fuzz")?;
    Ok(status.success())
}
