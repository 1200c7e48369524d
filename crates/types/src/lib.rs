//! Names, digests, ids, times and contexts shared by every crate.
//!
//! Owns the small validated types that every layer passes on. Must not do I/O and must not know
//! a database, a protocol or a format.
//!
//! Entry points: [`Digest`], [`RepoName`], [`Tag`], [`Reference`], [`Arn`], [`id`], [`Clock`], [`Ctx`].

mod arn;
mod clock;
mod ctx;
mod digest;
pub mod id;
mod platform;
mod reference;
mod secret;

pub use arn::Arn;
pub use clock::{Clock, ManualClock, Millis, SystemClock};
pub use ctx::{Ctx, Identity, Principal};
pub use digest::{Algorithm, Digest, DigestError, Hasher, HasherState};
pub use platform::{Platform, PlatformError};
pub use reference::{NameError, Reference, RepoName, Tag};
pub use secret::Secret;
