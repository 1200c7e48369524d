//! How builds use the machine.

use std::path::PathBuf;

/// Settings of the build workers.
#[derive(Debug, Clone)]
pub struct BuildConfig {
    /// Folder for layers in the making; emptied of what dead processes left.
    pub scratch: PathBuf,
    /// Layers of one build that are read and compressed at the same time.
    pub threads: usize,
    /// Most bytes that one layer may inflate to.
    pub max_layer_bytes: u64,
    /// Most files, directories and links that one layer may bring.
    pub max_layer_entries: u64,
    /// Most bytes that a zstd frame may look back, which memory must hold. Of frames that look back
    /// more than 128 MiB a process reads one at a time.
    pub max_zstd_window: u64,
    /// Size of the virtual disk of an OverlayBD image in bytes.
    pub virtual_size: u64,
    /// How often a build is tried when faults are transient.
    pub max_attempts: i64,
}

impl BuildConfig {
    pub fn new(scratch: PathBuf) -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            scratch,
            threads,
            max_layer_bytes: 64 << 30,
            max_layer_entries: 4_000_000,
            max_zstd_window: 2 << 30,
            virtual_size: 64 << 30,
            max_attempts: 5,
        }
    }
}
