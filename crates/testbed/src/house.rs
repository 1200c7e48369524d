//! The services beside the things that they keep to themselves.

use std::ops::Deref;
use std::sync::Arc;

use berth_artifacts::{Artifacts, GcConfig, Limits, PushListener};
use berth_maintenance::Maintenance;
use berth_metadata::Db;
use berth_storage::BlobStore;
use berth_types::{Clock, SystemClock};

/// Artifacts and maintenance over one database and store, which a test may look into.
#[derive(Clone)]
pub struct House {
    pub db: Db,
    pub store: Arc<dyn BlobStore>,
    pub clock: Arc<dyn Clock>,
    pub artifacts: Artifacts,
}

impl House {
    pub fn new(db: Db, store: Arc<dyn BlobStore>) -> Self {
        Self::with_clock(db, store, Arc::new(SystemClock))
    }

    pub fn with_clock(db: Db, store: Arc<dyn BlobStore>, clock: Arc<dyn Clock>) -> Self {
        let artifacts = Artifacts::new(db.clone(), Arc::clone(&store), Arc::clone(&clock));
        Self { db, store, clock, artifacts }
    }

    /// As [`Artifacts::with_gc`].
    #[must_use]
    pub fn with_gc(mut self, config: GcConfig) -> Self {
        self.artifacts = self.artifacts.with_gc(config);
        self
    }

    /// As [`Artifacts::with_limits`].
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.artifacts = self.artifacts.with_limits(limits);
        self
    }

    /// As [`Artifacts::with_listener`].
    #[must_use]
    pub fn with_listener(mut self, listener: Arc<dyn PushListener>) -> Self {
        self.artifacts = self.artifacts.with_listener(listener);
        self
    }

    pub fn maintenance(&self) -> Maintenance {
        let (db, store) = (self.db.clone(), Arc::clone(&self.store));
        Maintenance::new(self.artifacts.clone(), db, store, Arc::clone(&self.clock))
    }
}

impl Deref for House {
    type Target = Artifacts;

    fn deref(&self) -> &Artifacts {
        &self.artifacts
    }
}
