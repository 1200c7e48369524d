//! The source image as a tree, read by nothing that the converter reads with: headers through the
//! crate `tar`, extended headers and merging by code of its own, which builds each layer apart and then
//! lays it over those below, as a node does. Only the decompressor is the same, whose output the
//! diff-ids prove.

mod archive;
mod data;
mod layer;
mod records;
mod tree;

use std::io::Read;

pub(super) use tree::{Kind, Node, NodeId, SourceTree, Xattrs};

use archive::Archive;
use layer::Layer;

use crate::overlaybd::source::inflate;
use crate::overlaybd::{Cancel, OverlayError, Source};

/// Reads one more layer and lays it over the tree; returns the bytes of its tar.
pub(super) fn add_layer(
    tree: &mut SourceTree,
    source: Source<impl Read + Send>,
    cancel: &Cancel,
) -> Result<u64, OverlayError> {
    let limit = source.limits.entries;
    let (upper, _, amounts) = inflate(source, cancel, |tar| {
        let mut archive = Archive::new(tar);
        let mut layer = Layer::over(tree);
        let mut entries = 0;
        while let Some(entry) = archive.next(cancel)? {
            entries += 1;
            if entries > limit {
                let message = format!("the layer has more than {limit} entries");
                return Err(OverlayError::Limit(message));
            }
            layer.apply(&entry)?;
        }
        Ok(layer.finish())
    })?;
    tree.lay(upper);
    Ok(amounts.inflated)
}

/// An entry of the source that the judge cannot make sense of.
fn strange(path: &[u8], reason: &str) -> OverlayError {
    let path = String::from_utf8_lossy(path);
    OverlayError::invalid("source layer", format!("entry {path:?}: {reason}"))
}
