//! On what it was measured.

use anyhow::Result;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::shell::capture;

/// One line about the machine.
pub(super) fn describe(folder: &Path) -> Result<String> {
    let processors = std::thread::available_parallelism()?.get();
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |text| text.trim_matches([' ', '\t', ':']));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes: u64 =
        memory.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
    let kernel = capture(Command::new("uname").arg("-r"))?;
    let system = capture(Command::new("stat").args(["-f", "-c", "%T"]).arg(folder))?;
    Ok(format!(
        "{processors} × {model}, {} GiB of memory, Linux {}, {}",
        kilobytes / (1 << 20),
        kernel.trim(),
        system.trim()
    ))
}
