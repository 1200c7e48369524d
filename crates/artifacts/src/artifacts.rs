//! The services' common ground.

use std::sync::Arc;

use berth_metadata::Db;
use berth_storage::BlobStore;
use berth_types::{Clock, Millis};

use crate::locks::Locks;
use crate::{Blobs, Instances, Manifests, Namespaces, PushListener, Repositories, Tags, Uploads};

/// What an operator may limit.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Whether the first push into an unknown namespace makes it.
    pub auto_create_namespace: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { auto_create_namespace: true }
    }
}

/// The services over stored artifacts. Cloning is cheap.
#[derive(Clone)]
pub struct Artifacts {
    pub db: Db,
    pub store: Arc<dyn BlobStore>,
    pub clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) listeners: Vec<Arc<dyn PushListener>>,
    pub(crate) locks: Arc<Locks>,
}

impl Artifacts {
    pub fn new(db: Db, store: Arc<dyn BlobStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            db,
            store,
            clock,
            limits: Limits::default(),
            listeners: Vec::new(),
            locks: Arc::default(),
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
        self.limits = limits;
        self
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
