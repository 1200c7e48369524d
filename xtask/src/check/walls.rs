//! Which tables a crate may ask for itself. Everything else is asked for at the crate that owns it.

use crate::check::files::rust_files;
use crate::shell::repository;
use anyhow::{Context, Result};

/// The tables of each crate above `artifacts`. A crate that is not here may ask for all.
const OWN: &[(&str, &[&str])] = &[
    ("builder", &["artifact_build_rule", "artifact_build_task", "converted_layer"]),
    (
        "subscription",
        &[
            "artifact_subscription_delivery",
            "artifact_subscription_result",
            "artifact_subscription_rule",
            "artifact_subscription_task",
            "schedule",
        ],
    ),
    ("registry", &[]),
    ("control", &[]),
    ("server", &["schedule", "scrub", "task"]),
    ("berth", &[]),
];

/// What still reaches past a wall, as file and table: only to become shorter.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// Every use of a table by a crate that does not own it, and every exception that is not needed.
pub(super) fn faults() -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut excused = Vec::new();
    for (name, own) in OWN {
        for file in rust_files(&repository().join("crates").join(name).join("src"))? {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let path = file.strip_prefix(repository()).unwrap_or(&file).display().to_string();
            for table in tables_of(&text) {
                if own.contains(&table.as_str()) {
                    continue;
                }
                match EXCEPTIONS.iter().find(|(file, one)| *file == path && *one == table) {
                    Some(exception) => excused.push(exception),
                    None => faults.push(format!("{path}: {name} has no business with `{table}`")),
                }
            }
        }
    }
    let needless = EXCEPTIONS.iter().filter(|exception| !excused.contains(exception));
    faults.extend(needless.map(|(file, table)| format!("{file} may no longer ask for `{table}`")));
    Ok(faults)
}

/// The modules that a source text takes from `tables::`.
fn tables_of(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, prefix) in text.match_indices("tables::") {
        let rest = &text[at + prefix.len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut one = String::new();
            for character in list.chars() {
                match character {
                    '}' if depth == 0 => break,
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => found.extend(first_word(&std::mem::take(&mut one))),
                    other if depth == 0 => one.push(other),
                    _ => {}
                }
            }
            found.extend(first_word(&one));
        } else {
            found.extend(first_word(rest));
        }
    }
    found
}

fn first_word(text: &str) -> Option<String> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::tables_of;

    #[test]
    fn nobody_reaches_past_a_wall() {
        assert_eq!(super::faults().expect("the tree is readable"), Vec::<String>::new());
    }

    #[test]
    fn every_way_of_naming_a_table_is_seen() {
        let text = "use a::tables::{blob::{self, Blob}, tag};\nlet x = tables::manifest::find();";
        assert_eq!(tables_of(text), ["blob", "tag", "manifest"]);
    }
}
