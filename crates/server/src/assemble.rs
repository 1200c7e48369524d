//! The parts of a server, made from the configuration in the order in which they need each other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use berth_artifacts::{Artifacts, Limits, QuotaDefaults};
use berth_auth::bootstrap::bootstrap;
use berth_auth::{
    Auth, AuthConfig, Bootstrap, BootstrapConfig, MasterKey, NonceJournal, RateLimit,
};
use berth_builder::{BuildConfig, Builder};
use berth_control::{Control, ControlConfig};
use berth_maintenance::{Maintenance, Scrub};
use berth_metadata::{Access, Db, DbOptions};
use berth_registry::Registry;
use berth_storage::{BlobStore, StorageConfig};
use berth_subscription::{ProviderConfig, Subscription, SubscriptionConfig, SubscriptionLimits};
use berth_types::{Clock, SystemClock};

use crate::config::{BuildSection, Config, ProviderSection};
use crate::error::ServerError;
use crate::tasks::BUILD_SPARE;

/// What the conversion of one layer holds in memory at most, in bytes.
const LAYER_MEMORY: u64 = 64 << 20;

/// Everything that a role may need.
pub(crate) struct Parts {
    pub(crate) db: Db,
    pub(crate) store: Arc<dyn BlobStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) auth: Auth,
    pub(crate) builder: Builder,
    pub(crate) subscription: Subscription,
    pub(crate) maintenance: Maintenance,
    pub(crate) registry: Arc<Registry>,
    pub(crate) control: Arc<Control>,
    pub(crate) bootstrap: Bootstrap,
}

/// Opens database and store, makes or finds account and instance, and wires the services: the
/// builder hears of every push, whoever pushes.
pub(crate) async fn assemble(config: &Config) -> Result<Parts, ServerError> {
    let db = open_database(config, Access::SoleWriter).await?;
    // First of all: beside a database that another key sealed, nothing is made.
    let master = MasterKey::of_database(&db, &config.master_key_file()).await?;
    let Ground { db, store, clock, artifacts } = Ground::over(config, db).await?;
    let access_key = config.root_key.as_ref();
    let bootstrap = bootstrap(
        &db,
        &master,
        clock.as_ref(),
        &BootstrapConfig {
            region: config.server.region.clone(),
            access_key: access_key
                .map(|key| (key.access_key_id.clone(), key.access_key_secret.clone())),
            ..BootstrapConfig::default()
        },
    )
    .await?;
    let key_rate = RateLimit::new(config.limits.key_rate, config.limits.key_burst);
    let journal =
        NonceJournal { folder: config.in_data_dir("nonces"), first_start: bootstrap.first };
    let auth = Auth::open(
        db.clone(),
        master,
        Arc::clone(&clock),
        AuthConfig {
            key_rate,
            failed_logins: config.limits.failed_logins,
            ..AuthConfig::default()
        },
        &journal,
    )
    .await?;

    let builder = builder(config, artifacts.clone(), db.clone(), Arc::clone(&clock))?;
    let artifacts = artifacts.with_listener(Arc::new(builder.clone()));
    let subscription = Subscription::new(
        artifacts.clone(),
        db.clone(),
        Arc::clone(&clock),
        subscriptions(config, bootstrap.instance_id.clone())?,
    );
    let maintenance =
        Maintenance::new(artifacts.clone(), db.clone(), Arc::clone(&store), Arc::clone(&clock));
    let registry = Registry::new(artifacts.clone(), auth.clone());
    let control = Control::new(
        artifacts.clone(),
        builder.clone(),
        subscription.clone(),
        maintenance.clone(),
        auth.clone(),
        ControlConfig { region: bootstrap.region.clone(), ..ControlConfig::default() },
    );
    Ok(Parts {
        db,
        store,
        clock,
        auth,
        builder,
        subscription,
        maintenance,
        registry: Arc::new(registry),
        control: Arc::new(control),
        bootstrap,
    })
}

/// What everything stands on.
struct Ground {
    db: Db,
    store: Arc<dyn BlobStore>,
    clock: Arc<dyn Clock>,
    artifacts: Artifacts,
}

impl Ground {
    /// Database and store, opened as the configuration says.
    async fn open(config: &Config, access: Access) -> Result<Self, ServerError> {
        Self::over(config, open_database(config, access).await?).await
    }

    /// Beside a database that is open.
    async fn over(config: &Config, db: Db) -> Result<Self, ServerError> {
        let store = berth_storage::open(&storage(config)).await?;
        let limits = Limits {
            auto_create_namespace: config.limits.auto_create_namespace,
            max_blob: if config.limits.max_blob == 0 { u64::MAX } else { config.limits.max_blob },
            quota: QuotaDefaults {
                storage: config.limits.instance_storage,
                namespaces: config.limits.instance_namespaces,
                repositories: config.limits.instance_repositories,
            },
            cache_memory: usize::try_from(config.limits.cache_memory).unwrap_or(usize::MAX),
            redirect_minimum: config.storage.redirect.then_some(config.storage.redirect_minimum),
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let artifacts = Artifacts::new(db.clone(), Arc::clone(&store), Arc::clone(&clock));
        let artifacts = artifacts.with_limits(limits).with_gc(config.gc.collector());
        Ok(Self { db, store, clock, artifacts })
    }
}

async fn open_database(config: &Config, access: Access) -> Result<Db, ServerError> {
    let options = DbOptions { access, ..DbOptions::default() };
    Ok(Db::open_with(&config.database_url(), options).await?)
}

/// Maintenance alone, for commands that do it without a server.
///
/// # Errors
/// [`ServerError`] when database or store cannot be opened.
pub async fn open_maintenance(config: &Config, access: Access) -> Result<Maintenance, ServerError> {
    let Ground { db, store, clock, artifacts } = Ground::open(config, access).await?;
    Ok(Maintenance::new(artifacts, db, store, clock))
}

/// The scrubber, with every source of damaged blobs that the configuration knows.
///
/// # Errors
/// [`ServerError`] when database or store cannot be opened.
pub async fn open_scrub(config: &Config) -> Result<Scrub, ServerError> {
    let Ground { db, store, clock, artifacts } = Ground::open(config, Access::SoleWriter).await?;
    // None before the first start: then there are no rules either.
    let home = artifacts.instances().default().await.map(|instance| instance.instance_id);
    let settings = subscriptions(config, home.unwrap_or_default())?;
    let subscription =
        Subscription::new(artifacts.clone(), db.clone(), Arc::clone(&clock), settings);
    let maintenance = Maintenance::new(artifacts, db, store, clock);
    Ok(Scrub::new(maintenance, config.scrub.rate).with_source(Arc::new(subscription)))
}

fn storage(config: &Config) -> StorageConfig {
    let storage = &config.storage;
    StorageConfig {
        url: config.storage_url(),
        endpoint: storage.endpoint.clone(),
        region: storage.region.clone(),
        access_key_id: storage.access_key_id.clone(),
        secret_access_key: storage.secret_access_key.clone(),
        allow_http: storage.allow_http,
        path_style: storage.path_style,
    }
}

fn builder(
    config: &Config,
    artifacts: Artifacts,
    db: Db,
    clock: Arc<dyn Clock>,
) -> Result<Builder, ServerError> {
    let scratch = config.scratch_dir();
    let mut settings = BuildConfig::new(scratch.clone());
    settings.threads = layers_at_once(&config.build, settings.threads);
    settings.max_layer_bytes = config.build.max_layer;
    settings.max_layer_entries = config.build.max_layer_entries;
    settings.max_zstd_window = config.build.max_zstd_window;
    Builder::new(artifacts, db, clock, settings)
        .map_err(|source| ServerError::Scratch { path: scratch, source })
}

/// How many layers one build may convert at the same time: as many as there are processors, and as
/// the memory holds when every worker is busy.
fn layers_at_once(build: &BuildSection, processors: usize) -> usize {
    let workers = u64::try_from(build.workers + BUILD_SPARE).unwrap_or(u64::MAX).max(1);
    let held = build.memory / LAYER_MEMORY / workers;
    usize::try_from(held).unwrap_or(usize::MAX).clamp(1, processors.max(1))
}

/// `home` is the instance of the operator's own account.
fn subscriptions(config: &Config, home: String) -> Result<SubscriptionConfig, ServerError> {
    let mut providers = BTreeMap::new();
    for (name, section) in &config.upstream.providers {
        providers.insert(name.clone(), provider(name, section)?);
    }
    let upstream = &config.upstream;
    let mut bounds = SubscriptionConfig::default().bounds;
    bounds.list_size = upstream.list_size;
    bounds.list_tags = upstream.list_tags;
    bounds.list_pages = upstream.list_pages;
    bounds.list_time = upstream.list_time;
    bounds.document_time = upstream.document_time;
    bounds.minimum_rate = upstream.minimum_rate;
    Ok(SubscriptionConfig {
        bounds,
        allow: config.upstream.allow.clone(),
        home_instance: Some(home),
        providers,
        interval: config.subscription.interval,
        workers: config.subscription.workers,
        longest_pause: config.subscription.longest_pause,
        limits: SubscriptionLimits {
            tag_count: config.subscription.max_tag_count.into(),
            dated_tags: config.subscription.max_dated_tags,
        },
        ..SubscriptionConfig::default()
    })
}

fn provider(name: &str, section: &ProviderSection) -> Result<ProviderConfig, ServerError> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|source| ServerError::ProviderCa {
            provider: name.to_owned(),
            path: path.clone(),
            source,
        })
    };
    Ok(ProviderConfig {
        endpoint: section.endpoint.clone(),
        ca: section.ca.as_ref().map(read).transpose()?,
        proxy: section.proxy.clone(),
        username: section.username.clone(),
        password: section.password.clone(),
        realms: section.realms.clone(),
        credentials_for: section.credentials_for.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_bounds_the_layers_at_once() {
        let build = |workers, memory| BuildSection { workers, memory, ..BuildSection::default() };
        assert_eq!(layers_at_once(&build(2, 512 << 20), 8), 2);
        assert_eq!(layers_at_once(&build(2, 512 << 20), 2), 2);
        assert_eq!(layers_at_once(&build(4, 1 << 20), 8), 1);
    }
}
