//! What came with an image, in numbers.

use super::blob::BlobEnd;

/// What came with a manifest.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    /// Manifests that the image has here now, and those of them that were not here before.
    pub(super) manifests: usize,
    pub(super) new: usize,
    pub(super) downloaded: usize,
    pub(super) present: usize,
    pub(super) bytes: u64,
}

impl Tally {
    /// A manifest that was here with everything that it names.
    pub(super) const HERE: Self =
        Self { manifests: 1, new: 0, downloaded: 0, present: 0, bytes: 0 };

    pub(super) fn add(self, other: Self) -> Self {
        Self {
            manifests: self.manifests + other.manifests,
            new: self.new + other.new,
            downloaded: self.downloaded + other.downloaded,
            present: self.present + other.present,
            bytes: self.bytes + other.bytes,
        }
    }

    pub(super) fn of(end: BlobEnd, size: u64) -> Self {
        match end {
            BlobEnd::Downloaded => Self { downloaded: 1, bytes: size, ..Self::default() },
            BlobEnd::Present => Self { present: 1, ..Self::default() },
        }
    }

    pub(super) fn words(self) -> String {
        let Self { manifests, downloaded, present, bytes, .. } = self;
        format!(
            "{manifests} manifests, {downloaded} blobs of {bytes} bytes downloaded, {present} \
             blobs present"
        )
    }
}
