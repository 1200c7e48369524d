//! On what it was measured.

use anyhow::Result;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

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

/// How often memory is claimed at most.
const CLAIMS: u32 = 8;

/// Bytes that are claimed by one write: who writes more at a time takes larger pages.
const CLAIMED: u64 = 256 << 10;

/// Has the machine own the memory that so many bytes written to files will take.
///
/// Hypervisors take free memory back and give it again when it is touched. A page that has to be given
/// costs five times a page that is there, and that is no registry's doing.
pub(super) fn claim_memory(folder: &Path, bytes: u64) -> Result<()> {
    let path = folder.join("memory");
    let block = vec![1; usize::try_from(CLAIMED)?];
    let mut before = Duration::ZERO;
    for _ in 0..CLAIMS {
        let begin = Instant::now();
        let mut file = File::create(&path)?;
        for _ in 0..bytes.div_ceil(CLAIMED) {
            file.write_all(&block)?;
        }
        let taken = begin.elapsed();
        // Before it reaches the disk.
        fs::remove_file(&path)?;
        if taken < before * 5 / 4 && before < taken * 5 / 4 {
            break;
        }
        before = taken;
    }
    Ok(())
}
