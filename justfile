# Sugar over `cargo xtask` and cargo; `just --list` shows what there is.

# Format check, house rules, clippy and every test, with everything they need.
test *filter:
    cargo xtask test {{filter}}

# What is quick: format check, house rules, clippy.
check:
    cargo xtask test --only fmt --only check --only clippy

# The end-to-end stories; `just e2e subscription` runs one of them.
e2e *story:
    cargo xtask test --only tests --package berth-tests {{ if story == "" { "" } else { "--test " + story } }}

# Both databases and all stores.
test-storage:
    cargo xtask test --only tests --package berth-metadata --package berth-storage --package berth-tasks

# The main job on this machine's own files.
demo:
    cargo run --release -- demo

# A server with its data in ./berth-data.
run *arguments:
    cargo run --release -- serve {{arguments}}

# Licences and advisories of the dependencies (needs cargo-deny).
deny:
    cargo deny check
