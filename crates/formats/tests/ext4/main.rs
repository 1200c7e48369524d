//! The ext4 writer against `e2fsck` and the kernel, on chains of layers.

mod basics;
mod disk;
mod layers;
