//! Debian packages: those that are missing, and no others.

use super::Extent;
use crate::shell::{as_root, find_program, run};
use anyhow::{Result, bail};
use std::process::Command;

const SERVICES: &[&str] = &["postgresql", "postgresql-client", "python3", "python3-venv"];

const EVERYTHING: &[&str] = &[
    "buildah",
    "ca-certificates",
    "containerd",
    "curl",
    "debootstrap",
    "docker-registry",
    "docker.io",
    "e2fsprogs",
    "mount",
    "podman",
    "runc",
    "skopeo",
    "tar",
    "umoci",
    "util-linux",
];

/// Installs the missing packages, after one update of the lists.
pub(crate) fn install(extent: Extent) -> Result<()> {
    let mut wanted = SERVICES.to_vec();
    if extent == Extent::Everything {
        wanted.extend(EVERYTHING);
    }
    if find_program("dpkg-query").is_none() {
        bail!("the tests install Debian packages ({}); this is no Debian", wanted.join(", "));
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
