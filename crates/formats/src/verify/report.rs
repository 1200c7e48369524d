//! What a comparison found.

use serde::Serialize;

/// The outcome of a comparison.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub source_layers: u64,
    /// Bytes of uncompressed source tar.
    pub source_bytes: u64,
    pub accelerated_layers: u64,
    /// ZFile blocks whose checksums were right.
    pub blocks: u64,
    /// Names that were compared.
    pub names: u64,
    /// Regular files whose content was compared, each inode once.
    pub files: u64,
    /// Bytes of file content that were compared, holes left out.
    pub bytes: u64,
    /// How many differences there are.
    pub difference_count: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
    #[serde(skip)]
    limit: usize,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Path in the image, or `layer N` for what concerns a blob.
    pub path: String,
    /// What differs: `name`, `type`, `mode`, `uid`, `gid`, `mtime`, `xattr …`, `links`, `inode`,
    /// `device`, `target`, `size`, `content`, `uuid`, `parent`, `virtual size`, `inode data`.
    pub field: String,
    /// What the source says.
    pub expected: String,
    /// What the accelerated image has.
    pub found: String,
}

impl Report {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Whether the accelerated image is the source.
    pub fn is_equal(&self) -> bool {
        self.difference_count == 0
    }

    pub(super) fn differ(
        &mut self,
        path: &str,
        field: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        self.difference_count += 1;
        if self.differences.len() < self.limit {
            self.differences.push(Difference {
                path: path.to_owned(),
                field: field.to_owned(),
                expected: expected.into(),
                found: found.into(),
            });
        }
    }
}
