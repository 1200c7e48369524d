//! A Debian root file system, as base images have it.

use super::Cache;
use crate::shell::{as_root, capture, run};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The tar of a minimal root file system of this machine's own Debian release.
pub(crate) fn tar(cache: &Cache) -> Result<PathBuf> {
    let release = release()?;
    let folder = cache.entry(&format!("rootfs-{release}"), |folder| make(folder, &release))?;
    Ok(folder.join("rootfs.tar"))
}

fn make(folder: &Path, release: &str) -> Result<()> {
    let root = folder.join("root");
    let mirror = mirror(release)?;
    run(as_root("debootstrap", "debootstrap makes a root file system (devices, owners, chroot)")?
        .args(["--variant=minbase", release])
        .arg(&root)
        .arg(mirror))?;
    run(as_root("tar", "tar packs that root file system")?
        .args(["--create", "--format=pax", "--numeric-owner", "--xattrs", "--one-file-system"])
        .args(["--pax-option=delete=atime,delete=ctime", "--sort=name"])
        // Downloaded packages are no part of an image.
        .args(["--exclude=./var/cache/apt/archives/*.deb", "--file"])
        .arg(folder.join("rootfs.tar"))
        .arg("--directory")
        .arg(&root)
        .arg("."))?;
    run(as_root("rm", "rm removes the unpacked root file system")?
        .args(["--recursive", "--force", "--one-file-system"])
        .arg(&root))
}

/// The code name of the release, e.g. `bookworm`.
fn release() -> Result<String> {
    let text = std::fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    text.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .context("/etc/os-release names no VERSION_CODENAME")
}

/// The mirror that this machine's apt uses for the release; its lists are fetched when there are none.
fn mirror(release: &str) -> Result<String> {
    if let Some(mirror) = known_mirror(release)? {
        return Ok(mirror);
    }
    run(as_root("apt-get", "apt-get update")?.args(["update", "--quiet"]))?;
    known_mirror(release)?
        .with_context(|| format!("apt knows no mirror for {release}: see /etc/apt/sources.list.d"))
}

fn known_mirror(release: &str) -> Result<Option<String>> {
    let targets = capture(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(CREATED_BY) $(RELEASE) $(ORIGIN) $(REPO_URI)",
    ]))?;
    let mirror = targets.lines().find_map(|line| match *line.split(' ').collect::<Vec<_>>() {
        ["Packages", name, "Debian" | "Ubuntu", uri] if name == release => Some(uri.to_owned()),
        _ => None,
    });
    Ok(mirror)
}
