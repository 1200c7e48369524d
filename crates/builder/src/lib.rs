//! Artifact building: from an ordinary image an accelerated one, as a task that can be queried,
//! followed, prioritised and cancelled.
//!
//! Owns build rules, build tasks, the plan of a build, the conversion of a chain of layers and
//! the target image. Must not know HTTP, nor the bytes of a format (those are in
//! `berth-formats`).
//!
//! Entry points: [`Builder`] for the server, [`image::convert_image`] for the
//! command line, which run the same code without a server.

pub mod accelerated;
mod artifact_build_rule;
mod artifact_build_task;
mod builder;
pub mod chain;
mod config;
mod error;
mod handler;
pub mod image;
mod parameters;
pub mod plan;
mod scratch;
mod source;
mod store;
pub mod target;
mod trigger;
mod unavailable;

pub use artifact_build_rule::{ARTIFACT_TYPE, BuildRule, NewRule, RuleKey, SCOPE_REPOSITORY};
pub use artifact_build_task::{ArtifactView, BuildTaskView, NewBuildTask, TaskFilter};
pub use builder::Builder;
pub use config::BuildConfig;
pub use error::{BuildError, BuildErrorKind};
pub use parameters::{BuildType, Parameters};
pub use scratch::Scratch;
