//! Rows that are remembered between requests, within a bound of bytes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Db;
use crate::epochs::{Stamp, Subject};

const SHARDS: usize = 8;
/// What an entry weighs besides its key and value.
const ENTRY: usize = 128;

/// Remembers what was read from a database until it changes.
///
/// Where this process is the database's only writer ([`Db::is_sole_writer`]), what is remembered is
/// what a query would say. Elsewhere it may be as old as `stale`, since others write too; changes
/// made through this [`Db`] count at once everywhere.
///
/// Each shard holds two generations: what is used moves to the young one, and when that is full it
/// becomes the old one and what nobody asked for meanwhile is forgotten.
pub struct Memory<V> {
    db: Db,
    stale: Duration,
    /// Of one generation of one shard.
    bound: usize,
    shards: [Mutex<Shard<V>>; SHARDS],
}

struct Shard<V> {
    young: HashMap<Box<str>, Entry<V>>,
    old: HashMap<Box<str>, Entry<V>>,
    /// Of the young generation.
    weight: usize,
}

struct Entry<V> {
    value: V,
    stamp: Stamp,
    weight: usize,
    since: Instant,
}

impl<V: Clone> Memory<V> {
    /// At most about `bytes` in memory; entries not older than `stale` where others write too.
    pub fn new(db: Db, bytes: usize, stale: Duration) -> Self {
        let shard = || Mutex::new(Shard { young: HashMap::new(), old: HashMap::new(), weight: 0 });
        Self { db, stale, bound: bytes / SHARDS / 2, shards: std::array::from_fn(|_| shard()) }
    }

    /// What is to be taken before the read that [`Memory::put`] remembers.
    pub fn stamp(&self, subject: Subject<'_>) -> Stamp {
        self.db.stamp(subject)
    }

    /// What is remembered under the key, if it still holds. `stamp` is the present one.
    pub fn get(&self, key: &str, stamp: Stamp) -> Option<V> {
        let mut guard = self.shard(key);
        let shard = &mut *guard;
        if let Some(entry) = shard.young.get(key) {
            return self.holds(entry, stamp).then(|| entry.value.clone());
        }
        let (key, entry) = shard.old.remove_entry(key)?;
        if !self.holds(&entry, stamp) {
            return None;
        }
        let value = entry.value.clone();
        self.insert(shard, key, entry);
        Some(value)
    }

    /// What is remembered under the key, whether it still holds or not: for what the key itself says
    /// all about.
    pub fn peek(&self, key: &str) -> Option<V> {
        let mut guard = self.shard(key);
        let shard = &mut *guard;
        if let Some(entry) = shard.young.get(key) {
            return Some(entry.value.clone());
        }
        let (key, entry) = shard.old.remove_entry(key)?;
        let value = entry.value.clone();
        self.insert(shard, key, entry);
        Some(value)
    }

    /// Remembers a value of `bytes` that was read after `stamp` was taken.
    pub fn put(&self, key: &str, stamp: Stamp, value: V, bytes: usize) {
        let weight = bytes.saturating_add(key.len()).saturating_add(ENTRY);
        if weight > self.bound {
            return;
        }
        let mut guard = self.shard(key);
        let shard = &mut *guard;
        shard.old.remove(key);
        self.insert(shard, key.into(), Entry { value, stamp, weight, since: Instant::now() });
    }

    fn insert(&self, shard: &mut Shard<V>, key: Box<str>, entry: Entry<V>) {
        if shard.weight.saturating_add(entry.weight) > self.bound {
            shard.old = std::mem::take(&mut shard.young);
            shard.weight = 0;
        }
        shard.weight += entry.weight;
        if let Some(replaced) = shard.young.insert(key, entry) {
            shard.weight = shard.weight.saturating_sub(replaced.weight);
        }
    }

    fn holds(&self, entry: &Entry<V>, stamp: Stamp) -> bool {
        entry.stamp == stamp && (self.db.is_sole_writer() || entry.since.elapsed() < self.stale)
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard<V>> {
        // The ends of keys differ: names, and digits of digests.
        let end = key.bytes().rev().take(8);
        let sum = end.fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.shards[sum % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, Change, DbOptions};

    async fn database(access: Access) -> (tempfile::TempDir, Db) {
        let folder = tempfile::tempdir().expect("folder");
        let url = format!("sqlite:{}", folder.path().join("berth.db").display());
        let options = DbOptions { access, ..DbOptions::default() };
        let db = Db::open_with(&url, options).await.expect("open");
        (folder, db)
    }

    #[tokio::test]
    async fn remembers_until_it_changes() {
        let (_folder, db) = database(Access::SoleWriter).await;
        let memory = Memory::new(db.clone(), 1 << 20, Duration::ZERO);
        let now = || memory.stamp(Subject::AccessKey("a"));
        let before = now();
        memory.put("a", before, 1, 10);
        assert_eq!(memory.get("a", now()), Some(1));
        let mut session = db.begin().await.expect("begin");
        session.touch(Change::AccessKey("a"));
        assert_eq!(memory.get("a", now()), Some(1), "not before the commit");
        session.commit().await.expect("commit");
        assert_eq!(memory.get("a", now()), None);
        memory.put("a", before, 2, 10);
        assert_eq!(memory.get("a", now()), None, "read before the change");
        memory.put("a", now(), 3, 10);
        assert_eq!(memory.get("a", now()), Some(3));
        db.close().await;
        assert_eq!(memory.get("a", now()), None, "others may write now");
    }

    #[tokio::test]
    async fn elsewhere_it_is_not_older_than_allowed() {
        let (_folder, db) = database(Access::Shared).await;
        for (stale, expected) in [(Duration::ZERO, None), (Duration::from_secs(3600), Some(1))] {
            let memory = Memory::new(db.clone(), 1 << 20, stale);
            let stamp = memory.stamp(Subject::Instances);
            memory.put("a", stamp, 1, 10);
            assert_eq!(memory.get("a", stamp), expected);
        }
    }

    #[tokio::test]
    async fn stays_within_its_bound_and_keeps_what_is_used() {
        let (_folder, db) = database(Access::SoleWriter).await;
        let bytes = 64 << 10;
        let memory = Memory::new(db, bytes, Duration::ZERO);
        let stamp = memory.stamp(Subject::Instances);
        memory.put("used", stamp, 0, 100);
        for number in 0..10_000 {
            memory.put(&format!("key {number}"), stamp, number, 100);
            assert_eq!(memory.get("used", stamp), Some(0), "{number}");
        }
        let weigh = |shard: &Mutex<Shard<i32>>| {
            let shard = shard.lock().expect("lock");
            shard.young.values().chain(shard.old.values()).map(|entry| entry.weight).sum::<usize>()
        };
        let total: usize = memory.shards.iter().map(weigh).sum();
        assert!(total <= bytes && total > bytes / 4, "{total}");
        assert_eq!(memory.get("key 9999", stamp), Some(9999));
        assert_eq!(memory.get("key 0", stamp), None);
        memory.put("huge", stamp, 1, bytes);
        assert_eq!(memory.get("huge", stamp), None);
        for number in 0..1000 {
            memory.put("same", stamp, number, 100);
        }
        let total: usize = memory.shards.iter().map(weigh).sum();
        assert!(total <= bytes, "{total}");
        assert_eq!(memory.get("same", stamp), Some(999));
    }
}
