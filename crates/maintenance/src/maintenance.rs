//! The caretaker's common ground.

use std::sync::Arc;

use berth_artifacts::{Artifacts, GcConfig};
use berth_metadata::Db;
use berth_metadata::tables::maintenance_task;
use berth_storage::BlobStore;
use berth_types::{Clock, Millis};

use crate::{Gc, MaintenanceTasks};

/// What maintenance works on: the stored artifacts, and the rows and objects below them. Cloning is
/// cheap.
#[derive(Clone)]
pub struct Maintenance {
    pub(crate) artifacts: Artifacts,
    pub(crate) db: Db,
    pub(crate) store: Arc<dyn BlobStore>,
    clock: Arc<dyn Clock>,
}

impl Maintenance {
    /// The queue that the workers of its tasks serve.
    pub const QUEUE: &'static str = maintenance_task::QUEUE;

    /// Database, store and clock are those of the artifacts.
    pub fn new(
        artifacts: Artifacts,
        db: Db,
        store: Arc<dyn BlobStore>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { artifacts, db, store, clock }
    }

    /// The collector.
    pub fn gc(&self) -> Gc<'_> {
        Gc(self)
    }

    /// The tasks, whoever runs them.
    pub fn tasks(&self) -> MaintenanceTasks<'_> {
        MaintenanceTasks(self)
    }

    /// Closes the database.
    pub async fn close(&self) {
        self.db.close().await;
    }

    pub(crate) fn config(&self) -> &GcConfig {
        self.artifacts.gc_config()
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }
}
