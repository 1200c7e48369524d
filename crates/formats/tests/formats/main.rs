//! Every format against judges that share no code with it: what the tar reader, the merged tree and the ext4
//! writer make of layers, by `e2fsck`, the kernel and models; OverlayBD blobs, by golden files and damage.

mod archive;
mod disk;
mod ext4_basics;
mod ext4_large;
mod ext4_random;
mod ext4_reader;
mod ext4_xattrs;
mod fuzz_inputs;
mod hazards;
mod layers;
mod overlaybd_convert;
mod overlaybd_golden;
mod overlaybd_hostile;
mod snapshot;
mod tar_reading;
mod tree_rules;
