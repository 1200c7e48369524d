//! Converts a chain of layers: read in parallel, placed in order, finished in parallel.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use berth_types::Digest;
use crossbeam_channel::{Receiver, Sender, unbounded};

use super::layer::{FinishedLayer, IngestedLayer, Limits, Options, PlacedLayer, ReadLayer};
use super::uuid::{Lineage, chain_ids};
use super::{Cancel, OverlayError, OverlayErrorKind, Source, Spool};
use super::{finish, ingest, place, place_read, skim};
use crate::compression::Compression;
use crate::ext4::{Geometry, Image};

/// A layer of the chain.
#[derive(Debug, Clone)]
pub struct LayerJob {
    /// From the image configuration; checked.
    pub diff_id: Digest,
    /// `None`: told by the first bytes.
    pub compression: Option<Compression>,
    /// The converted blob exists: read only as far as layers above need it.
    pub cached: bool,
}

/// Where the source layers come from.
pub trait ChainSource: Sync {
    /// The compressed bytes of a layer, 0 the lowest. Called from several threads, at most once
    /// for each layer, never for cached layers that no other layer needs.
    ///
    /// # Errors
    /// Anything; comes back as [`ChainErrorKind::Source`], itself the error's source.
    fn open(&self, index: usize) -> io::Result<Box<dyn Read + Send + '_>>;
}

/// Whom the conversion tells. Called from several threads.
pub trait ChainObserver: Sync {
    /// A layer blob is done; never for cached layers.
    ///
    /// # Errors
    /// Anything; ends the conversion as [`ChainErrorKind::Observer`].
    fn finished(
        &self,
        index: usize,
        layer: FinishedLayer,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// Why a conversion ended.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    #[error("layer {layer}: {source}")]
    Layer { layer: usize, source: OverlayError },
    /// The virtual disk cannot be made.
    #[error("{0}")]
    Disk(OverlayError),
    #[error("layer {layer}: {source}")]
    Observer { layer: usize, source: Box<dyn std::error::Error + Send + Sync> },
    /// A defect of this program; the panic was printed.
    #[error("layer {layer}: the conversion failed inside")]
    Internal { layer: usize },
}

/// Groups of [`ChainError`] that callers treat alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainErrorKind {
    Canceled,
    /// The reader of a source layer failed.
    Source,
    /// A layer is broken; trying again gives the same.
    Broken,
    /// The image needs a larger virtual disk.
    Full,
    /// The scratch folder failed.
    Spool,
    Observer,
    Internal,
}

impl ChainError {
    pub fn kind(&self) -> ChainErrorKind {
        match self {
            Self::Layer { source, .. } | Self::Disk(source) => match source.kind() {
                OverlayErrorKind::Invalid => ChainErrorKind::Broken,
                OverlayErrorKind::Full => ChainErrorKind::Full,
                OverlayErrorKind::Source => ChainErrorKind::Source,
                OverlayErrorKind::Io => ChainErrorKind::Spool,
                OverlayErrorKind::Canceled => ChainErrorKind::Canceled,
            },
            Self::Observer { .. } => ChainErrorKind::Observer,
            Self::Internal { .. } => ChainErrorKind::Internal,
        }
    }

    /// The layer at fault, 0 the lowest.
    pub fn layer(&self) -> Option<usize> {
        match self {
            Self::Layer { layer, .. } | Self::Observer { layer, .. } | Self::Internal { layer } => {
                Some(*layer)
            }
            Self::Disk(_) => None,
        }
    }
}

/// Everything that a conversion is told.
pub struct Conversion<'a> {
    pub source: &'a dyn ChainSource,
    pub observer: &'a dyn ChainObserver,
    pub options: Options,
    pub limits: Limits,
    /// Folder for the growing blobs.
    pub scratch: &'a Path,
    /// Layers that are read or finished at the same time; at least 1.
    pub threads: usize,
    pub cancel: &'a Cancel,
}

/// What workers tell the coordinator.
enum Report {
    Ingested(usize, Box<IngestedLayer>),
    Skimmed(usize, Box<ReadLayer>),
    Finished,
    Failed(ChainError),
}

struct Shared<'a> {
    conversion: &'a Conversion<'a>,
    jobs: &'a [LayerJob],
    chain: Vec<Digest>,
    next: AtomicUsize,
    to_finish: Receiver<(usize, PlacedLayer)>,
    reports: Sender<Report>,
    stop: Cancel,
}

/// Converts the layers of a chain, the lowest first in `jobs`.
///
/// # Errors
/// The first failure, after every thread has ended and every scratch file is gone.
pub fn convert_chain(jobs: &[LayerJob], conversion: &Conversion<'_>) -> Result<(), ChainError> {
    let Some(last) = jobs.iter().rposition(|job| !job.cached) else { return Ok(()) };
    let jobs = jobs.get(..=last).unwrap_or(jobs);
    let diff_ids: Vec<Digest> = jobs.iter().map(|job| job.diff_id.clone()).collect();
    let (finish_sender, to_finish) = unbounded();
    let (reports, inbox) = unbounded();
    let shared = Shared {
        conversion,
        jobs,
        chain: chain_ids(&diff_ids),
        next: AtomicUsize::new(0),
        to_finish,
        reports,
        stop: conversion.cancel.child(),
    };
    thread::scope(|scope| {
        for _ in 0..conversion.threads.clamp(1, jobs.len()) {
            scope.spawn(|| shared.work());
        }
        let result = coordinate(&shared, &inbox, finish_sender);
        if result.is_err() {
            shared.stop.cancel();
        }
        result
    })
}

/// Places layers in order as they come; gives up at the first failure. Dropping `finish_sender`
/// is what lets the workers end.
fn coordinate(
    shared: &Shared<'_>,
    inbox: &Receiver<Report>,
    finish_sender: Sender<(usize, PlacedLayer)>,
) -> Result<(), ChainError> {
    let virtual_size = shared.conversion.options.virtual_size;
    let mut image = Image::new(Geometry { virtual_size })
        .map_err(|error| ChainError::Disk(OverlayError::Ext4(error)))?;
    let mut waiting: BTreeMap<usize, Report> = BTreeMap::new();
    let mut next = 0;
    let mut unfinished = shared.jobs.iter().filter(|job| !job.cached).count();
    let mut finish_sender = Some(finish_sender);
    while unfinished > 0 {
        let failed = |layer, source| ChainError::Layer { layer, source };
        match inbox.recv() {
            Err(_) => return Err(ChainError::Internal { layer: next }),
            Ok(Report::Failed(error)) => return Err(error),
            Ok(Report::Finished) => unfinished -= 1,
            Ok(report @ (Report::Ingested(index, _) | Report::Skimmed(index, _))) => {
                waiting.insert(index, report);
            }
        }
        while let Some(report) = waiting.remove(&next) {
            shared.stop.check().map_err(|error| failed(next, error))?;
            match report {
                Report::Ingested(_, layer) => {
                    let placed = place(&mut image, *layer).map_err(|error| failed(next, error))?;
                    if let Some(sender) = &finish_sender {
                        sender
                            .send((next, placed))
                            .map_err(|_| ChainError::Internal { layer: next })?;
                    }
                }
                Report::Skimmed(_, layer) => {
                    place_read(&mut image, &layer).map_err(|error| failed(next, error))?;
                }
                Report::Finished | Report::Failed(_) => {}
            }
            next += 1;
        }
        if next == shared.jobs.len() {
            finish_sender = None;
        }
    }
    Ok(())
}

impl Shared<'_> {
    /// Finishes what is placed, else reads the next layer, else waits for something to finish.
    fn work(&self) {
        loop {
            if let Ok((index, layer)) = self.to_finish.try_recv() {
                self.run(index, || self.finish(index, layer));
                continue;
            }
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if let Some(job) = self.jobs.get(index) {
                self.run(index, || self.read(index, job));
                continue;
            }
            match self.to_finish.recv() {
                Ok((index, layer)) => self.run(index, || self.finish(index, layer)),
                Err(_) => return,
            }
        }
    }

    fn run(&self, layer: usize, step: impl FnOnce() -> Result<Report, ChainError>) {
        let result = catch_unwind(AssertUnwindSafe(step));
        let report = match result {
            Ok(Ok(report)) => report,
            Ok(Err(error)) => Report::Failed(error),
            Err(_) => Report::Failed(ChainError::Internal { layer }),
        };
        // The coordinator has gone when another layer failed before.
        let _ = self.reports.send(report);
    }

    fn read(&self, index: usize, job: &LayerJob) -> Result<Report, ChainError> {
        let failed = |source| ChainError::Layer { layer: index, source };
        self.stop.check().map_err(failed)?;
        let open =
            |source| failed(OverlayError::Source { inflated: 0, near: String::new(), source });
        let source = Source {
            reader: self.conversion.source.open(index).map_err(open)?,
            compression: job.compression,
            expected: Some(job.diff_id.clone()),
            limits: self.conversion.limits,
        };
        if job.cached {
            let layer = skim(source, &self.stop).map_err(failed)?;
            return Ok(Report::Skimmed(index, Box::new(layer)));
        }
        let spool = Spool::create(self.conversion.scratch).map_err(|error| failed(error.into()))?;
        let chain_id = self.chain.get(index).unwrap_or(&job.diff_id);
        let parent = index.checked_sub(1).and_then(|below| self.chain.get(below));
        let lineage = Lineage::of(chain_id, parent);
        let layer =
            ingest(source, lineage, &self.conversion.options, spool, &self.stop).map_err(failed)?;
        Ok(Report::Ingested(index, Box::new(layer)))
    }

    fn finish(&self, layer: usize, placed: PlacedLayer) -> Result<Report, ChainError> {
        let finished =
            finish(placed, &self.stop).map_err(|source| ChainError::Layer { layer, source })?;
        self.conversion
            .observer
            .finished(layer, finished)
            .map_err(|source| ChainError::Observer { layer, source })?;
        Ok(Report::Finished)
    }
}
