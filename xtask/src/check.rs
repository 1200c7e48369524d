//! The house rules that no compiler knows.

mod files;
mod layers;
mod nouns;
mod walls;

use anyhow::{Result, bail};

/// Runs every check and reports all that is wrong at once.
pub(crate) fn run() -> Result<()> {
    let mut faults = layers::faults()?;
    faults.extend(files::faults()?);
    faults.extend(nouns::faults()?);
    faults.extend(walls::faults()?);
    if faults.is_empty() {
        println!("xtask: house rules hold");
        return Ok(());
    }
    bail!("house rules are broken:\n  {}", faults.join("\n  "))
}
