//! Images made in memory: layers entry by entry, compressed in any way, as OCI layout folders.

mod archive;
mod compress;
pub mod hazards;
mod layout;

pub use archive::{Archive, Entry, Kind};
pub use compress::{Compression, compress, gunzip};
pub use layout::{Descriptor, Image, Layer, Layout, MediaTypes};
