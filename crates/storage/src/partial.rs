//! An object that is being written.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{fs, s3};

/// An object that is being written. Serialised after
/// [`crate::BlobStore::sync`] it is a checkpoint, from which any process resumes the writing.
#[derive(Debug, Serialize, Deserialize)]
pub struct PartialObject {
    /// Names the partial object; the object's key comes with [`crate::BlobStore::finish`].
    pub key: String,
    /// Bytes appended so far.
    pub len: u64,
    pub(crate) state: State,
    #[serde(skip)]
    pub(crate) live: Live,
}

/// What must survive, per kind of store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Folder(fs::State),
    S3(s3::State),
    Memory,
}

/// What a process holds while it writes.
#[derive(Default)]
pub(crate) enum Live {
    #[default]
    None,
    Folder(Box<fs::Live>),
    S3(Box<s3::Live>),
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Folder(_) => "Folder",
            Self::S3(_) => "S3",
        })
    }
}
