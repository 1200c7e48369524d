//! The file system across layers.

use super::error::Ext4Error;
use super::placement::Placement;
use crate::layer::LayerEntries;

/// Size of the virtual disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes, a multiple of 4096; 64 GiB unless the image is larger.
    pub virtual_size: u64,
}

impl Default for Geometry {
    fn default() -> Self {
        Self { virtual_size: 64 << 30 }
    }
}

/// The ext4 file system that a chain of layers makes.
pub struct Image {}

impl Image {
    /// An empty file system; nothing is written before the first layer.
    pub fn new(_geometry: Geometry) -> Result<Self, Ext4Error> {
        Ok(Self {})
    }

    /// Puts one layer on top. After an error the image must be dropped.
    pub fn apply(&mut self, _layer: &LayerEntries) -> Result<Placement, Ext4Error> {
        Ok(Placement::default())
    }
}
