//! The shape of source files: their length, their names, the head of every crate.

use crate::shell::repository;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The longest that a file may be; more is two nouns in one file.
const MOST_LINES: usize = 500;

/// Every Rust file that breaks a rule.
pub(super) fn faults() -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let folders = ["crates", "tests", "xtask", "benches", "fuzz"];
    let files = folders.map(|folder| rust_files(&repository().join(folder)));
    for file in files.into_iter().collect::<Result<Vec<_>>>()?.concat() {
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.strip_prefix(repository()).unwrap_or(&file).display().to_string();
        faults.extend(faults_of(&name, &text));
    }
    Ok(faults)
}

fn faults_of(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    if lines > MOST_LINES {
        faults.push(format!("{name} has {lines} lines, {MOST_LINES} are the most"));
    }
    if name.ends_with("/mod.rs") {
        faults.push(format!("{name}: a module is foo.rs beside foo/, not mod.rs"));
    }
    if name.ends_with("/src/lib.rs") && !text.starts_with("//!") {
        faults.push(format!("{name} does not begin with what the crate owns (//!)"));
    }
    faults
}

/// The Rust files below a folder, in order.
pub(super) fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() || folder.ends_with("target") {
            continue;
        }
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::faults_of;

    #[test]
    fn source_files_keep_the_rules() {
        assert_eq!(super::faults().expect("the tree is readable"), Vec::<String>::new());
    }

    #[test]
    fn each_broken_rule_is_named() {
        let long = "//! head\n".repeat(501);
        assert_eq!(faults_of("crates/a/src/b.rs", &long).len(), 1);
        assert_eq!(faults_of("crates/a/src/mod.rs", "").len(), 1);
        assert_eq!(faults_of("crates/a/src/lib.rs", "use x;").len(), 1);
        assert_eq!(faults_of("crates/a/src/lib.rs", "//! Owns a."), Vec::<String>::new());
    }
}
