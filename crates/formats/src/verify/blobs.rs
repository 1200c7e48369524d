//! Checks of one layer blob on its own and against the layer below.

use super::report::Report;
use crate::overlaybd::{Blob, Cancel, OverlayError};
use crate::read_at::ReadAt;

/// Reads every block and compares the records; `below` is the layer under this one.
pub(super) fn check<R: ReadAt>(
    layer: usize,
    blob: &Blob<R>,
    below: Option<&Blob<R>>,
    report: &mut Report,
    cancel: &Cancel,
) -> Result<(), OverlayError> {
    let name = format!("layer {layer}");
    report.accelerated_layers += 1;
    if let Some(zfile) = blob.blob.zfile() {
        zfile.scan(|_| {
            report.blocks += 1;
            if report.blocks.is_multiple_of(256) { cancel.check() } else { Ok(()) }
        })?;
    }
    let (header, trailer) = (&blob.header, &blob.trailer);
    for (field, expected, found) in [
        ("uuid", &trailer.uuid, &header.uuid),
        ("virtual size", &trailer.virtual_size.to_string(), &header.virtual_size.to_string()),
    ] {
        if expected != found {
            report.differ(&name, field, format!("trailer: {expected}"), format!("header: {found}"));
        }
    }
    let expected = below.map(|below| below.trailer.uuid.as_str()).unwrap_or_default();
    let found = trailer.parent.as_deref().unwrap_or_default();
    if expected != found {
        report.differ(&name, "parent", expected, found);
    }
    let end = blob.index.last().map(|last| last.end().saturating_mul(512)).unwrap_or_default();
    if end > trailer.virtual_size {
        let expected = format!("at most {}", trailer.virtual_size);
        report.differ(&name, "virtual size", expected, format!("data up to {end}"));
    }
    Ok(())
}
