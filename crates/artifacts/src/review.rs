//! When what loses a use is looked at again, and until when an answer holds.

use std::time::Duration;

use berth_metadata::tables::repository::Repository;
use berth_types::Millis;

use crate::Artifacts;

const DAY: Millis = 24 * 3600 * 1000;

/// How long the collector waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcConfig {
    /// How long something without a use stays, and how long a client may rely on the answer that
    /// something is here: longer than a push takes.
    pub grace: Duration,
    /// How long a converted layer that no repository has stays for further builds.
    pub layer_cache: Duration,
    /// How long an upload may pause before its bytes are collected.
    pub upload_pause: Duration,
}

impl Default for GcConfig {
    fn default() -> Self {
        let hours = |count: u64| Duration::from_secs(count * 3600);
        Self { grace: hours(24), layer_cache: hours(7 * 24), upload_pause: hours(24) }
    }
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX / 4)
}

impl Artifacts {
    /// When the collector may look at what loses a use now.
    pub(crate) fn review_time(&self) -> Millis {
        self.now().saturating_add(millis(self.gc.grace))
    }

    /// As [`Artifacts::review_time`], of a manifest that is left without a tag.
    pub(crate) fn untagged_review_time(&self, repository: &Repository) -> Millis {
        let days = repository.untagged_days.unwrap_or(0).max(0);
        self.review_time().max(self.now().saturating_add(days.saturating_mul(DAY)))
    }

    /// The time until which the review is to be put off before a client is told that something is
    /// here; `None` when it is far enough.
    pub(crate) fn lease_until(&self, review_after: Option<Millis>) -> Option<Millis> {
        let half = millis(self.gc.grace) / 2;
        let near = review_after? < self.now().saturating_add(half);
        near.then(|| self.review_time())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use berth_metadata::Db;
    use berth_storage::MemoryStore;
    use berth_types::ManualClock;

    use super::*;

    #[tokio::test]
    async fn a_lease_is_written_only_when_the_review_is_near() {
        let folder = tempfile::tempdir().expect("folder");
        let url = format!("sqlite:{}", folder.path().join("berth.db").display());
        let db = Db::open(&url).await.expect("database");
        let clock = Arc::new(ManualClock::at(1_000_000));
        let gc = GcConfig { grace: Duration::from_secs(10), ..GcConfig::default() };
        let artifacts = Artifacts::new(db, Arc::new(MemoryStore::default()), clock).with_gc(gc);
        assert_eq!(artifacts.lease_until(None), None, "it is in use");
        assert_eq!(artifacts.lease_until(Some(1_005_000)), None);
        assert_eq!(artifacts.lease_until(Some(1_004_999)), Some(1_010_000));
        assert_eq!(artifacts.lease_until(Some(0)), Some(1_010_000));
    }
}
