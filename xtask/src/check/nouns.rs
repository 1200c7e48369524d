//! One noun, one file name: the file of its operations, of its service, of its table and the folder of
//! its end-to-end stories.

use crate::shell::repository;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::Path;

/// Where operations lie; each file there is a noun.
const ACTIONS: &str = "crates/control/src/actions";

/// The crates whose services the operations call.
const SERVICES: &[&str] = &["artifacts", "auth", "builder", "maintenance", "subscription"];

/// What has no file of its noun: checked in, and only to become shorter.
const EXCEPTIONS: &str = include_str!("nouns/exceptions.txt");

/// Every noun that lacks a file and is not excused, and every excuse that is not needed.
pub(super) fn faults() -> Result<Vec<String>> {
    let root = repository();
    let mut nouns = BTreeSet::new();
    for entry in std::fs::read_dir(root.join(ACTIONS)).with_context(|| format!("no {ACTIONS}"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            nouns.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    Ok(faults_of(&nouns, &excused(EXCEPTIONS), |place| exists(root, place)))
}

/// The places where a noun is looked for, by what it is there.
fn places(noun: &str) -> [(&'static str, String); 3] {
    [
        ("service", format!("crates/*/src/{noun}.rs")),
        ("table", format!("crates/metadata/src/tables/{noun}.rs")),
        ("stories", format!("tests/e2e/{noun}/main.rs")),
    ]
}

fn exists(root: &Path, place: &str) -> bool {
    match place.split_once('*') {
        None => root.join(place).is_file(),
        Some((before, after)) => {
            SERVICES.iter().any(|service| root.join(format!("{before}{service}{after}")).is_file())
        }
    }
}

fn excused(text: &str) -> BTreeSet<(String, String)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let words = lines.filter_map(|line| line.split_once(' '));
    words.map(|(noun, what)| (noun.to_owned(), what.to_owned())).collect()
}

fn faults_of(
    nouns: &BTreeSet<String>,
    excused: &BTreeSet<(String, String)>,
    exists: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut faults = Vec::new();
    for noun in nouns {
        for (what, place) in places(noun) {
            let excuse = excused.contains(&(noun.clone(), what.to_owned()));
            match (exists(&place), excuse) {
                (false, false) => faults.push(format!("the noun {noun} has no {what} ({place})")),
                (true, true) => faults.push(format!(
                    "the noun {noun} has its {what}: take it off nouns/exceptions.txt"
                )),
                _ => {}
            }
        }
    }
    for (noun, what) in excused.iter().filter(|(noun, _)| !nouns.contains(noun)) {
        faults.push(format!("nouns/exceptions.txt excuses the {what} of {noun}, which is no noun"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::{excused, faults_of};
    use std::collections::BTreeSet;

    #[test]
    fn every_noun_has_its_files() {
        assert_eq!(super::faults().expect("the tree is readable"), Vec::<String>::new());
    }

    #[test]
    fn a_missing_file_and_a_needless_excuse_are_named() {
        let nouns = BTreeSet::from(["tag".to_owned()]);
        let all = faults_of(&nouns, &excused("tag table\n"), |_| true);
        assert_eq!(all, ["the noun tag has its table: take it off nouns/exceptions.txt"]);
        assert_eq!(faults_of(&nouns, &excused("tag table\ntag stories\n"), |_| false).len(), 1);
        assert_eq!(faults_of(&nouns, &excused("tags table\n"), |_| true).len(), 1);
    }
}
