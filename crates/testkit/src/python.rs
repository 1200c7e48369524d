//! Python programs of the tests: the official SDKs and the independent judges.

use crate::environment::required;
use std::path::Path;
use std::process::Command;

/// A command that runs `script` in the virtual environment that `cargo xtask test` made.
///
/// # Panics
/// When the run was not started by it.
#[must_use]
pub fn script(script: &Path) -> Command {
    let mut command = Command::new(required("BERTH_TEST_PYTHON"));
    // Bytecode would be written beside the script, into the repository.
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg("-W").arg("ignore").arg(script);
    command
}

/// The same as root, for judges that read trees of foreign owners.
#[must_use]
pub fn script_as_root(script: &Path) -> Command {
    let mut command = crate::process::as_root(required("BERTH_TEST_PYTHON"));
    command.args(["-B", "-W", "ignore"]).arg(script);
    command
}
