//! Accelerated image formats as pure synchronous byte work: compression, tar, the merged tree,
//! ext4, OverlayBD.
//!
//! Owns every byte layout that Berth reads from layers or writes into accelerated images. Must not
//! touch the network, a database or an async runtime; everything here is driven by the caller's
//! readers, files and cancel checks.
//!
//! Entry points: [`compression::decoder`] and [`tar::TarReader`] read a layer,
//! [`tree::Tree`] merges layers, [`ext4::Image`] places them on a virtual disk, and
//! [`overlaybd`] turns the result into layer blobs and reads them back.

pub mod compression;
pub mod ext4;
mod fields;
pub mod inspect;
pub mod layer;
pub mod overlaybd;
pub mod read_at;
pub mod tar;
pub mod tree;
mod unpack;
pub mod verify;

pub use read_at::ReadAt;
