# Sugar over `cargo xtask`; every recipe is one command that can be typed as well.

# List the recipes.
default:
    @just --list

# Install what the tests need and run everything, as CI does.
test *arguments:
    cargo xtask test {{ arguments }}

# What needs no set-up: format, house rules, lints.
check:
    cargo xtask test --only fmt --only check --only clippy

# The end-to-end tests, or those of one noun: `just e2e upload`.
e2e noun="":
    cargo xtask test --only tests -p berth-tests {{ if noun == "" { "" } else { "--test " + noun } }}

# A conformance program of the OCI distribution specification, when the machine has one.
conformance *arguments:
    cargo xtask conformance {{ arguments }}

# The stories that have a duration, for as long as it takes to believe them: `just stress gc`, `just stress crash`.
stress story *arguments:
    cargo xtask stress {{ story }} {{ arguments }}

# Berth's data plane beside other registries; rewrites the table of docs/performance.md.
bench *arguments:
    cargo xtask bench data-plane {{ arguments }}

# Format all code.
fmt:
    cargo fmt --all

# The main job on this machine's own files.
demo:
    cargo run --release -- demo

# A server on embedded defaults.
run *arguments:
    cargo run --release -- serve {{ arguments }}
