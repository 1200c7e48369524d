//! Blobs as they are read.

mod redirect;
