//! The services' common ground.

use std::sync::Arc;

use berth_metadata::Db;
use berth_storage::BlobStore;
use berth_types::{Clock, Millis};

use crate::cache::Cache;
use crate::instance_usage::StorageLimits;
use crate::integrity::Examinations;
use crate::locks::Locks;
use crate::{
    ArtifactError, Blobs, GcConfig, Instances, Integrity, Manifests, Namespaces, PushListener,
    QuotaDefaults, Quotas, Repositories, Tags, Uploads,
};

/// What an operator may limit.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Whether the first push into an unknown namespace makes it.
    pub auto_create_namespace: bool,
    /// Bytes of the largest blob.
    pub max_blob: u64,
    /// Bytes of manifests, tags and links that are remembered between requests.
    pub cache_memory: usize,
    /// Quotas of instances that have none of their own.
    pub quota: QuotaDefaults,
    /// Bytes of the smallest blob whose readers are sent to the store; none are without.
    pub redirect_minimum: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            auto_create_namespace: true,
            max_blob: u64::MAX,
            cache_memory: 16 << 20,
            quota: QuotaDefaults::default(),
            redirect_minimum: None,
        }
    }
}

/// The services over stored artifacts. Cloning is cheap.
#[derive(Clone)]
pub struct Artifacts {
    pub(crate) db: Db,
    pub(crate) store: Arc<dyn BlobStore>,
    clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) gc: GcConfig,
    pub(crate) listeners: Vec<Arc<dyn PushListener>>,
    pub(crate) locks: Arc<Locks>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) examinations: Arc<Examinations>,
    pub(crate) storage_limits: Arc<StorageLimits>,
}

impl Artifacts {
    pub fn new(db: Db, store: Arc<dyn BlobStore>, clock: Arc<dyn Clock>) -> Self {
        let limits = Limits::default();
        let cache = Arc::new(Cache::new(db.clone(), limits.cache_memory));
        Self {
            db,
            store,
            clock,
            limits,
            gc: GcConfig::default(),
            listeners: Vec::new(),
            locks: Arc::default(),
            cache,
            examinations: Arc::default(),
            storage_limits: Arc::default(),
        }
    }

    /// Tells the listener about what is done through this value and its clones from now on.
    #[must_use]
    pub fn with_listener(mut self, listener: Arc<dyn PushListener>) -> Self {
        self.listeners.push(listener);
        self
    }

    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.cache = Arc::new(Cache::new(self.db.clone(), limits.cache_memory));
        self.limits = limits;
        self
    }

    #[must_use]
    pub fn with_gc(mut self, config: GcConfig) -> Self {
        self.gc = config;
        self
    }

    /// Whether blobs are what they are called.
    pub fn integrity(&self) -> Integrity<'_> {
        Integrity(self)
    }

    /// How long what loses a use stays.
    pub fn gc_config(&self) -> &GcConfig {
        &self.gc
    }

    /// Whether a blob may have so many bytes.
    ///
    /// # Errors
    /// `BlobTooLarge`.
    pub fn check_blob_size(&self, size: u64) -> Result<(), ArtifactError> {
        let limit = self.limits.max_blob;
        if size > limit { Err(ArtifactError::BlobTooLarge { limit }) } else { Ok(()) }
    }

    pub fn instances(&self) -> Instances<'_> {
        Instances(self)
    }

    pub fn namespaces(&self) -> Namespaces<'_> {
        Namespaces(self)
    }

    pub fn repositories(&self) -> Repositories<'_> {
        Repositories(self)
    }

    pub fn uploads(&self) -> Uploads<'_> {
        Uploads(self)
    }

    pub fn blobs(&self) -> Blobs<'_> {
        Blobs(self)
    }

    pub fn quotas(&self) -> Quotas<'_> {
        Quotas(self)
    }

    pub fn manifests(&self) -> Manifests<'_> {
        Manifests(self)
    }

    pub fn tags(&self) -> Tags<'_> {
        Tags(self)
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }
}
