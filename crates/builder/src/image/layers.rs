//! The layers of one image: those that were converted before, and the rest as one chain.

use std::io::{self, Read};

use berth_formats::overlaybd::convert::{
    ChainError, ChainErrorKind, ChainObserver, ChainSource, Conversion, LayerJob, convert_chain,
};
use berth_formats::overlaybd::{Cancel, FinishedLayer};
use berth_oci::Descriptor;
use berth_types::Digest;

use super::totals::Totals;
use super::{ConvertError, ConvertedLayer, ImageStore, Settings};
use crate::target::TargetLayer;
use crate::unavailable::is_unavailable;
use crate::{chain, source::FaultNote, source::Watched};

pub(super) fn convert_layers(
    store: &dyn ImageStore,
    layers: &[Descriptor],
    diff_ids: &[Digest],
    settings: &Settings<'_>,
    total: &Totals,
) -> Result<Vec<TargetLayer>, ConvertError> {
    let options = &settings.options;
    let described =
        format!("{:?} {} {}", options.algorithm, options.block_size, options.virtual_size);
    let keys = chain::keys(&described, layers.iter().map(|layer| &layer.digest));
    let mut found = Vec::with_capacity(layers.len());
    for ((layer, key), diff_id) in layers.iter().zip(&keys).zip(diff_ids) {
        let Some(before) = store.converted_layer(key)? else {
            found.push(None);
            continue;
        };
        if before.diff_id != *diff_id {
            return Err(ConvertError::Broken(format!(
                "layer {}: uncompressed layer has diff-id {}, the image configuration says \
                 {diff_id} (layer digest {})",
                found.len(),
                before.diff_id,
                layer.digest
            )));
        }
        found.push(Some(before.layer));
    }
    let jobs: Vec<LayerJob> = diff_ids
        .iter()
        .zip(&found)
        .map(|(diff_id, found)| LayerJob {
            diff_id: diff_id.clone(),
            compression: None,
            cached: found.is_some(),
        })
        .collect();
    for (layer, found) in layers.iter().zip(&found) {
        if let Some(found) = found {
            store.log(format!("Layer {}: converted before as {}", layer.digest, found.digest));
            total.layer_done(store, layer.size);
        }
    }
    let run = ChainRun {
        store,
        layers,
        keys: &keys,
        diff_ids,
        total,
        fault: FaultNote::default(),
        counts: found.iter().map(Option::is_none).collect(),
        made: std::sync::Mutex::new(found),
    };
    let conversion = Conversion {
        source: &run,
        observer: &run,
        options: settings.options,
        limits: settings.limits,
        scratch: settings.folder,
        threads: settings.threads,
        cancel: settings.cancel,
    };
    if let Err(error) = convert_chain(&jobs, &conversion) {
        return Err(run.explain(&error, settings.cancel));
    }
    let made = run.made.into_inner().unwrap_or_default();
    let all: Option<Vec<TargetLayer>> = made.into_iter().collect();
    all.filter(|all| all.len() == layers.len())
        .ok_or_else(|| ConvertError::Transient("a layer was not converted".to_owned()))
}

/// One chain on its way through the converter.
struct ChainRun<'a> {
    store: &'a dyn ImageStore,
    layers: &'a [Descriptor],
    keys: &'a [String],
    /// Those that the config promises, which the conversion has checked of every layer it finishes.
    diff_ids: &'a [Digest],
    total: &'a Totals,
    fault: FaultNote,
    /// Whether reading a layer counts as progress (cached ones were counted at once).
    counts: Vec<bool>,
    made: std::sync::Mutex<Vec<Option<TargetLayer>>>,
}

impl ChainRun<'_> {
    fn explain(&self, error: &ChainError, cancel: &Cancel) -> ConvertError {
        if cancel.is_cancelled() || error.kind() == ChainErrorKind::Canceled {
            return ConvertError::Canceled;
        }
        if is_unavailable(error) {
            return ConvertError::Unavailable(error.to_string());
        }
        if let Some(fault) = self.fault.take() {
            return ConvertError::Transient(format!("{error}: {fault}"));
        }
        let name = error.layer().and_then(|index| self.layers.get(index));
        let message = match name {
            Some(layer) => format!("{error} (layer digest {})", layer.digest),
            None => error.to_string(),
        };
        match error.kind() {
            ChainErrorKind::Broken | ChainErrorKind::Full => ConvertError::Broken(message),
            _ => ConvertError::Transient(message),
        }
    }
}

impl ChainSource for ChainRun<'_> {
    fn open(&self, index: usize) -> io::Result<Box<dyn Read + Send + '_>> {
        let Some(layer) = self.layers.get(index) else {
            return Err(io::Error::other("no such layer"));
        };
        let inner = self.store.open_layer(layer).inspect_err(|error| self.fault.note(error))?;
        let counts = self.counts.get(index).copied().unwrap_or(false);
        let count = move |bytes: u64| {
            if counts {
                self.total.bytes_read(self.store, bytes);
            }
        };
        Ok(Box::new(Watched { inner, fault: &self.fault, count }))
    }
}

impl ChainObserver for ChainRun<'_> {
    fn finished(
        &self,
        index: usize,
        layer: FinishedLayer,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let (Some(source), Some(key), Some(diff_id)) =
            (self.layers.get(index), self.keys.get(index), self.diff_ids.get(index))
        else {
            return Err("no such layer".into());
        };
        let target = TargetLayer { digest: layer.digest.clone(), size: layer.size };
        let converted = ConvertedLayer { layer: target.clone(), diff_id: diff_id.clone() };
        self.store.store_layer(key, &converted, layer.path())?;
        self.store.log(format!(
            "Layer {}/{} {}: {} bytes became {} bytes, {}",
            index + 1,
            self.layers.len(),
            source.digest,
            source.size,
            target.size,
            target.digest
        ));
        self.total.layer_done(self.store, 0);
        if let Ok(mut made) = self.made.lock()
            && let Some(slot) = made.get_mut(index)
        {
            *slot = Some(target);
        }
        Ok(())
    }
}
