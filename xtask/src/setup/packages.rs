//! Debian packages: those that are missing, and no others.

use super::Extent;
use crate::shell::{as_root, find_program, run};
use anyhow::{Result, bail};
use std::process::Command;

const SERVICES: &[&str] =
    &["docker-registry", "postgresql", "postgresql-client", "python3", "python3-venv", "skopeo"];

const EVERYTHING: &[&str] = &[
    "buildah",
    "ca-certificates",
    "containerd",
    "curl",
    "debootstrap",
    "docker.io",
    "e2fsprogs",
    "mount",
    "podman",
    "runc",
    "tar",
    "umoci",
    "util-linux",
];

/// Peers and load generators.
const BENCH: &[&str] = &[
    "apache2-utils",
    "ca-certificates",
    "curl",
    "docker-registry",
    "postgresql",
    "postgresql-client",
    "sqlite3",
    "util-linux",
    "wrk",
];

/// Installs the missing packages, after one update of the lists.
pub(crate) fn install(extent: Extent) -> Result<()> {
    let wanted = match extent {
        Extent::Services => SERVICES.to_vec(),
        Extent::Everything => [SERVICES, EVERYTHING].concat(),
        Extent::Bench => BENCH.to_vec(),
    };
    if find_program("dpkg-query").is_none() {
        bail!("this installs Debian packages ({}); this is no Debian", wanted.join(", "));
    }
    let missing: Vec<&str> = wanted.into_iter().filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("xtask: missing Debian packages: {}", missing.join(" "));
    run(as_root("apt-get", "apt-get update")?.args(["update", "--quiet"]))?;
    let why = format!("apt-get install {}", missing.join(" "));
    run(as_root("env", &why)?
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", "--quiet"])
        .arg("--no-install-recommends")
        .args(&missing))
}

fn is_installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Status}", package])
        .output()
        .is_ok_and(|output| output.status.success() && output.stdout == b"installed")
}
