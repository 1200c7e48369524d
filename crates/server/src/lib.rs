//! The server: configuration, assembly of the parts by role, and the way requests come in.
//!
//! Owns `berth.toml`, the accept loop, TLS, request ids, logs, metrics, health and the order of start
//! and shutdown. Must not answer requests of a protocol itself: the routers do.
//!
//! Entry points: [`Config`], [`Server::start`], [`RunningServer`], [`telemetry::init`].

mod assemble;
pub mod config;
mod credentials;
mod error;
mod health;
mod limits;
mod listener;
mod metrics;
mod observe;
mod sendfile;
mod server;
mod tasks;
pub mod telemetry;
mod tls;

pub use assemble::{open_maintenance, open_scrub};
pub use berth_metadata::Access;
pub use config::{Config, ConfigError, Layers, Role};
pub use credentials::FILE_NAME as CREDENTIALS_FILE;
pub use error::ServerError;
pub use server::{RunningServer, Server};
