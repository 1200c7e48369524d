//! The blob store: immutable objects by unique key, on a folder, on S3 and in memory.
//!
//! Owns bytes at rest. Must not know digests, repositories or the database: which object holds
//! which blob is a row elsewhere, and so nothing here rests on conditional puts, on overwriting, or
//! on listing.
//!
//! Entry points: [`open`], [`BlobStore`] with its contract, [`PartialObject`]. The suite of tests
//! runs on every store.

mod buffers;
mod config;
mod error;
mod file_range;
mod fs;
mod key;
mod memory;
mod partial;
mod s3;
mod store;
mod stream;

pub use config::{StorageConfig, open};
pub use error::{StorageError, StorageErrorKind};
pub use file_range::FileRange;
pub use fs::FolderStore;
pub use memory::MemoryStore;
pub use partial::PartialObject;
pub use s3::{MOST_BETWEEN_SYNCS, S3Store};
pub use store::{BlobStore, Object, ObjectStat, Stored};
pub use stream::ByteStream;

#[cfg(test)]
mod suite;
