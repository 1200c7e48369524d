//! ext4 as an in-memory model: layers go in, the blocks that each of them touches come out.
//!
//! The on-disk format follows the kernel's `Documentation/filesystems/ext4`. Only metadata is
//! kept in memory; file content never passes through here, only the places where it lies.

mod error;
mod image;
mod placement;
pub mod reader;

pub use error::Ext4Error;
pub use image::{Geometry, Image};
pub use placement::{BLOCK_SIZE, Block, DataExtent, Placement, SECTOR_SIZE, SectorRange};
