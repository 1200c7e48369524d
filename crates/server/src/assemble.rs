//! The parts of a server, made from the configuration in the order in which they need each other.

use std::sync::Arc;

use berth_artifacts::Artifacts;
use berth_auth::{Auth, AuthConfig, Bootstrap, BootstrapConfig, MasterKey};
use berth_builder::{BuildConfig, Builder};
use berth_control::Control;
use berth_metadata::Db;
use berth_registry::Registry;
use berth_storage::StorageConfig;
use berth_subscription::Subscription;
use berth_types::{Clock, SystemClock};

use crate::config::Config;
use crate::error::ServerError;

/// Everything that a role may need.
pub(crate) struct Parts {
    pub(crate) db: Db,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) artifacts: Artifacts,
    pub(crate) builder: Builder,
    pub(crate) subscription: Subscription,
    pub(crate) registry: Arc<Registry>,
    pub(crate) control: Arc<Control>,
    pub(crate) bootstrap: Bootstrap,
}
