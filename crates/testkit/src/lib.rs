//! What the tests of every crate share: PostgreSQL and S3 servers, a real berth process, upstream
//! registries, container engines and images made in memory.
//!
//! Owns fixtures only. Must never be a dependency of the product, and must not imitate a part of the
//! product: whatever a test talks to is the real thing.
//!
//! The outer world (PostgreSQL, MinIO, Python packages, the `berth` binary) is prepared by
//! `cargo xtask test` and handed over in `BERTH_TEST_…` variables; a fixture whose variable is
//! missing panics and says so, it never skips.
//!
//! Entry points: [`postgres::fresh_database`], [`s3::fresh_bucket`], [`server::TestServer`],
//! [`upload::Upload`], [`upstream::DockerRegistry`], [`engine`], [`image`], [`process::run`].

pub mod api;
pub mod engine;
mod environment;
pub mod image;
pub mod mount;
pub mod postgres;
pub mod process;
pub mod python;
pub mod registry;
pub mod s3;
pub mod server;
pub mod upload;
pub mod upstream;

pub use environment::required_path;
