//! Everything that the tests need and a fresh machine lacks.
//!
//! What takes long to fetch or build lands once in one cache folder outside `target`
//! (`BERTH_TEST_CACHE`, by default `~/.cache/berth-test`), by name and version.

mod packages;
mod python;
mod rootfs;
mod tools;

use anyhow::{Context, Result, anyhow};
use std::path::{Path, PathBuf};

pub(crate) use packages::install as install_packages;

/// How much of the outer world a run needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// PostgreSQL, S3, an upstream and clients that judge: what the suites of single crates talk to.
    Services,
    /// And clients, container engines, SDKs and source images: what the end-to-end stories use.
    Everything,
    /// Peers and load generators, and nothing of the tests'.
    Bench,
}

/// Variables for the tests, in the order in which they were prepared.
pub(crate) type Variables = Vec<(&'static str, String)>;

/// Installs what is missing beside packages; returns the variables that tell the tests where it is.
pub(crate) fn prepare(extent: Extent) -> Result<Variables> {
    let cache = Cache::open()?;
    if extent == Extent::Services {
        return tools::install(&cache, std::iter::once(&tools::MINIO).chain(&tools::JUDGES));
    }
    // Two things that take minutes on a fresh machine, neither of which keeps its cores busy alone.
    std::thread::scope(|scope| {
        let programs = scope.spawn(|| {
            let services = std::iter::once(&tools::MINIO).chain(&tools::JUDGES);
            tools::install(&cache, services.chain(&tools::CLIENTS))
        });
        let mut variables = vec![
            ("BERTH_TEST_PYTHON", text(&python::environment(&cache)?)),
            ("BERTH_TEST_PYTHON_TREE", text(&python::package_tree(&cache)?)),
            ("BERTH_TEST_ROOTFS", text(&rootfs::tar(&cache)?)),
        ];
        let programs = programs.join().map_err(|_| anyhow!("a set-up thread panicked"))?;
        variables.extend(programs?);
        Ok(variables)
    })
}

/// Installs what measuring needs; returns where distribution 3.1 is.
pub(crate) fn prepare_bench() -> Result<PathBuf> {
    packages::install(Extent::Bench)?;
    let installed = tools::install(&Cache::open()?, [&tools::DISTRIBUTION])?;
    let (_, path) = installed.into_iter().next().context("no distribution was installed")?;
    Ok(path.into())
}

/// The folder in which tools and fixtures are kept between runs.
pub(crate) struct Cache(PathBuf);

impl Cache {
    fn open() -> Result<Cache> {
        let folder = match std::env::var_os("BERTH_TEST_CACHE") {
            Some(folder) => PathBuf::from(folder),
            None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?)
                .join(".cache/berth-test"),
        };
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the cache folder {}", folder.display()))?;
        Ok(Cache(folder))
    }

    /// The folder `name`, filled by `make` when it is not there yet. A half-made folder never takes
    /// the name: `make` works beside it and the result is renamed.
    fn entry(&self, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let folder = self.0.join(name);
        if folder.is_dir() {
            return Ok(folder);
        }
        println!("xtask: preparing {name} (kept in {})", self.0.display());
        let partial = self.0.join(format!("{name}.partial-{}", std::process::id()));
        std::fs::create_dir_all(&partial)?;
        let made = make(&partial).with_context(|| format!("cannot prepare {name}"));
        if made.is_ok() && std::fs::rename(&partial, &folder).is_err() && !folder.is_dir() {
            anyhow::bail!("cannot rename {} to {}", partial.display(), folder.display());
        }
        if partial.exists() {
            drop(std::fs::remove_dir_all(&partial));
        }
        made.map(|()| folder)
    }
}

/// A short name for a list of versions, the same on every machine (FNV-1a).
fn fingerprint(words: &[&str]) -> String {
    let bytes = words.iter().flat_map(|word| word.bytes().chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
