//! ext4 as an in-memory model: layers go in, the blocks that each of them touches come out.
//!
//! The on-disk format follows the kernel's `Documentation/filesystems/ext4`. Only metadata are
//! kept in memory; file content never passes through here, only the places where it lies. Groups
//! that no file touches cost nothing: `gdt_csum` allows bitmaps and inode tables that were never
//! written. Kernels from 3.10 on mount the result.

mod acl;
mod allocator;
mod attributes;
mod checksum;
mod content;
mod directory;
mod error;
mod extents;
mod files;
mod geometry;
mod groups;
mod image;
mod index;
mod inode;
mod name_hash;
mod placement;
mod ranges;
pub mod reader;
mod superblock;
mod work;
mod xattr;

pub use error::Ext4Error;
pub use geometry::Geometry;
pub use image::Image;
pub use placement::{BLOCK_SIZE, Block, DataExtent, Placement, SECTOR_SIZE, SectorRange};
