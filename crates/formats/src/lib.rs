//! Accelerated image formats as pure synchronous byte work: gzip, zstd, tar, ext4, OverlayBD.
