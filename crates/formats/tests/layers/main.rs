//! Layers on their way from archive to disk: what the tar reader, the merged tree and the ext4
//! writer make of them, judged by `e2fsck`, the kernel and models that share no code with them.

mod archive;
mod disk;
mod ext4_basics;
mod ext4_large;
mod ext4_random;
mod ext4_xattrs;
mod hazards;
mod layers;
mod snapshot;
mod tar_reading;
mod tree_rules;
