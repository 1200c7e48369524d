//! Making commits durable together.
//!
//! On SQLite a COMMIT writes to the write-ahead log without waiting for the disk; what waits is
//! [`GroupSync::wait`]. One sync of the log covers every COMMIT before it, so commits that arrive
//! while one runs share the next. Transactions stay whole by themselves: none sees what another has
//! not committed, and undoing one touches no other.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Mutex;

use crate::DbError;

/// Why what was written is not durable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsynced {
    /// The disk has no room for it. It was not asked to keep it: once there is room, that works.
    #[error("{0}")]
    NoSpace(io::Error),
    /// It was asked, and may have thrown it away.
    #[error("{0}")]
    Failed(io::Error),
}

type Sync = dyn Fn() -> Result<(), Unsynced> + Send + std::marker::Sync;

/// Runs a sync for all who wait for one.
pub(crate) struct GroupSync {
    sync: Arc<Sync>,
    /// How many have asked so far.
    asked: AtomicU64,
    /// How many of those are served; held while syncing.
    served: Mutex<u64>,
    syncs: AtomicU64,
    broken: OnceLock<String>,
}

impl GroupSync {
    pub(crate) fn new(
        sync: impl Fn() -> Result<(), Unsynced> + Send + std::marker::Sync + 'static,
    ) -> Self {
        Self {
            sync: Arc::new(sync),
            asked: AtomicU64::new(0),
            served: Mutex::new(0),
            syncs: AtomicU64::new(0),
            broken: OnceLock::new(),
        }
    }

    /// Returns once a sync that began after this call has ended.
    ///
    /// # Errors
    /// [`DbError::Full`] when there is no room for what is to be synced: it is neither lost nor
    /// durable, and the next sync may succeed. [`DbError::Disk`] when a sync failed. After that
    /// nothing is durable any more: the kernel may have thrown away what it could not write, and
    /// another sync would not tell.
    pub(crate) async fn wait(&self) -> Result<(), DbError> {
        let mine = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut served = self.served.lock().await;
        self.check()?;
        if *served >= mine {
            return Ok(());
        }
        let all = self.asked.load(Ordering::SeqCst);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        let sync = Arc::clone(&self.sync);
        let synced = tokio::task::spawn_blocking(move || sync()).await;
        match synced.unwrap_or_else(|panic| Err(Unsynced::Failed(io::Error::other(panic)))) {
            Ok(()) => {
                *served = all;
                Ok(())
            }
            Err(Unsynced::NoSpace(error)) => {
                tracing::warn!(%error, "no room for the database's log");
                Err(DbError::Full(error.to_string()))
            }
            Err(Unsynced::Failed(error)) => {
                tracing::error!(%error, "the database cannot be written to its disk");
                let _ = self.broken.set(error.to_string());
                self.check()
            }
        }
    }

    /// # Errors
    /// [`DbError::Disk`] when an earlier sync failed.
    pub(crate) fn check(&self) -> Result<(), DbError> {
        self.broken.get().map_or(Ok(()), |reason| Err(DbError::Disk(reason.clone())))
    }

    /// Keeps the next sync from beginning, so that a test can let commits arrive before it.
    #[cfg(test)]
    pub(crate) async fn hold(&self) -> tokio::sync::MutexGuard<'_, u64> {
        self.served.lock().await
    }

    /// How many have asked for a sync so far.
    #[cfg(test)]
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// How many syncs have begun.
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use futures::future::join_all;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn those_that_wait_share_the_next_sync() {
        let written = Arc::new(AtomicU64::new(0));
        let durable = Arc::new(AtomicU64::new(0));
        let (from, to) = (Arc::clone(&written), Arc::clone(&durable));
        let group = Arc::new(GroupSync::new(move || {
            let now = from.load(Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
            to.fetch_max(now, Ordering::SeqCst);
            Ok(())
        }));
        let commit = async || {
            let mine = written.fetch_add(1, Ordering::SeqCst) + 1;
            group.wait().await.expect("synced");
            assert!(durable.load(Ordering::SeqCst) >= mine, "acknowledged before it is durable");
        };
        for _ in 0..10 {
            join_all((0..32).map(|_| commit())).await;
        }
        assert!(group.syncs() <= 20, "{} syncs for 320 commits", group.syncs());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_failure_fails_the_group_and_all_that_follow() {
        let fails = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&fails);
        let group = GroupSync::new(move || {
            std::thread::sleep(Duration::from_millis(5));
            let failed = || Err(Unsynced::Failed(io::Error::other("no disk")));
            if seen.load(Ordering::SeqCst) { failed() } else { Ok(()) }
        });
        group.wait().await.expect("a sound disk");
        fails.store(true, Ordering::SeqCst);
        for failed in join_all((0..8).map(|_| group.wait())).await {
            assert!(matches!(failed, Err(DbError::Disk(reason)) if reason == "no disk"));
        }
        fails.store(false, Ordering::SeqCst);
        assert!(group.wait().await.is_err() && group.check().is_err());
    }

    #[tokio::test]
    async fn a_log_without_room_is_synced_once_there_is_room() {
        let room = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&room);
        let group = GroupSync::new(move || {
            let full = || Err(Unsynced::NoSpace(io::ErrorKind::StorageFull.into()));
            if seen.load(Ordering::SeqCst) { Ok(()) } else { full() }
        });
        let refused = group.wait().await.expect_err("no room");
        assert_eq!(refused.kind(), crate::DbErrorKind::Full);
        group.check().expect("nothing is lost");
        room.store(true, Ordering::SeqCst);
        group.wait().await.expect("there is room");
    }
}
