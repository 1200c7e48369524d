//! What the end-to-end stories share: steps that a user takes, and judges that are not the product.
//!
//! Owns nothing that a story asserts. Must not depend on the product's crates: the stories see Berth
//! as its users do, through its command, its protocols and the files that it makes.
//!
//! Entry points: [`build`], [`subscription`], [`maintenance`], [`skopeo`], [`guide`], [`judge`],
//! [`source`].

pub mod build;
pub mod guide;
pub mod judge;
pub mod maintenance;
pub mod places;
pub mod sdk;
pub mod skopeo;
pub mod source;
pub mod subscription;

use std::path::{Path, PathBuf};

/// The folder of the Python programs that the stories run.
#[must_use]
pub fn tool(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/tools").join(name)
}
