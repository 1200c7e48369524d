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
            virtual_size: 64 << 30,
            max_attempts: 5,
        }
    }
}
