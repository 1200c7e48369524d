//! Reads any ext4 file system back: walk, metadata, content, attributes.
