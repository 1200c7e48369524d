//! The configuration: defaults, under `berth.toml`, under `BERTH_…` variables, under flags.
//!
//! Every layer is a table of the same keys ([`keys`]); they are laid over each other and read once.

mod gc;
mod history;
mod keys;
mod layers;
mod limits;
mod path;
mod units;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_subscription::AllowedRange;
use berth_types::Secret;
use serde::Deserialize;

pub use gc::GcSection;
pub use history::HistorySection;
pub use keys::{KEYS, Key, Kind, environment_name};
pub use layers::{ConfigError, Layers};
pub use limits::LimitsSection;
pub use units::{parse_duration, parse_size};

/// Everything that `berth serve` can be told.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    pub server: ServerSection,
    pub database: DatabaseSection,
    pub storage: StorageSection,
    pub upstream: UpstreamSection,
    pub build: BuildSection,
    pub subscription: SubscriptionSection,
    pub gc: GcSection,
    pub scrub: ScrubSection,
    pub maintenance: MaintenanceSection,
    pub history: HistorySection,
    pub limits: LimitsSection,
    /// The root key pair, from `BERTH_ROOT_ACCESS_KEY_ID` and `BERTH_ROOT_ACCESS_KEY_SECRET` only.
    #[serde(skip)]
    pub root_key: Option<RootKey>,
}

/// A root key pair given by the operator.
#[derive(Debug, Clone)]
pub struct RootKey {
    pub access_key_id: String,
    pub access_key_secret: Secret,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything in one process.
    #[default]
    All,
    /// The control plane.
    Api,
    /// The data plane.
    Data,
    /// Tasks: builds and subscriptions.
    Worker,
}

impl Role {
    pub fn serves_api(self) -> bool {
        matches!(self, Self::All | Self::Api)
    }

    pub fn serves_data(self) -> bool {
        matches!(self, Self::All | Self::Data)
    }

    pub fn runs_tasks(self) -> bool {
        matches!(self, Self::All | Self::Worker)
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    Text,
    Json,
}

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct ServerSection {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// Serve TLS with a certificate of an authority of Berth's own, kept in the data directory.
    pub tls_own_ca: bool,
    /// What that certificate is for besides this machine's own names.
    pub tls_names: Vec<String>,
    pub role: Role,
    pub region: String,
    pub log_format: LogFormat,
    /// A `tracing` filter, such as `info` or `berth_registry=debug,info`.
    pub log_level: String,
    /// Believe `X-Forwarded-Proto` and `X-Forwarded-Host`.
    pub trust_proxy: bool,
    /// The file of the key that encrypts secrets at rest; processes that share a database share it.
    pub master_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "units::duration")]
    pub shutdown_timeout: Duration,
    /// Answer `/metrics` at this address alone, by plain HTTP; unset: beside everything else.
    pub metrics_listen: Option<SocketAddr>,
    /// What whoever reads the metrics sends as bearer token; unset: nothing.
    pub metrics_token: Option<Secret>,
}

impl Default for ServerSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 5000)),
            data_dir: PathBuf::from("berth-data"),
            tls_cert: None,
            tls_key: None,
            tls_own_ca: false,
            tls_names: Vec::new(),
            role: Role::All,
            region: "local".to_owned(),
            log_format: LogFormat::Auto,
            log_level: "info".to_owned(),
            trust_proxy: false,
            master_key_file: None,
            shutdown_timeout: Duration::from_secs(30),
            metrics_listen: None,
            metrics_token: None,
        }
    }
}

/// `[database]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DatabaseSection {
    /// `sqlite:PATH` or `postgres://…`; unset: `berth.db` in the data directory.
    pub url: Option<String>,
}

/// `[storage]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct StorageSection {
    /// `file:DIR` or `s3://bucket/prefix`; unset: `blobs` in the data directory.
    pub url: Option<String>,
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<Secret>,
    pub allow_http: bool,
    pub path_style: bool,
    /// Answer reads of large blobs with the address of the object in the S3 service.
    pub redirect: bool,
    /// The smallest blob that this is done for.
    #[serde(deserialize_with = "units::size")]
    pub redirect_minimum: u64,
}

impl Default for StorageSection {
    fn default() -> Self {
        Self {
            url: None,
            endpoint: None,
            region: None,
            access_key_id: None,
            secret_access_key: None,
            allow_http: false,
            path_style: false,
            redirect: false,
            redirect_minimum: 1 << 20,
        }
    }
}

/// `[upstream]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct UpstreamSection {
    /// Private and loopback ranges that subscriptions may contact, each on one port or on all.
    pub allow: Vec<AllowedRange>,
    pub providers: BTreeMap<String, ProviderSection>,
    /// Bytes of one list of tags, over all its pages.
    #[serde(deserialize_with = "units::size")]
    pub list_size: u64,
    /// Tags of one list.
    pub list_tags: usize,
    /// Pages of one list.
    pub list_pages: usize,
    /// Time in which a list must be there.
    #[serde(deserialize_with = "units::duration")]
    pub list_time: Duration,
    /// Time in which the body of an answer that is no blob must be there.
    #[serde(deserialize_with = "units::duration")]
    pub document_time: Duration,
    /// Bytes per second that a blob must bring, over half a minute of waiting for it. 0: any.
    #[serde(deserialize_with = "units::size")]
    pub minimum_rate: u64,
}

impl Default for UpstreamSection {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            providers: BTreeMap::new(),
            list_size: 16 << 20,
            list_tags: 500_000,
            list_pages: 2_000,
            list_time: Duration::from_secs(600),
            document_time: Duration::from_secs(120),
            minimum_rate: 1 << 10,
        }
    }
}

impl UpstreamSection {
    fn check(&self) -> Result<(), ConfigError> {
        let counts = [self.list_size == 0, self.list_tags == 0, self.list_pages == 0];
        let times = [self.list_time.is_zero(), self.document_time.is_zero()];
        if counts.into_iter().chain(times).any(|is_nothing| is_nothing) {
            let text = "the bounds of [upstream] must be more than nothing";
            return Err(ConfigError::Value(text.to_owned()));
        }
        Ok(())
    }
}

/// `[upstream.providers.NAME]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ProviderSection {
    pub endpoint: Option<String>,
    /// A PEM file of certificate authorities to trust besides the usual ones.
    pub ca: Option<PathBuf>,
    pub proxy: Option<String>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    /// Further hosts that may issue tokens for the provider.
    pub realms: Vec<String>,
    /// Whose rules user name and password serve: `*`, `NAMESPACE` or `NAMESPACE/REPOSITORY`, of
    /// another instance than the first one behind `INSTANCE_ID/`. Empty: all of the first instance.
    pub credentials_for: Vec<String>,
}

/// `[build]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct BuildSection {
    /// Builds that run at the same time; one more while one of them takes long.
    pub workers: usize,
    /// Bytes of memory that all builds together may use: bounds the layers converted at once.
    #[serde(deserialize_with = "units::size")]
    pub memory: u64,
    /// Where layers in work lie; unset: `scratch` in the data directory.
    pub scratch: Option<PathBuf>,
    /// Most bytes that one layer may inflate to.
    #[serde(deserialize_with = "units::size")]
    pub max_layer: u64,
    /// How long a build may go without progress before it ends as failed. 0: for ever.
    #[serde(deserialize_with = "units::duration")]
    pub deadline: Duration,
    /// Most files, folders and links that one layer may bring.
    pub max_layer_entries: u64,
    /// Most bytes that a zstd frame of a layer may look back, which memory must hold.
    #[serde(deserialize_with = "units::size")]
    pub max_zstd_window: u64,
}

impl Default for BuildSection {
    fn default() -> Self {
        Self {
            workers: 2,
            memory: 512 << 20,
            scratch: None,
            max_layer: 64 << 30,
            deadline: Duration::from_secs(3600),
            max_layer_entries: 4_000_000,
            max_zstd_window: 2 << 30,
        }
    }
}

/// `[subscription]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct SubscriptionSection {
    /// Time between two periodic tasks of a rule.
    #[serde(deserialize_with = "units::duration")]
    pub interval: Duration,
    /// Subscription tasks that run at the same time; as many again while sources are slow.
    pub workers: usize,
    /// The largest `TagCount` of a rule.
    pub max_tag_count: u32,
    /// Most matching tags of a run that are ordered by creation time, which costs up to three requests
    /// each.
    pub max_dated_tags: usize,
    /// How long a task may go without progress before it ends as failed. 0: for ever.
    #[serde(deserialize_with = "units::duration")]
    pub deadline: Duration,
    /// How long a task waits at most for an upstream that names the time of the next request.
    #[serde(deserialize_with = "units::duration")]
    pub longest_pause: Duration,
}

impl Default for SubscriptionSection {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(3600),
            workers: 2,
            max_tag_count: 100,
            max_dated_tags: 2000,
            deadline: Duration::from_secs(900),
            longest_pause: Duration::from_secs(24 * 3600),
        }
    }
}

/// `[maintenance]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct MaintenanceSection {
    /// How long a task of maintenance may go without progress before it ends as failed. 0: for ever.
    #[serde(deserialize_with = "units::duration")]
    pub deadline: Duration,
}

impl Default for MaintenanceSection {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(3600) }
    }
}

/// `[scrub]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct ScrubSection {
    /// Time between the beginnings of two passes over all blobs. 0: never by itself.
    #[serde(deserialize_with = "units::duration")]
    pub interval: Duration,
    /// Bytes per second that a pass reads at most. 0: as fast as it can.
    #[serde(deserialize_with = "units::size")]
    pub rate: u64,
}

impl Default for ScrubSection {
    fn default() -> Self {
        Self { interval: Duration::from_secs(7 * 24 * 3600), rate: 64 << 20 }
    }
}

impl Config {
    /// Reads the layers into one configuration.
    ///
    /// # Errors
    /// [`ConfigError`] names the layer, the key and what is wrong with it.
    pub fn load(layers: &Layers) -> Result<Self, ConfigError> {
        let mut config: Self = layers.merged()?.try_into().map_err(|error: toml::de::Error| {
            ConfigError::Value(error.to_string().trim().replace('\n', " "))
        })?;
        config.root_key = layers.root_key()?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let server = &self.server;
        if server.tls_cert.is_some() != server.tls_key.is_some() {
            return Err(ConfigError::Value(
                "server.tls_cert and server.tls_key must be set together".to_owned(),
            ));
        }
        if server.tls_own_ca && server.tls_cert.is_some() {
            return Err(ConfigError::Value(
                "server.tls_own_ca makes a certificate: it cannot be set beside server.tls_cert"
                    .to_owned(),
            ));
        }
        if !server.tls_own_ca && !server.tls_names.is_empty() {
            return Err(ConfigError::Value(
                "server.tls_names are those of server.tls_own_ca, which is not set".to_owned(),
            ));
        }
        if server.metrics_token.as_ref().is_some_and(|token| token.expose().len() < 16) {
            return Err(ConfigError::Value(
                "server.metrics_token must have at least 16 characters".to_owned(),
            ));
        }
        for (name, value) in [
            ("build.workers", self.build.workers),
            ("subscription.workers", self.subscription.workers),
        ] {
            if value == 0 {
                return Err(ConfigError::Value(format!("{name} must be at least 1")));
            }
        }
        self.limits.check()?;
        self.gc.check()?;
        self.upstream.check()?;
        let region = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if server.region.is_empty() || !server.region.bytes().all(region) {
            return Err(ConfigError::Value(format!(
                "server.region `{}` must be letters, digits and dashes",
                server.region
            )));
        }
        Ok(())
    }

    /// The database to open.
    pub fn database_url(&self) -> String {
        match &self.database.url {
            Some(url) => url.clone(),
            None => format!("sqlite:{}", self.in_data_dir("berth.db").display()),
        }
    }

    /// The blob store to open.
    pub fn storage_url(&self) -> String {
        match &self.storage.url {
            Some(url) => url.clone(),
            None => format!("file:{}", self.in_data_dir("blobs").display()),
        }
    }

    /// Where builds put layers in work.
    pub fn scratch_dir(&self) -> PathBuf {
        self.build.scratch.clone().unwrap_or_else(|| self.in_data_dir("scratch"))
    }

    /// The file of the master key.
    pub fn master_key_file(&self) -> PathBuf {
        self.server.master_key_file.clone().unwrap_or_else(|| self.in_data_dir("master.key"))
    }

    /// A path below the data directory.
    pub fn in_data_dir(&self, name: impl AsRef<Path>) -> PathBuf {
        self.server.data_dir.join(name)
    }
}

#[cfg(test)]
mod tests;
