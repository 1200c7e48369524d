//! How far the conversion of all images of an index is.

use berth_oci::ManifestView;

use super::{ImageStore, Progress};

/// Progress over all images of an index.
pub(super) struct Totals {
    layers: u64,
    bytes: u64,
    layers_done: std::sync::atomic::AtomicU64,
    bytes_done: std::sync::atomic::AtomicU64,
    reported: std::sync::atomic::AtomicU64,
}

/// Progress is told at least every so many bytes.
const REPORT_BYTES: u64 = 4 << 20;

impl Totals {
    pub(super) fn of<'a>(images: impl IntoIterator<Item = &'a ManifestView>) -> Self {
        let (mut layers, mut bytes) = (0u64, 0u64);
        for layer in images.into_iter().flat_map(|image| &image.layers) {
            layers += 1;
            bytes = bytes.saturating_add(layer.size);
        }
        Self { layers, bytes, layers_done: 0.into(), bytes_done: 0.into(), reported: 0.into() }
    }

    pub(super) fn bytes_read(&self, store: &dyn ImageStore, count: u64) {
        use std::sync::atomic::Ordering::Relaxed;
        let done = self.bytes_done.fetch_add(count, Relaxed) + count;
        let reported = self.reported.load(Relaxed);
        if done >= reported + REPORT_BYTES
            && self.reported.compare_exchange(reported, done, Relaxed, Relaxed).is_ok()
        {
            store.progress(self.now());
        }
    }

    pub(super) fn layer_done(&self, store: &dyn ImageStore, bytes: u64) {
        use std::sync::atomic::Ordering::Relaxed;
        self.bytes_done.fetch_add(bytes, Relaxed);
        self.layers_done.fetch_add(1, Relaxed);
        store.progress(self.now());
    }

    fn now(&self) -> Progress {
        use std::sync::atomic::Ordering::Relaxed;
        Progress {
            layers_total: self.layers,
            layers_done: self.layers_done.load(Relaxed),
            bytes_total: self.bytes,
            bytes_done: self.bytes_done.load(Relaxed).min(self.bytes),
        }
    }
}
