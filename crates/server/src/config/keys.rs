//! Every key of the configuration, once: for the file, the environment and the documentation.

/// How the value of a key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Flag,
    Count,
    /// Seconds as a number, or a text with a unit: `500ms`, `30s`, `5m`, `1h`, `1d`.
    Duration,
    /// Bytes as a number, or a text with a unit: `64KiB`, `512MiB`, `2GiB`.
    Size,
    /// A list of texts; in the environment with commas between.
    List,
    /// A text that no file may hold: an environment variable, or a file named by `<key>_file`.
    Secret,
}

/// One key of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `section.key`; a `*` stands for a name that the operator chooses.
    pub path: &'static str,
    pub kind: Kind,
    /// What it is, for people.
    pub about: &'static str,
}

const fn key(path: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { path, kind, about }
}

/// All keys.
pub const KEYS: &[Key] = &[
    key("server.listen", Kind::Text, "address and port to listen on (127.0.0.1:5000)"),
    key("server.data_dir", Kind::Text, "folder of everything that is kept (berth-data)"),
    key("server.tls_cert", Kind::Text, "PEM file of the certificate chain; plain HTTP without"),
    key("server.tls_key", Kind::Text, "PEM file of the private key"),
    key("server.tls_own_ca", Kind::Flag, "TLS by an authority in DATA_DIR/tls (false)"),
    key("server.tls_names", Kind::List, "host names and addresses of that certificate"),
    key("server.role", Kind::Text, "all, api, data or worker (all)"),
    key("server.region", Kind::Text, "region in ids and service names (local)"),
    key("server.log_format", Kind::Text, "auto, text or json (auto)"),
    key("server.log_level", Kind::Text, "log filter (info)"),
    key("server.trust_proxy", Kind::Flag, "believe X-Forwarded-Proto, -Host and -For (false)"),
    key("server.master_key_file", Kind::Text, "key of secrets at rest (DATA_DIR/master.key)"),
    key("server.shutdown_timeout", Kind::Duration, "time for running requests to end (30s)"),
    key("server.metrics_listen", Kind::Text, "address and port for /metrics alone (none)"),
    key("server.metrics_token", Kind::Secret, "bearer token that /metrics asks for (none)"),
    key("database.url", Kind::Text, "sqlite:PATH or postgres://… (DATA_DIR/berth.db)"),
    key("storage.url", Kind::Text, "file:DIR or s3://bucket/prefix (DATA_DIR/blobs)"),
    key("storage.endpoint", Kind::Text, "address of an S3-compatible server"),
    key("storage.region", Kind::Text, "region of the bucket"),
    key("storage.access_key_id", Kind::Text, "access key of the bucket"),
    key("storage.secret_access_key", Kind::Secret, "its secret"),
    key("storage.allow_http", Kind::Flag, "speak plain HTTP to the S3 server (false)"),
    key("storage.redirect", Kind::Flag, "send readers of large blobs to the S3 server (false)"),
    key("storage.redirect_minimum", Kind::Size, "the smallest blob that this is done for (1MiB)"),
    key("storage.path_style", Kind::Flag, "bucket in the path, not in the host name (false)"),
    key("upstream.allow", Kind::List, "private ranges that may be contacted, :PORT behind"),
    key("upstream.list_size", Kind::Size, "bytes of one tag list, over all its pages (16MiB)"),
    key("upstream.list_tags", Kind::Count, "tags of one list (500000)"),
    key("upstream.list_pages", Kind::Count, "pages of one list (2000)"),
    key("upstream.list_time", Kind::Duration, "time in which a list must be there (10m)"),
    key("upstream.document_time", Kind::Duration, "the same of a manifest, token or page (2m)"),
    key("upstream.minimum_rate", Kind::Size, "bytes/s that a blob must bring; 0 any (1KiB)"),
    key("upstream.providers.*.endpoint", Kind::Text, "address of the provider's registry"),
    key("upstream.providers.*.ca", Kind::Text, "PEM file of further certificate authorities"),
    key("upstream.providers.*.proxy", Kind::Text, "HTTP proxy to reach it through"),
    key("upstream.providers.*.username", Kind::Text, "account at the provider"),
    key("upstream.providers.*.password", Kind::Secret, "its password"),
    key("upstream.providers.*.credentials_for", Kind::List, "targets they serve (first instance)"),
    key("upstream.providers.*.realms", Kind::List, "further hosts that may issue its tokens"),
    key("build.workers", Kind::Count, "builds at the same time (2)"),
    key("build.memory", Kind::Size, "memory of all builds together (512MiB)"),
    key("build.scratch", Kind::Text, "folder for layers in work (DATA_DIR/scratch)"),
    key("build.max_layer", Kind::Size, "bytes that a layer may inflate to (64GiB)"),
    key("build.deadline", Kind::Duration, "time a build may make no progress; 0: any (1h)"),
    key("build.max_layer_entries", Kind::Count, "files and folders of a layer (4000000)"),
    key("build.max_zstd_window", Kind::Size, "memory for a layer of zstd --long (2GiB)"),
    key("subscription.interval", Kind::Duration, "time between two periodic tasks (1h)"),
    key("subscription.workers", Kind::Count, "subscription tasks at the same time (2)"),
    key("subscription.max_tag_count", Kind::Count, "the largest TagCount of a rule (100)"),
    key("subscription.max_dated_tags", Kind::Count, "tags ordered by creation time (2000)"),
    key("subscription.deadline", Kind::Duration, "time without progress; 0: any (15m)"),
    key("maintenance.deadline", Kind::Duration, "time without progress; 0: any (1h)"),
    key("subscription.longest_pause", Kind::Duration, "longest wait for a limiting source (24h)"),
    key("gc.interval", Kind::Duration, "time between two collections; 0: on request only (1h)"),
    key("gc.grace", Kind::Duration, "how long what nothing uses stays (24h)"),
    key("gc.layer_cache", Kind::Duration, "how long unused converted layers stay (7d)"),
    key("gc.upload_pause", Kind::Duration, "how long an upload may pause (24h)"),
    key("scrub.interval", Kind::Duration, "time between two passes over all blobs; 0: never (7d)"),
    key("scrub.rate", Kind::Size, "bytes per second that a pass reads; 0: no limit (64MiB)"),
    key("history.interval", Kind::Duration, "time between two clean-ups of tasks; 0: never (1d)"),
    key("history.keep", Kind::Duration, "how long a finished task stays; 0: for ever (90d)"),
    key("history.count", Kind::Count, "tasks of a repository or rule that stay; 0: any (1000)"),
    key("limits.connections", Kind::Count, "open connections (4096)"),
    key("limits.address_connections", Kind::Count, "of these from one address; 0 all (1024)"),
    key("limits.header_timeout", Kind::Duration, "time for a request head, and idle time (60s)"),
    key("limits.header_size", Kind::Size, "bytes of a request's header fields (32KiB)"),
    key("limits.uri_length", Kind::Size, "bytes of a request's address (8KiB)"),
    key("limits.body_timeout", Kind::Duration, "silence within a request's body; 0 any (60s)"),
    key("limits.write_timeout", Kind::Duration, "time an answer is not read; 0 any (60s)"),
    key("limits.minimum_rate", Kind::Size, "bytes/s that bodies and answers must move (1KiB)"),
    key("limits.requests", Kind::Count, "requests at the same time; 0 no limit (4096)"),
    key("limits.max_blob", Kind::Size, "bytes of one blob; 0 no limit (256GiB)"),
    key("limits.key_rate", Kind::Count, "requests/s of one access key; 0 no limit (0)"),
    key("limits.key_burst", Kind::Count, "of these at once; 0 two seconds' worth (0)"),
    key("limits.address_rate", Kind::Count, "requests/s of one address; 0 no limit (0)"),
    key("limits.address_burst", Kind::Count, "of these at once; 0 two seconds' worth (0)"),
    key("limits.failed_logins", Kind::Count, "wrong secrets/min of an address, by key; 0 all (30)"),
    key("limits.proxies", Kind::List, "ranges of further proxies in X-Forwarded-For"),
    key("limits.instance_storage", Kind::Size, "bytes of an instance; 0: no limit (0)"),
    key("limits.instance_namespaces", Kind::Count, "namespaces of an instance; 0: no limit (0)"),
    key("limits.instance_repositories", Kind::Count, "repositories of an instance (0)"),
    key("limits.cache_memory", Kind::Size, "memory for manifests, tags, links (16MiB)"),
    key("limits.auto_create_namespace", Kind::Flag, "make missing namespaces at push (true)"),
];

impl Key {
    /// Whether `path` (with the operator's names in it) is this key.
    pub fn covers(&self, path: &[String]) -> bool {
        self.path.split('.').count() == path.len() && self.is_below(path)
    }

    /// Whether this key is `path` or below it.
    pub(super) fn is_below(&self, path: &[String]) -> bool {
        let mut own = self.path.split('.');
        path.iter().all(|part| own.next().is_some_and(|own| own == "*" || own == part))
    }
}

/// The environment variable of a key: `BERTH_LISTEN` for `server.listen`, `BERTH_DATABASE_URL` for
/// `database.url`. The star of a provider key is its name in upper case.
pub fn environment_name(path: &str) -> String {
    let path = path.strip_prefix("server.").unwrap_or(path);
    format!("BERTH_{}", path.replace(['.', '-'], "_").to_uppercase())
}
