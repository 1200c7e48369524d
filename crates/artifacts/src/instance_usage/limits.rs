//! What repositories' instances may store, remembered for a moment: most have no limit, and then a
//! push costs no question at all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use berth_metadata::tables::instance;

use super::effective;
use crate::{ArtifactError, Artifacts};

/// How long another server's change of a quota may go unnoticed.
const LIFETIME: Duration = Duration::from_secs(5);

/// Repositories that are remembered; beyond that all are forgotten.
const MOST: usize = 10_000;

/// A limited instance.
#[derive(Debug, Clone)]
pub(crate) struct StorageLimit {
    pub(super) instance_id: String,
    pub(super) bytes: u64,
}

/// By repository.
#[derive(Default)]
pub(crate) struct StorageLimits {
    known: Mutex<Known>,
    /// Somebody folds a ledger.
    folding: AtomicBool,
}

#[derive(Default)]
struct Known {
    limits: HashMap<String, (Option<StorageLimit>, Instant)>,
    /// Counts the changes of quotas that this process made.
    changes: u64,
}

impl StorageLimits {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limit for a repository; `None` when there is none.
    pub(super) async fn of(
        &self,
        artifacts: &Artifacts,
        repo_id: &str,
    ) -> Result<Option<StorageLimit>, ArtifactError> {
        let changes = {
            let known = self.known();
            match known.limits.get(repo_id) {
                Some((limit, since)) if since.elapsed() < LIFETIME => return Ok(limit.clone()),
                _ => known.changes,
            }
        };
        let mut session = artifacts.db.read().await?;
        let found = instance::find_storage_quota(&mut session, repo_id).await?;
        drop(session);
        // A repository that is gone refuses the push itself.
        let limit = found.and_then(|(instance_id, own)| {
            let bytes = effective(own, artifacts.limits.quota.storage)?;
            Some(StorageLimit { instance_id, bytes })
        });
        let mut known = self.known();
        if known.limits.len() >= MOST {
            known.limits.clear();
        }
        if known.changes == changes {
            known.limits.insert(repo_id.to_owned(), (limit.clone(), Instant::now()));
        }
        Ok(limit)
    }

    pub(super) fn forget(&self) {
        let mut known = self.known();
        known.changes += 1;
        known.limits.clear();
    }

    /// `false` when somebody folds already.
    pub(super) fn begin_fold(&self) -> bool {
        !self.folding.swap(true, Ordering::SeqCst)
    }

    pub(super) fn end_fold(&self) {
        self.folding.store(false, Ordering::SeqCst);
    }
}
