//! Why a layer cannot be put on the virtual disk.

use crate::tree::TreeError;

/// A layer that ext4, or this virtual disk, cannot hold. Every case is permanent.
#[derive(Debug, thiserror::Error)]
pub enum Ext4Error {
    /// The layer cannot be merged with the layers below it.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The requested virtual size is not usable.
    #[error("virtual size of {size} bytes is not supported: {reason}")]
    Geometry {
        /// The size asked for, in bytes.
        size: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No free blocks are left.
    #[error("virtual disk of {virtual_size} bytes is full at {path:?}")]
    DiskFull {
        /// Path of the file or directory being placed.
        path: String,
        /// Size of the virtual disk in bytes.
        virtual_size: u64,
    },
    /// No free inodes are left.
    #[error("virtual disk has no free inode left: it holds at most {limit}")]
    InodesFull {
        /// Number of inodes of the file system.
        limit: u32,
    },
    /// Something ext4 cannot represent.
    #[error("{path:?}: {reason}")]
    Unsupported {
        /// Path in the image.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The caller's record of where a file's content lies contradicts itself.
    #[error("{path:?}: {reason}")]
    BadFileData {
        /// Path in the image.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
}
