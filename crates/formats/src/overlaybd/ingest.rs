//! The one pass over a source layer: decompress, hash, walk the tar, compress file data.

use std::io::{self, Read};

use super::cutter::{Cutter, Sink};
use super::layer::{Amounts, IngestedLayer, Options, ReadLayer};
use super::lsmt::{Header, Role};
use super::source::{Source, SourceRead, read_source};
use super::uuid::Lineage;
use super::zfile::ZFileWriter;
use super::{Cancel, OverlayError, Spool, tarwrap};

/// Reads a source layer into `spool`.
///
/// The names of the layer stand at the front of the blob, so they must be known before: the image
/// configuration gives the diff-ids, and `expected` is checked at the end. `compression` `None`
/// tells it by the first bytes. `reader` is read to its end, so that a checking reader of the
/// caller sees every byte.
///
/// # Errors
/// [`OverlayError::Tar`] names a broken entry, [`OverlayError::Damaged`] is broken compression,
/// [`OverlayError::Source`] hands back the error of `reader`, [`OverlayError::DiffId`],
/// [`OverlayError::Limit`], [`OverlayError::Io`] when the spool fails,
/// [`OverlayError::Canceled`].
pub fn ingest(
    source: Source<impl Read + Send>,
    lineage: Lineage,
    options: &Options,
    mut spool: Spool,
    cancel: &Cancel,
) -> Result<IngestedLayer, OverlayError> {
    io::Write::write_all(&mut spool, &tarwrap::placeholder())?;
    let mut output = ZFileWriter::new(spool, options.zfile())?;
    let header = Header {
        role: Role::Header,
        index_offset: 0,
        index_count: 0,
        virtual_size: options.virtual_size,
        uuid: lineage.uuid.clone(),
        parent: lineage.parent.clone(),
        user_tag: String::new(),
    };
    output.append(&header.encode())?;
    let mut cutter = Cutter::new(Sink::Output(Box::new(output)));
    let read = read_layer(source, &mut cutter, cancel)?;
    match cutter.into_sink() {
        Sink::Output(output) => {
            Ok(IngestedLayer { read, output: *output, lineage, virtual_size: options.virtual_size })
        }
        Sink::Nowhere => Err(OverlayError::Unsupported("a layer without output".to_owned())),
    }
}

/// Reads a source layer for its entries only: what a layer above needs to be placed.
///
/// # Errors
/// Those of [`ingest`].
pub fn skim(source: Source<impl Read + Send>, cancel: &Cancel) -> Result<ReadLayer, OverlayError> {
    read_layer(source, &mut Cutter::new(Sink::Nowhere), cancel)
}

fn read_layer(
    source: Source<impl Read + Send>,
    cutter: &mut Cutter,
    cancel: &Cancel,
) -> Result<ReadLayer, OverlayError> {
    let SourceRead { entries, diff_id, amounts } = read_source(source, cutter, cancel)?;
    let amounts = Amounts { data: cutter.data(), ..amounts };
    Ok(ReadLayer { entries, diff_id, amounts, dense_from: cutter.dense_from() })
}
