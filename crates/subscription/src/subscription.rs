//! The service object.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use berth_artifacts::Artifacts;
use berth_metadata::Db;
use berth_oci::client::{ClientError, RegistryClient};
use berth_tasks::Handler;
use berth_types::{Digest, Millis};

use crate::artifact_subscription_rule::SubscriptionRule;
use crate::config::SubscriptionConfig;
use crate::handler::SubscriptionHandler;
use crate::provider;

/// Remembered creation times; beyond that they are forgotten all at once.
const MAX_DATES: usize = 100_000;

/// Rules, tasks and the work itself. Cheap to clone.
#[derive(Clone)]
pub struct Subscription {
    inner: Arc<Inner>,
}

struct Inner {
    artifacts: Artifacts,
    config: SubscriptionConfig,
    /// By provider and domain; they keep connections and tokens from run to run.
    clients: Mutex<HashMap<(String, String), RegistryClient>>,
    dates: Mutex<HashMap<Digest, Option<Millis>>>,
}

impl Subscription {
    /// The queue that subscription workers take their tasks from.
    pub const QUEUE: &'static str = "subscription";

    pub fn new(artifacts: Artifacts, config: SubscriptionConfig) -> Self {
        let (clients, dates) = (Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { artifacts, config, clients, dates }) }
    }

    /// What the task runner of [`Subscription::QUEUE`] runs.
    pub fn handlers(&self) -> Vec<Arc<dyn Handler>> {
        vec![Arc::new(SubscriptionHandler::new(self.clone()))]
    }

    pub fn config(&self) -> &SubscriptionConfig {
        &self.inner.config
    }

    pub(crate) fn artifacts(&self) -> &Artifacts {
        &self.inner.artifacts
    }

    pub(crate) fn db(&self) -> &Db {
        &self.inner.artifacts.db
    }

    pub(crate) fn now(&self) -> Millis {
        self.inner.artifacts.clock.now()
    }

    /// The client for a rule's source, made once.
    pub(crate) fn client(&self, rule: &SubscriptionRule) -> Result<RegistryClient, ClientError> {
        let key = (rule.source_provider.clone(), rule.source_domain.clone());
        let mut clients = self.inner.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = provider::client(self.config(), rule)?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    /// When the image behind a digest was made, if that was found out before.
    pub(crate) fn known_date(&self, digest: &Digest) -> Option<Option<Millis>> {
        let dates = self.inner.dates.lock().unwrap_or_else(PoisonError::into_inner);
        dates.get(digest).copied()
    }

    pub(crate) fn remember_date(&self, digest: Digest, created: Option<Millis>) {
        let mut dates = self.inner.dates.lock().unwrap_or_else(PoisonError::into_inner);
        if dates.len() >= MAX_DATES {
            dates.clear();
        }
        dates.insert(digest, created);
    }
}
