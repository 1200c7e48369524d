//! The service object.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use berth_artifacts::Artifacts;
use berth_metadata::Db;
use berth_oci::client::{ClientError, RegistryClient};
use berth_tasks::{Handler, TaskFailure};
use berth_types::{Clock, Digest, Millis};

use crate::artifact_subscription_rule::SubscriptionRule;
use crate::config::SubscriptionConfig;
use crate::handler::SubscriptionHandler;
use crate::platforms::Nature;
use crate::provider;

/// Remembered facts of each kind; beyond that they are forgotten all at once.
const MOST_REMEMBERED: usize = 100_000;

/// Rules, tasks and the work itself. Cheap to clone.
#[derive(Clone)]
pub struct Subscription {
    inner: Arc<Inner>,
}

struct Inner {
    artifacts: Artifacts,
    db: Db,
    clock: Arc<dyn Clock>,
    config: SubscriptionConfig,
    /// By provider, domain, and whether the operator's credentials are used; they keep connections
    /// and tokens from run to run.
    clients: Mutex<HashMap<(String, String, bool), RegistryClient>>,
    dates: Memory<Digest, Option<Millis>>,
    /// What children of indexes are, of which only their manifest says it.
    natures: Memory<Digest, Nature>,
    /// When the referrers of an image were first and last asked for, by target repository.
    referrers: Memory<(String, Digest), (Millis, Millis)>,
    /// Repositories at sources without the referrers API, and since when that is known.
    without_referrers: Memory<String, Millis>,
}

/// What is remembered between runs, for a while.
struct Memory<K, V>(Mutex<HashMap<K, V>>);

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Memory<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn put(&self, key: K, value: V) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_REMEMBERED {
            all.clear();
        }
        all.insert(key, value);
    }
}

impl Subscription {
    /// The queue that subscription workers take their tasks from.
    pub const QUEUE: &'static str = "subscription";

    /// Database and clock are those of the artifacts.
    pub fn new(
        artifacts: Artifacts,
        db: Db,
        clock: Arc<dyn Clock>,
        config: SubscriptionConfig,
    ) -> Self {
        let inner = Inner {
            artifacts,
            db,
            clock,
            config,
            clients: Mutex::default(),
            dates: Memory::default(),
            natures: Memory::default(),
            referrers: Memory::default(),
            without_referrers: Memory::default(),
        };
        Self { inner: Arc::new(inner) }
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

    /// For the rows of subscriptions; those of what is stored are asked for at the artifacts.
    pub(crate) fn db(&self) -> &Db {
        &self.inner.db
    }

    pub(crate) fn now(&self) -> Millis {
        self.inner.clock.now()
    }

    /// The end of an attempt whose source named the time of the next request: the task waits for it
    /// without a slot and spends no attempt, and asks again after the operator's longest pause at the
    /// latest.
    pub(crate) fn postponed(&self, until: Millis, reason: &str) -> TaskFailure {
        let pause = u64::try_from(until.saturating_sub(self.now())).unwrap_or_default();
        let delay = Duration::from_millis(pause).min(self.config().longest_pause);
        TaskFailure::Postpone { delay, reason: reason.to_owned() }
    }

    /// The client for a rule's source, made once.
    pub(crate) fn client(&self, rule: &SubscriptionRule) -> Result<RegistryClient, ClientError> {
        let known = provider::has_credentials(self.config(), rule);
        let key = (rule.source_provider.clone(), rule.source_domain.clone(), known);
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
        self.inner.dates.get(digest)
    }

    pub(crate) fn remember_date(&self, digest: Digest, created: Option<Millis>) {
        self.inner.dates.put(digest, created);
    }

    /// What a child of an index is, if its manifest was looked at before.
    pub(crate) fn known_nature(&self, digest: &Digest) -> Option<Nature> {
        self.inner.natures.get(digest)
    }

    pub(crate) fn remember_nature(&self, digest: Digest, nature: Nature) {
        self.inner.natures.put(digest, nature);
    }

    /// Whether a periodic run asks again what refers to an image that is here unchanged: signatures
    /// come minutes or days after it, so that the pauses grow with its age, up to a day.
    pub(crate) fn referrers_are_due(&self, repo_id: &str, image: &Digest) -> bool {
        let asked = self.inner.referrers.get(&(repo_id.to_owned(), image.clone()));
        asked.is_none_or(|(first, last)| self.now() - last >= (last - first).min(A_DAY))
    }

    pub(crate) fn referrers_were_asked(&self, repo_id: &str, image: Digest) {
        let (key, now) = ((repo_id.to_owned(), image), self.now());
        let first = self.inner.referrers.get(&key).map_or(now, |(first, _)| first);
        self.inner.referrers.put(key, (first, now));
    }

    /// Whether a repository at a source was found to be without the referrers API, today.
    pub(crate) fn is_without_referrers(&self, source: &str) -> bool {
        let since = self.inner.without_referrers.get(&source.to_owned());
        since.is_some_and(|since| self.now() - since < A_DAY)
    }

    pub(crate) fn remember_without_referrers(&self, source: &str) {
        self.inner.without_referrers.put(source.to_owned(), self.now());
    }
}

/// Milliseconds.
const A_DAY: Millis = 24 * 60 * 60 * 1000;
