//! The service object.

use std::sync::Arc;
use std::time::Duration;

use berth_artifacts::Artifacts;
use berth_metadata::tables::artifact_build_task::BuildTaskRow;
use berth_metadata::{Db, Memory};
use berth_tasks::Handler;
use berth_types::{Clock, Millis};

use crate::config::BuildConfig;
use crate::handler::BuildHandler;
use crate::scratch::Scratch;

/// The queue that build workers take their tasks from.
pub(crate) const QUEUE: &str = "build";

/// Bytes in which tasks are remembered.
const TASKS_MEMORY: usize = 4 << 20;

/// Rules, tasks and the work itself. Cheap to clone.
#[derive(Clone)]
pub struct Builder {
    inner: Arc<Inner>,
}

struct Inner {
    artifacts: Artifacts,
    db: Db,
    clock: Arc<dyn Clock>,
    /// Tasks that were asked for, by id; used where this process is the database's only writer.
    tasks: Memory<Arc<BuildTaskRow>>,
    config: BuildConfig,
    scratch: Scratch,
}

impl Builder {
    /// Database and clock are those of the artifacts.
    ///
    /// # Errors
    /// When the scratch folder cannot be made.
    pub fn new(
        artifacts: Artifacts,
        db: Db,
        clock: Arc<dyn Clock>,
        config: BuildConfig,
    ) -> std::io::Result<Self> {
        let scratch = Scratch::open(&config.scratch)?;
        let tasks = Memory::new(db.clone(), TASKS_MEMORY, Duration::ZERO);
        Ok(Self { inner: Arc::new(Inner { artifacts, db, clock, tasks, config, scratch }) })
    }

    /// The queue of the handlers.
    pub const QUEUE: &'static str = QUEUE;

    /// What the task runner runs.
    pub fn handlers(&self) -> Vec<Arc<dyn Handler>> {
        vec![Arc::new(BuildHandler::new(self.clone()))]
    }

    pub(crate) fn artifacts(&self) -> &Artifacts {
        &self.inner.artifacts
    }

    /// For the rows of builds; those of what is stored are asked for at the artifacts.
    pub(crate) fn db(&self) -> &Db {
        &self.inner.db
    }

    pub(crate) fn tasks(&self) -> &Memory<Arc<BuildTaskRow>> {
        &self.inner.tasks
    }

    pub(crate) fn config(&self) -> &BuildConfig {
        &self.inner.config
    }

    pub(crate) fn scratch(&self) -> &Scratch {
        &self.inner.scratch
    }

    pub(crate) fn now(&self) -> Millis {
        self.inner.clock.now()
    }
}
