//! `[limits]`: what strangers, clients and whole instances may use up.

use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::{ConfigError, units};

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct LimitsSection {
    /// Connections open at the same time; further ones wait to be accepted.
    pub connections: usize,
    /// How many of them one address may hold; further ones are closed. 0: all of them.
    pub address_connections: usize,
    /// How long the head of a request may take, and an idle connection stay open.
    #[serde(deserialize_with = "units::duration")]
    pub header_timeout: Duration,
    /// Bytes of all header fields of a request together.
    #[serde(deserialize_with = "units::size")]
    pub header_size: u64,
    /// Bytes of the address of a request.
    #[serde(deserialize_with = "units::size")]
    pub uri_length: u64,
    /// How long a client may send nothing of a body that it announced. 0: as long as it likes.
    #[serde(deserialize_with = "units::duration")]
    pub body_timeout: Duration,
    /// How long a client may read nothing of an answer. 0: as long as it likes.
    #[serde(deserialize_with = "units::duration")]
    pub write_timeout: Duration,
    /// Bytes per second that bodies and answers must at least move while the server waits for the
    /// client, over one timeout.
    #[serde(deserialize_with = "units::size")]
    pub minimum_rate: u64,
    /// Requests being answered at the same time; further ones get 503. 0: no limit.
    pub requests: usize,
    /// Bytes of one blob. 0: no limit.
    #[serde(deserialize_with = "units::size")]
    pub max_blob: u64,
    /// Requests per second of one access key. 0: no limit.
    pub key_rate: u32,
    /// How many of them may come at once. 0: two seconds' worth.
    pub key_burst: u32,
    /// Requests per second of one address. 0: no limit.
    pub address_rate: u32,
    /// How many of them may come at once. 0: two seconds' worth.
    pub address_burst: u32,
    /// Wrong passwords and signatures per minute of one address for one key. 0: no limit.
    pub failed_logins: u32,
    /// Addresses of proxies before the nearest one, which `X-Forwarded-For` also lists.
    pub proxies: Vec<IpNet>,
    /// Bytes that the repositories of an instance may hold, unless it has a quota of its own. 0: no
    /// limit.
    #[serde(deserialize_with = "units::size")]
    pub instance_storage: u64,
    /// Namespaces of an instance, likewise.
    pub instance_namespaces: u64,
    /// Repositories of an instance, likewise.
    pub instance_repositories: u64,
    /// Memory in which manifests, tags and links are remembered between requests.
    #[serde(deserialize_with = "units::size")]
    pub cache_memory: u64,
    /// Make a private namespace when an image is pushed into one that does not exist.
    pub auto_create_namespace: bool,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            connections: 4096,
            address_connections: 1024,
            header_timeout: Duration::from_secs(60),
            header_size: 32 << 10,
            uri_length: 8 << 10,
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            minimum_rate: 1 << 10,
            requests: 4096,
            max_blob: 256 << 30,
            key_rate: 0,
            key_burst: 0,
            address_rate: 0,
            address_burst: 0,
            failed_logins: 30,
            proxies: Vec::new(),
            instance_storage: 0,
            instance_namespaces: 0,
            instance_repositories: 0,
            cache_memory: 16 << 20,
            auto_create_namespace: true,
        }
    }
}

impl LimitsSection {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |text: &str| Err(ConfigError::Value(text.to_owned()));
        if self.connections == 0 {
            return wrong("limits.connections must be at least 1");
        }
        if self.header_timeout.is_zero() {
            return wrong("limits.header_timeout must be longer than nothing");
        }
        if !(1 << 10..=128 << 10).contains(&self.header_size) {
            return wrong("limits.header_size must be between 1KiB and 128KiB");
        }
        if !(256..=60 << 10).contains(&self.uri_length) {
            return wrong("limits.uri_length must be between 256 bytes and 60KiB");
        }
        Ok(())
    }
}
