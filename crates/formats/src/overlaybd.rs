//! OverlayBD: block-device image layers (LSMT) in a seekable compressed file (ZFile), wrapped in
//! a tar so that they travel as ordinary image layers.
//!
//! Format description: `containerd/overlaybd`, on-disk structures of `src/overlaybd/lsmt` and
//! `src/overlaybd/zfile`. All integers are little-endian; all positions of the virtual device are
//! sectors of 512 bytes.
//!
//! Writing one layer: [`ingest()`] (one streaming pass over the source tar) → [`place`] (in layer
//! order, milliseconds) → [`finish`]. Reading: [`Blob`] for one layer, [`LayerStack`] for the
//! device that a chain of layers makes. [`convert`] drives a whole chain.

mod blob;
pub(crate) mod blocks;
mod cancel;
pub mod convert;
mod cutter;
mod error;
mod finish;
mod ingest;
mod layer;
mod lru;
pub mod lsmt;
mod place;
mod readahead;
pub(crate) mod source;
mod spool;
mod stack;
pub mod tarwrap;
mod uuid;
pub mod zfile;

pub use blob::{Blob, Payload, Window, open_blob};
pub use cancel::Cancel;
pub use error::{OverlayError, OverlayErrorKind};
pub use finish::finish;
pub use ingest::{ingest, skim};
pub use layer::{Amounts, FinishedLayer, IngestedLayer, Limits, Options, PlacedLayer, ReadLayer};
pub use place::{place, place_read};
pub use readahead::Readahead;
pub use source::Source;
pub use spool::Spool;
pub use stack::LayerStack;
pub use uuid::{Lineage, chain_ids, chain_uuid};
pub use zfile::Algorithm;

/// Bytes of a sector, the unit of the virtual device.
pub const SECTOR: u64 = 512;

/// Bytes of a file-system block.
pub const BLOCK: u64 = 4096;
