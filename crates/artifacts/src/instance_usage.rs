//! What an instance may hold: bytes, namespaces, repositories.
//!
//! Bytes are the sum of a ledger to which every new and every removed link adds a row, so that no
//! push waits for another's. Each push compares with what was committed before: pushes that end at
//! the same moment may together go beyond the quota by what they bring, and the next one is refused.
//! Namespaces and repositories are counted under a lock that only their making takes.

mod limits;

use berth_metadata::Session;
use berth_metadata::tables::instance::{self, Quota};
use berth_metadata::tables::{blob, instance_usage};
use berth_types::{Ctx, Digest};

pub(crate) use self::limits::StorageLimits;
use crate::{ArtifactError, Artifacts};

/// A ledger that is longer than this is folded as soon as somebody reads it.
const LONG: i64 = 2_000;

/// Quotas of instances that have none of their own; 0 is without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuotaDefaults {
    /// Bytes.
    pub storage: u64,
    pub namespaces: u64,
    pub repositories: u64,
}

/// What there is and what there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    pub used: u64,
    /// `None` is without limit.
    pub quota: Option<u64>,
}

/// What an instance holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceUsage {
    /// Bytes of the blobs of all repositories; one that several have counts in each.
    pub storage: Measure,
    pub namespaces: Measure,
    pub repositories: Measure,
}

/// Another value for a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaChange {
    /// The server's default.
    Default,
    /// 0 is without limit.
    To(u64),
}

/// Other quotas; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuotaChanges {
    pub storage: Option<QuotaChange>,
    pub namespaces: Option<QuotaChange>,
    pub repositories: Option<QuotaChange>,
}

/// The quotas of instances.
pub struct Quotas<'a>(pub(crate) &'a Artifacts);

impl Quotas<'_> {
    /// What an instance holds and may hold.
    ///
    /// # Errors
    /// `InstanceNotFound`.
    pub async fn usage(&self, instance_id: &str) -> Result<InstanceUsage, ArtifactError> {
        let mut session = self.0.db.read().await?;
        let quota = instance::find_quota(&mut session, instance_id).await?;
        let quota = quota.ok_or_else(|| ArtifactError::InstanceNotFound(instance_id.to_owned()))?;
        let namespaces = instance::count_namespaces(&mut session, instance_id).await?;
        let repositories = instance::count_repositories(&mut session, instance_id).await?;
        let total = instance_usage::total(&mut session, instance_id).await?;
        drop(session);
        self.fold_soon(instance_id, total);
        let defaults = self.0.limits.quota;
        let measure =
            |used, own, default| Measure { used: unsigned(used), quota: effective(own, default) };
        Ok(InstanceUsage {
            storage: measure(total.bytes, quota.storage, defaults.storage),
            namespaces: measure(namespaces, quota.namespaces, defaults.namespaces),
            repositories: measure(repositories, quota.repositories, defaults.repositories),
        })
    }

    /// Gives an instance other quotas. What it holds beyond them already stays. Other servers on
    /// the same database follow within seconds.
    ///
    /// # Errors
    /// `InstanceNotFound`.
    pub async fn update(
        &self,
        ctx: &Ctx,
        instance_id: &str,
        changes: QuotaChanges,
    ) -> Result<(), ArtifactError> {
        let missing = || ArtifactError::InstanceNotFound(instance_id.to_owned());
        let mut session = self.0.db.begin().await?;
        instance::lock_counts(&mut session, instance_id).await?;
        let now = instance::find_quota(&mut session, instance_id).await?.ok_or_else(missing)?;
        let quota = Quota {
            storage: changed(now.storage, changes.storage),
            namespaces: changed(now.namespaces, changes.namespaces),
            repositories: changed(now.repositories, changes.repositories),
        };
        instance::set_quota(&mut session, instance_id, quota).await?;
        session.commit().await?;
        self.0.storage_limits.forget();
        tracing::info!(request = ctx.request_id, instance_id, ?quota, "quotas changed");
        Ok(())
    }

    /// Whether a repository may begin to take bytes.
    ///
    /// # Errors
    /// `QuotaExceeded` when its instance holds more than it may.
    pub async fn admit_upload(&self, repo_id: &str) -> Result<(), ArtifactError> {
        self.admit(repo_id, None, 0).await
    }

    /// Whether a repository may take a blob of so many bytes; it may when it has it already.
    ///
    /// # Errors
    /// `QuotaExceeded`.
    pub async fn admit_blob(
        &self,
        repo_id: &str,
        digest: &Digest,
        bytes: u64,
    ) -> Result<(), ArtifactError> {
        self.admit(repo_id, Some(digest), bytes).await
    }

    async fn admit(
        &self,
        repo_id: &str,
        digest: Option<&Digest>,
        bytes: u64,
    ) -> Result<(), ArtifactError> {
        let Some(limit) = self.0.storage_limits.of(self.0, repo_id).await? else { return Ok(()) };
        let mut session = self.0.db.read().await?;
        let total = instance_usage::total(&mut session, &limit.instance_id).await?;
        let used = unsigned(total.bytes);
        let fits = used.saturating_add(bytes) <= limit.bytes;
        let here = match digest {
            Some(digest) if !fits => blob::is_linked(&mut session, repo_id, digest).await?,
            _ => false,
        };
        drop(session);
        self.fold_soon(&limit.instance_id, total);
        if fits || here {
            return Ok(());
        }
        metrics::counter!("berth_refused_total", "reason" => "storage_quota").increment(1);
        let (instance_id, quota) = (limit.instance_id, limit.bytes);
        Err(ArtifactError::StorageQuota { instance_id, used, quota, asked: bytes })
    }

    /// Whether the instance may get one more namespace, in the transaction that makes it.
    ///
    /// # Errors
    /// `QuotaExceeded`.
    pub(crate) async fn admit_namespace(
        &self,
        session: &mut Session,
        instance_id: &str,
    ) -> Result<(), ArtifactError> {
        let own = instance::find_quota(session, instance_id).await?.unwrap_or_default().namespaces;
        let Some(quota) = effective(own, self.0.limits.quota.namespaces) else { return Ok(()) };
        instance::lock_counts(session, instance_id).await?;
        let used = instance::count_namespaces(session, instance_id).await?;
        admit_one(instance_id, "namespaces", unsigned(used), quota)
    }

    /// Whether the instance may get one more repository, in the transaction that makes it.
    ///
    /// # Errors
    /// `QuotaExceeded`.
    pub(crate) async fn admit_repository(
        &self,
        session: &mut Session,
        instance_id: &str,
    ) -> Result<(), ArtifactError> {
        let own = instance::find_quota(session, instance_id).await?.unwrap_or_default();
        let default = self.0.limits.quota.repositories;
        let Some(quota) = effective(own.repositories, default) else { return Ok(()) };
        instance::lock_counts(session, instance_id).await?;
        let used = instance::count_repositories(session, instance_id).await?;
        admit_one(instance_id, "repositories", unsigned(used), quota)
    }

    /// Makes the ledgers of all instances short; how many rows it took.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fold(&self) -> Result<u64, ArtifactError> {
        let mut session = self.0.db.read().await?;
        let spread = instance_usage::spread(&mut session).await?;
        drop(session);
        let mut folded = 0;
        for instance_id in spread {
            folded += fold_one(self.0, &instance_id).await?;
        }
        Ok(folded)
    }

    /// Folds a ledger that has become long, beside the request that noticed it.
    fn fold_soon(&self, instance_id: &str, total: instance_usage::Total) {
        if total.changes < LONG || !self.0.storage_limits.begin_fold() {
            return;
        }
        let (artifacts, instance_id) = (self.0.clone(), instance_id.to_owned());
        tokio::spawn(async move {
            let folded = fold_one(&artifacts, &instance_id).await;
            artifacts.storage_limits.end_fold();
            match folded {
                Ok(rows) => tracing::debug!(instance_id, rows, "usage folded"),
                Err(error) => tracing::warn!(instance_id, %error, "usage could not be folded"),
            }
        });
    }
}

async fn fold_one(artifacts: &Artifacts, instance_id: &str) -> Result<u64, ArtifactError> {
    let mut folded = 0;
    loop {
        let mut session = artifacts.db.begin().await?;
        let rows = instance_usage::fold(&mut session, instance_id).await?;
        session.commit().await?;
        folded += rows;
        // A full round leaves more to fold, and one row of its own.
        if rows < instance_usage::MOST_FOLDED {
            return Ok(folded);
        }
    }
}

fn admit_one(
    instance_id: &str,
    what: &'static str,
    used: u64,
    quota: u64,
) -> Result<(), ArtifactError> {
    if used < quota {
        return Ok(());
    }
    metrics::counter!("berth_refused_total", "reason" => "count_quota").increment(1);
    Err(ArtifactError::CountQuota { instance_id: instance_id.to_owned(), what, used, quota })
}

/// The quota that holds; `None` is without limit.
fn effective(own: Option<i64>, default: u64) -> Option<u64> {
    let quota = own.map_or(default, unsigned);
    (quota > 0).then_some(quota)
}

fn changed(now: Option<i64>, change: Option<QuotaChange>) -> Option<i64> {
    match change {
        None => now,
        Some(QuotaChange::Default) => None,
        Some(QuotaChange::To(value)) => Some(i64::try_from(value).unwrap_or(i64::MAX)),
    }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
