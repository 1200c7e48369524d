//! The virtual device that a chain of layers makes.

use std::io;

use super::blob::{Blob, open_blob};
use super::lsmt::Mapping;
use super::{OverlayError, SECTOR};
use crate::read_at::ReadAt;

/// More runs than this over all layers are not opened (about 1 GiB of memory).
const MAX_RUNS: usize = 32_000_000;

/// Open layers, seen from above: each sector reads from the topmost layer that has it.
pub struct LayerStack<R> {
    layers: Vec<Blob<R>>,
    runs: Vec<Run>,
    virtual_size: u64,
}

/// A run of the device in sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    lba: u64,
    sectors: u64,
    /// Position in the layer's blob.
    location: u64,
    /// Index of the layer; `None` for zeros.
    layer: Option<u32>,
}

impl Run {
    fn end(&self) -> u64 {
        self.lba + self.sectors
    }

    /// The part of the run between two sectors.
    fn part(&self, from: u64, to: u64) -> Self {
        let skip = from - self.lba;
        Self { lba: from, sectors: to - from, location: self.location + skip, ..*self }
    }
}

impl<R: ReadAt> LayerStack<R> {
    /// Opens layer blobs, the lowest first.
    ///
    /// # Errors
    /// Those of [`open_blob`]; [`OverlayError::Unsupported`] for index-only layers, whose data
    /// are elsewhere.
    pub fn open(files: Vec<R>) -> Result<Self, OverlayError> {
        let layers = files.into_iter().map(open_blob).collect::<Result<Vec<_>, _>>()?;
        Self::of(layers)
    }

    /// Stacks open layers, the lowest first.
    ///
    /// # Errors
    /// Those of [`LayerStack::open`].
    pub fn of(layers: Vec<Blob<R>>) -> Result<Self, OverlayError> {
        let mut runs = Vec::new();
        for (number, layer) in layers.iter().enumerate().rev() {
            if layer.is_remote() {
                return Err(OverlayError::Unsupported(format!(
                    "layer {number}, which is an index over another file,"
                )));
            }
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            runs = below(&runs, &layer.index, number);
            if runs.len() > MAX_RUNS {
                return Err(OverlayError::Limit(format!("more than {MAX_RUNS} runs")));
            }
        }
        let sizes = layers.iter().rev().map(|layer| layer.trailer.virtual_size);
        let virtual_size = sizes.into_iter().find(|size| *size > 0).unwrap_or_default();
        Ok(Self { layers, runs, virtual_size })
    }

    pub fn layers(&self) -> &[Blob<R>] {
        &self.layers
    }

    /// Bytes of the device that some layer holds data for.
    pub fn mapped_bytes(&self) -> u64 {
        let data = self.runs.iter().filter(|run| run.layer.is_some());
        data.map(|run| run.sectors * SECTOR).sum()
    }

    /// Fills `buffer`, which begins inside of `run`, from it; both in bytes of the device.
    fn read_run(&self, run: &Run, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let Some(layer) = run.layer else { return Ok(()) };
        let missing = || io::Error::other("a run names a layer that is not there");
        let index = usize::try_from(layer).map_err(io::Error::other)?;
        let layer = self.layers.get(index).ok_or_else(missing)?;
        layer.blob.read_at(buffer, run.location * SECTOR + (offset - run.lba * SECTOR))
    }
}

impl<R: ReadAt> ReadAt for LayerStack<R> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        let end =
            end.filter(|end| *end <= self.virtual_size).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.fill(0);
        let first = self.runs.partition_point(|run| run.end() * SECTOR <= offset);
        for run in self.runs.iter().skip(first) {
            let from = (run.lba * SECTOR).max(offset);
            let to = (run.end() * SECTOR).min(end);
            if from >= to {
                break;
            }
            let range = usize::try_from(from - offset).map_err(io::Error::other)?
                ..usize::try_from(to - offset).map_err(io::Error::other)?;
            self.read_run(run, buffer.get_mut(range).unwrap_or_default(), from)?;
        }
        Ok(())
    }

    fn len(&self) -> u64 {
        self.virtual_size
    }
}

/// `upper` with the gaps filled from a layer below.
fn below(upper: &[Run], lower: &[Mapping], layer: u32) -> Vec<Run> {
    let mut out: Vec<Run> = Vec::with_capacity(upper.len() + lower.len());
    let mut covers = upper.iter().peekable();
    for mapping in lower {
        let run = Run {
            lba: mapping.lba,
            sectors: u64::from(mapping.sectors),
            location: mapping.location,
            layer: (!mapping.zeroed).then_some(layer),
        };
        let mut from = run.lba;
        while from < run.end() {
            let Some(cover) = covers.peek().filter(|cover| cover.lba < run.end()) else {
                push(&mut out, run.part(from, run.end()));
                break;
            };
            if cover.lba > from {
                push(&mut out, run.part(from, cover.lba));
            }
            from = from.max(cover.end());
            if cover.end() > run.end() {
                break;
            }
            push(&mut out, **cover);
            covers.next();
        }
    }
    for cover in covers {
        push(&mut out, *cover);
    }
    out
}

/// Appends, joined to the last run if it continues it.
fn push(out: &mut Vec<Run>, run: Run) {
    match out.last_mut() {
        Some(last)
            if last.end() == run.lba
                && last.layer == run.layer
                && (run.layer.is_none() || last.location + last.sectors == run.location) =>
        {
            last.sectors += run.sectors;
        }
        _ => out.push(run),
    }
}

#[cfg(test)]
mod tests {
    use super::{Run, below};
    use crate::overlaybd::lsmt::Mapping;

    fn lower(lba: u64, sectors: u32) -> Mapping {
        Mapping { lba, sectors, location: 1000 + lba, zeroed: false, tag: 0 }
    }

    /// Every sector of the merged runs, as (layer, location).
    fn sectors(runs: &[Run], end: u64) -> Vec<Option<(u32, u64)>> {
        let mut out = vec![None; usize::try_from(end).expect("small")];
        let mut free_from = 0;
        for run in runs {
            assert!(run.lba >= free_from, "{runs:?}");
            free_from = run.end();
            for at in run.lba..run.end() {
                let at_index = usize::try_from(at).expect("small");
                out[at_index] = run.layer.map(|layer| (layer, run.location + at - run.lba));
            }
        }
        out
    }

    #[test]
    fn upper_layers_win_at_every_sector() {
        // All pairs of two-run layers on a device of twelve sectors.
        let shapes: Vec<Vec<Mapping>> = (0..6_u64)
            .flat_map(|first| (1..4_u32).map(move |len| vec![lower(first, len), lower(8, 3)]))
            .filter(|shape| shape[0].end() <= 8)
            .collect();
        for top in &shapes {
            for bottom in &shapes {
                let upper = below(&[], top, 1);
                let merged = sectors(&below(&upper, bottom, 0), 12);
                let expected: Vec<_> = (0..12)
                    .map(|at| {
                        let has = |shape: &Vec<Mapping>| {
                            shape.iter().any(|run| run.lba <= at && at < run.end())
                        };
                        let layer = if has(top) { Some(1) } else { has(bottom).then_some(0) };
                        layer.map(|layer| (layer, 1000 + at))
                    })
                    .collect();
                assert_eq!(merged, expected, "{top:?} over {bottom:?}");
            }
        }
    }
}
