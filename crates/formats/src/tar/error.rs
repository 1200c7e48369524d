//! What is wrong with an archive, and where.

use std::io;

/// A broken archive. `entry` counts from 0; `offset` is in the uncompressed archive.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The archive's bytes cannot be read; also a broken compressed stream.
    #[error("entry {entry} ({path:?}) at byte {offset}: {source}")]
    Io {
        /// Number of the entry being read.
        entry: u64,
        /// Its path, empty when not known yet.
        path: String,
        /// Where reading stopped.
        offset: u64,
        /// The cause.
        source: io::Error,
    },
    /// The archive ends inside an entry.
    #[error("entry {entry} ({path:?}): the archive is cut off at byte {offset}")]
    Truncated {
        /// Number of the entry being read.
        entry: u64,
        /// Its path, empty when not known yet.
        path: String,
        /// Where the archive ends.
        offset: u64,
    },
    /// A header that makes no sense.
    #[error("entry {entry} ({path:?}) at byte {offset}: {reason}")]
    Invalid {
        /// Number of the entry being read.
        entry: u64,
        /// Its path, empty when not known yet.
        path: String,
        /// Start of the block at fault.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
}
