//! Which nonces were seen: a signed request is accepted once.

use std::collections::hash_map::RandomState;
use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

use berth_types::Millis;

/// How long a nonce is remembered: longer than the whole window of accepted dates.
const RETENTION: Millis = 31 * 60_000;
const BUCKET: Millis = 60_000;
const DEFAULT_CAPACITY: usize = 8_000_000;

/// What became of a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonceOutcome {
    /// Never seen with this access key; it is now.
    Fresh,
    /// Seen before.
    Used,
    /// As many nonces as memory was set aside for could still be replayed.
    Full,
}

/// The nonces of the last 31 minutes, per access key, in bounded memory (8 to 16 bytes each, as
/// keyed hashes). When it is full, the oldest minutes whose requests have expired anyway are
/// forgotten early; nothing that could be replayed ever is.
#[derive(Debug)]
pub struct NonceCache {
    hasher: RandomState,
    capacity: usize,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    buckets: VecDeque<Bucket>,
    len: usize,
}

#[derive(Debug)]
struct Bucket {
    starts_at: Millis,
    /// The last moment at which any request of this bucket would still be accepted by its date.
    replayable_until: Millis,
    hashes: HashSet<u64>,
}

impl Default for NonceCache {
    fn default() -> Self {
        Self::with_capacity(DEFAULT_CAPACITY)
    }
}

impl NonceCache {
    /// A cache of at most so many nonces.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { hasher: RandomState::new(), capacity, seen: Mutex::new(Seen::default()) }
    }

    /// Uses the nonce up. `replayable_until` is the time at which the date of the request expires.
    pub fn consume(
        &self,
        access_key_id: &str,
        nonce: &str,
        now: Millis,
        replayable_until: Millis,
    ) -> NonceOutcome {
        let hash = self.hasher.hash_one((access_key_id, nonce));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.forget(|bucket| bucket.starts_at + BUCKET + RETENTION < now);
        if seen.buckets.iter().rev().any(|bucket| bucket.hashes.contains(&hash)) {
            return NonceOutcome::Used;
        }
        if seen.len >= self.capacity {
            seen.forget(|bucket| bucket.replayable_until < now);
            if seen.len >= self.capacity {
                return NonceOutcome::Full;
            }
        }
        seen.insert(hash, now, replayable_until);
        NonceOutcome::Fresh
    }
}

impl Seen {
    /// Drops the oldest buckets as long as they are dead.
    fn forget(&mut self, dead: impl Fn(&Bucket) -> bool) {
        while let Some(bucket) = self.buckets.pop_front_if(|bucket| dead(bucket)) {
            self.len -= bucket.hashes.len();
        }
    }

    fn insert(&mut self, hash: u64, now: Millis, replayable_until: Millis) {
        let current = self.buckets.back().is_some_and(|bucket| now < bucket.starts_at + BUCKET);
        if !current {
            let bucket = Bucket { starts_at: now, replayable_until, hashes: HashSet::new() };
            self.buckets.push_back(bucket);
        }
        if let Some(bucket) = self.buckets.back_mut() {
            bucket.replayable_until = bucket.replayable_until.max(replayable_until);
            bucket.hashes.insert(hash);
            self.len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Millis = 60_000;

    #[test]
    fn a_nonce_is_used_once_per_key() {
        let cache = NonceCache::default();
        let consume = |key, nonce, at| cache.consume(key, nonce, at, at + 15 * MINUTE);
        assert_eq!(consume("a", "n", 0), NonceOutcome::Fresh);
        assert_eq!(consume("a", "n", 1), NonceOutcome::Used);
        assert_eq!(consume("b", "n", 2), NonceOutcome::Fresh);
        assert_eq!(consume("a", "n", 31 * MINUTE), NonceOutcome::Used);
        assert_eq!(consume("a", "n", 33 * MINUTE), NonceOutcome::Fresh);
    }

    #[test]
    fn a_full_cache_forgets_only_what_cannot_be_replayed() {
        let cache = NonceCache::with_capacity(2);
        assert_eq!(cache.consume("a", "1", 0, 15 * MINUTE), NonceOutcome::Fresh);
        assert_eq!(cache.consume("a", "2", 2 * MINUTE, 17 * MINUTE), NonceOutcome::Fresh);
        assert_eq!(cache.consume("a", "3", 3 * MINUTE, 18 * MINUTE), NonceOutcome::Full);
        assert_eq!(cache.consume("a", "3", 16 * MINUTE, 31 * MINUTE), NonceOutcome::Fresh);
        assert_eq!(cache.consume("a", "2", 16 * MINUTE, 31 * MINUTE), NonceOutcome::Used);
    }
}
