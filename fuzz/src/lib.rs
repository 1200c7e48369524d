//! What the fuzz targets do with their bytes: one function a target.
//!
//! The tests of the crates run the same functions over `seeds/` and `found/`, so that an input that
//! once did harm is read again by every `cargo test`.

pub mod documents;
pub mod formats;
pub mod names;
