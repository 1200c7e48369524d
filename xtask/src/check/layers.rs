//! The direction of dependencies between the crates: each may use only what lies below it.

use crate::shell::{capture, repository};
use anyhow::{Context, Result};
use serde_json::Value;
use std::process::Command;

/// Which of our crates each crate may use, tests left aside. A crate that is not here is a fault,
/// so that a new one finds its place on purpose.
const ALLOWED: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("formats", &["types"]),
    ("oci", &["types"]),
    ("storage", &["types"]),
    ("metadata", &["types"]),
    ("tasks", &["metadata", "types"]),
    ("auth", &["metadata", "types"]),
    ("artifacts", &["tasks", "oci", "metadata", "storage", "types"]),
    ("maintenance", &["artifacts", "tasks", "oci", "metadata", "storage", "types"]),
    ("builder", &["artifacts", "formats", "tasks", "oci", "metadata", "storage", "types"]),
    ("subscription", &["artifacts", "auth", "tasks", "oci", "metadata", "storage", "types"]),
    ("registry", &["artifacts", "auth", "tasks", "oci", "metadata", "storage", "types"]),
    (
        "control",
        &[
            "builder",
            "subscription",
            "maintenance",
            "artifacts",
            "auth",
            "tasks",
            "oci",
            "metadata",
            "storage",
            "types",
        ],
    ),
    (
        "server",
        &[
            "registry",
            "control",
            "builder",
            "subscription",
            "maintenance",
            "artifacts",
            "auth",
            "tasks",
            "oci",
            "metadata",
            "storage",
            "types",
        ],
    ),
    (
        "berth",
        &[
            "server",
            "builder",
            "subscription",
            "maintenance",
            "maintenance",
            "artifacts",
            "auth",
            "tasks",
            "oci",
            "formats",
            "metadata",
            "storage",
            "types",
        ],
    ),
    // Beside the product: what tests and the repository use.
    ("testkit", &["types"]),
    ("testbed", &["maintenance", "artifacts", "metadata", "storage", "testkit", "types"]),
    ("tests", &["testkit"]),
    ("xtask", &[]),
];

/// Every dependency that points the wrong way.
pub(super) fn faults() -> Result<Vec<String>> {
    let metadata = capture(
        Command::new(env!("CARGO"))
            .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
            .current_dir(repository()),
    )?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    Ok(packages.iter().flat_map(faults_of).collect())
}

fn faults_of(package: &Value) -> Vec<String> {
    let name = short(package["name"].as_str().unwrap_or_default());
    let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
        return vec![format!(
            "crate {name} has no place in the layers (xtask/src/check/layers.rs)"
        )];
    };
    let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    dependencies
        .iter()
        .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
        .filter(|dependency| dependency["path"].is_string())
        .map(|dependency| short(dependency["name"].as_str().unwrap_or_default()))
        .filter(|dependency| !allowed.contains(dependency))
        .map(|dependency| format!("crate {name} must not depend on {dependency}"))
        .collect()
}

fn short(name: &str) -> &str {
    name.strip_prefix("berth-").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    #[test]
    fn dependencies_point_downwards() {
        assert_eq!(super::faults().expect("cargo metadata runs"), Vec::<String>::new());
    }

    #[test]
    fn a_wrong_direction_is_named() {
        let package = serde_json::json!({
            "name": "berth-formats",
            "dependencies": [
                {"name": "berth-types", "path": "/x", "kind": null},
                {"name": "berth-oci", "path": "/x", "kind": null},
                {"name": "berth-testkit", "path": "/x", "kind": "dev"},
                {"name": "serde", "kind": null},
            ],
        });
        assert_eq!(super::faults_of(&package), ["crate formats must not depend on oci"]);
    }
}
