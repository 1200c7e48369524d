//! Why an entry cannot be applied.

use std::fmt;

/// An entry as errors name it: position in the layer and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryName {
    /// Position in the layer, from 0.
    pub index: u64,
    /// Path as in the archive.
    pub path: Vec<u8>,
}

impl fmt::Display for EntryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "entry {} ({:?})", self.index, String::from_utf8_lossy(&self.path))
    }
}

/// An entry of a layer that has no meaning on any file system. Always permanent.
#[derive(Debug, thiserror::Error)]
#[error("{entry}: {problem}")]
pub struct TreeError {
    /// The entry at fault.
    pub entry: EntryName,
    /// What is wrong with it.
    pub problem: TreeProblem,
}

/// What is wrong with an entry.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeProblem {
    /// A path with a NUL byte.
    #[error("the path contains a NUL byte")]
    NulInPath,
    /// A component beyond 255 bytes.
    #[error("a path component is longer than 255 bytes")]
    NameTooLong,
    /// A path beyond 4096 bytes.
    #[error("the path is longer than 4096 bytes")]
    PathTooLong,
    /// A parent that is neither a directory nor a link to one.
    #[error("parent {0:?} is not a directory")]
    ParentNotDirectory(String),
    /// A loop of symbolic links.
    #[error("too many symbolic links on the way")]
    SymlinkLoop,
    /// `.wh.`, `.wh..` or `.wh...`.
    #[error("a white-out must name what it removes")]
    EmptyWhiteout,
    /// A hard link to nothing.
    #[error("hard link target {0:?} does not exist")]
    LinkTargetMissing(String),
    /// A hard link to a directory.
    #[error("hard link target {0:?} is a directory")]
    LinkToDirectory(String),
    /// A symbolic link that no kernel resolves.
    #[error("a symbolic link's target must have 1 to 4095 bytes, none of them NUL")]
    BadSymlinkTarget,
    /// More inodes than a number can name.
    #[error("the image has too many inodes")]
    TooManyInodes,
}
