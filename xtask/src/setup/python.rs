//! Python packages: the official SDKs and the judges of the end-to-end tests, and a tree of installed
//! packages that serves as an image layer.

use super::{Cache, fingerprint};
use crate::shell::run;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The SDKs that Berth answers to, a client of its data plane, and the codecs that the independent reader
/// needs.
const ENVIRONMENT: &[&str] = &[
    "alibabacloud_cr20181201==2.2.5",
    "aliyun-python-sdk-core==2.16.1",
    "aliyun-python-sdk-cr==4.1.2",
    "crc32c==2.9.post0",
    "lz4==4.4.5",
    "oras==0.2.43",
    "zstandard==0.25.0",
];

/// A layer as applications have it: thousands of small files, some large ones, binary modules.
const TREE: &[&str] = &["flask==3.1.3", "pyyaml==6.0.3", "requests==2.34.2", "sympy==1.14.0"];

/// The interpreter of the virtual environment in which the tests' scripts run.
pub(crate) fn environment(cache: &Cache) -> Result<PathBuf> {
    let name = format!("python-{}", fingerprint(ENVIRONMENT));
    let folder = cache.entry(&name, |folder| virtual_environment(folder, ENVIRONMENT))?;
    Ok(folder.join("bin/python"))
}

/// A tar of packages below `opt/application`.
pub(crate) fn package_tree(cache: &Cache) -> Result<PathBuf> {
    let interpreter = environment(cache)?;
    let folder = cache.entry(&format!("python-tree-{}", fingerprint(TREE)), |folder| {
        let target = folder.join("opt/application");
        run(pip_install(&interpreter).arg("--target").arg(&target).args(TREE))?;
        run(Command::new("tar")
            .args(["--create", "--format=pax", "--numeric-owner", "--owner=0", "--group=0"])
            .args(["--pax-option=delete=atime,delete=ctime", "--sort=name", "--file"])
            .arg(folder.join("tree.tar"))
            .arg("--directory")
            .arg(folder)
            .arg("opt"))?;
        Ok(std::fs::remove_dir_all(folder.join("opt"))?)
    })?;
    Ok(folder.join("tree.tar"))
}

/// Makes a virtual environment with `packages` in `folder`. Its scripts name the folder that they
/// were installed in, so programs are run as modules of its interpreter.
pub(crate) fn virtual_environment(folder: &Path, packages: &[&str]) -> Result<()> {
    run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    run(pip_install(&folder.join("bin/python")).args(packages))
}

fn pip_install(interpreter: &Path) -> Command {
    let mut command = Command::new(interpreter);
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    command
}
