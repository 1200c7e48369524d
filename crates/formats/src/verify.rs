//! Proves that an accelerated image holds the same tree, metadata and bytes as its source.
//!
//! The source layers are read once and merged into a tree with a digest of each file's content, by
//! code that the converter has no part in ([`source`]), so that a fault of its reader or of its merging
//! is found; the accelerated layers are stacked, every block of theirs is checked, and the file system on
//! them is walked side by side with that tree.

mod blobs;
mod compare;
mod content;
mod report;
mod source;

use std::io::Read;

pub use report::{Difference, Report};

use crate::ext4::reader::{Ext4Reader, ReadError};
use crate::overlaybd::{Cancel, LayerStack, OverlayError, Source, open_blob};
use crate::read_at::ReadAt;
use source::SourceTree;

/// Why a chain cannot be compared. Differences are no errors: they are in the [`Report`].
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("source layer {layer}: {source}")]
    Source { layer: usize, source: OverlayError },
    #[error("accelerated layer {layer}: {source}")]
    Blob { layer: usize, source: OverlayError },
    #[error("accelerated layers: {0}")]
    Stack(OverlayError),
    #[error("file system of the accelerated image: {0}")]
    FileSystem(#[from] ReadError),
    #[error("cancelled")]
    Canceled,
}

impl VerifyError {
    /// Whether it was only asked to stop.
    pub fn is_cancelled(&self) -> bool {
        matches!(
            self,
            Self::Canceled
                | Self::Source { source: OverlayError::Canceled, .. }
                | Self::Blob { source: OverlayError::Canceled, .. }
        )
    }
}

/// Compares source layers with accelerated layers, the lowest first in both. At most
/// `max_differences` are kept; all are counted.
///
/// # Errors
/// When one side cannot be read at all.
pub fn verify_chain<S: Read + Send, B: ReadAt>(
    sources: impl IntoIterator<Item = Source<S>>,
    blobs: impl IntoIterator<Item = B>,
    max_differences: usize,
    cancel: &Cancel,
) -> Result<Report, VerifyError> {
    let mut report = Report::new(max_differences);
    let mut layers = Vec::new();
    for (layer, blob) in blobs.into_iter().enumerate() {
        let failed = |source| VerifyError::Blob { layer, source };
        let blob = open_blob(blob).map_err(failed)?;
        blobs::check(layer, &blob, layers.last(), &mut report, cancel).map_err(failed)?;
        layers.push(blob);
    }
    let mut tree = SourceTree::new();
    for (layer, source) in sources.into_iter().enumerate() {
        let bytes = source::add_layer(&mut tree, source, cancel)
            .map_err(|source| VerifyError::Source { layer, source })?;
        report.source_layers += 1;
        report.source_bytes += bytes;
    }
    let stack = LayerStack::of(layers).map_err(VerifyError::Stack)?;
    let file_system = Ext4Reader::open(stack)?;
    compare::compare(&tree, &file_system, &mut report, cancel)?;
    Ok(report)
}
