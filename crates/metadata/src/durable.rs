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

/// Runs a sync for all who wait for one.
pub(crate) struct GroupSync {
    sync: Arc<dyn Fn() -> io::Result<()> + Send + Sync>,
    /// How many have asked so far.
    asked: AtomicU64,
    /// How many of those are served; held while syncing.
    served: Mutex<u64>,
    syncs: AtomicU64,
    broken: OnceLock<String>,
}

impl GroupSync {
    pub(crate) fn new(sync: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Self {
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
    /// Why it failed. After a failure nothing is durable any more: the kernel may have thrown away
    /// what it could not write, and another sync would not tell.
    pub(crate) async fn wait(&self) -> Result<(), String> {
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
        if let Err(error) = synced.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            tracing::error!(%error, "the database cannot be written to its disk");
            let _ = self.broken.set(error.to_string());
            return self.check();
        }
        *served = all;
        Ok(())
    }

    /// # Errors
    /// Why an earlier sync failed.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.broken.get().map_or(Ok(()), |reason| Err(reason.clone()))
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
            if seen.load(Ordering::SeqCst) { Err(io::Error::other("no disk")) } else { Ok(()) }
        });
        group.wait().await.expect("a sound disk");
        fails.store(true, Ordering::SeqCst);
        for failed in join_all((0..8).map(|_| group.wait())).await {
            assert_eq!(failed, Err("no disk".to_owned()));
        }
        fails.store(false, Ordering::SeqCst);
        assert!(group.wait().await.is_err() && group.check().is_err());
    }
}
