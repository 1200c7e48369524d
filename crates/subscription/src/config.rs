//! What an operator may set.

use std::collections::BTreeMap;
use std::time::Duration;

use berth_oci::client::{AllowedRange, Bounds, RetryPolicy};
use berth_types::Secret;

/// Settings of subscriptions and their upstreams (`[upstream]` and `[subscription]`).
#[derive(Debug, Clone)]
pub struct SubscriptionConfig {
    /// Private and loopback ranges that may be contacted; plain HTTP goes to these alone.
    pub allow: Vec<AllowedRange>,
    /// The instance of the operator's own account; `None`: every instance is.
    pub home_instance: Option<String>,
    /// By provider name (`DOCKER_HUB`, `QUAY`, `GCR`, `GHCR`) or, for CUSTOM sources, by domain as
    /// a rule names it.
    pub providers: BTreeMap<String, ProviderConfig>,
    /// Time between two periodic runs of a rule.
    pub interval: Duration,
    /// Runs at a time, in one process.
    pub workers: usize,
    /// Tags of one run that are copied at the same time.
    pub tags_at_once: usize,
    /// Blobs of one run that are downloaded at the same time.
    pub blobs_at_once: usize,
    /// How often a run is tried when faults are transient or its worker dies.
    pub max_attempts: i64,
    /// How long a run waits at most for an upstream that names the time of the next request.
    pub longest_pause: Duration,
    /// How single requests to upstreams are repeated.
    pub retry: RetryPolicy,
    /// What one upstream may cost.
    pub bounds: Bounds,
    pub limits: SubscriptionLimits,
}

/// How one upstream is reached.
#[derive(Debug, Clone, Default)]
pub struct ProviderConfig {
    /// `https://host[:port]` or `http://host[:port]` in place of the provider's own.
    pub endpoint: Option<String>,
    /// PEM certificates that are trusted beside the system's.
    pub ca: Option<Vec<u8>>,
    /// `http://host:port` of a proxy.
    pub proxy: Option<String>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    /// Further hosts that may be the upstream's token server.
    pub realms: Vec<String>,
    /// Whose rules user name and password serve: `*`, `NAMESPACE` or `NAMESPACE/REPOSITORY` of the
    /// target in the home instance, or the same behind `INSTANCE_ID/`. Empty: `*`.
    pub credentials_for: Vec<String>,
}

/// Bounds of rules.
#[derive(Debug, Clone)]
pub struct SubscriptionLimits {
    /// Largest `TagCount`.
    pub tag_count: i64,
    /// Most matching tags that may have to be ordered by creation time: each costs requests.
    pub dated_tags: usize,
}

impl Default for SubscriptionConfig {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            home_instance: None,
            providers: BTreeMap::new(),
            interval: Duration::from_secs(3600),
            workers: 2,
            tags_at_once: 3,
            blobs_at_once: 6,
            max_attempts: 5,
            longest_pause: Duration::from_secs(24 * 3600),
            retry: RetryPolicy::default(),
            bounds: Bounds::default(),
            limits: SubscriptionLimits::default(),
        }
    }
}

impl Default for SubscriptionLimits {
    fn default() -> Self {
        Self { tag_count: 100, dated_tags: 2000 }
    }
}
