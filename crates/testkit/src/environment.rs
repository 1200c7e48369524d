//! The variables through which `cargo xtask test` hands over what it prepared.

use std::path::PathBuf;

/// The value of `name`; panics with the way out when it is unset.
pub(crate) fn required(name: &str) -> String {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => value,
        _ => panic!("{name} is not set: run the tests through `cargo xtask test`"),
    }
}

/// The same as a path; panics with the way out when it is unset.
///
/// # Panics
/// When the run was not started by `cargo xtask test`.
#[must_use]
pub fn required_path(name: &str) -> PathBuf {
    PathBuf::from(required(name))
}
