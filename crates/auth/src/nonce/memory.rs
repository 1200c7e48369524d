//! Nonces in bounded memory.

use std::collections::{HashSet, VecDeque};

use berth_types::Millis;

/// How long a nonce is remembered: longer than the whole window of accepted dates.
const RETENTION: Millis = 31 * 60_000;
const BUCKET: Millis = 60_000;
const CAPACITY: usize = 8_000_000;

/// What became of a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Never seen; it is now.
    Fresh,
    /// Seen before.
    Used,
    /// As many nonces as memory was set aside for could still be replayed.
    Full,
}

/// The nonces of the last 31 minutes as hashes (8 to 16 bytes each). When there are too many, the
/// oldest minutes whose requests have expired anyway are forgotten early; nothing that could be
/// replayed ever is.
#[derive(Debug)]
pub(super) struct Seen {
    capacity: usize,
    buckets: VecDeque<Bucket>,
    len: usize,
}

#[derive(Debug)]
struct Bucket {
    starts_at: Millis,
    /// The last moment at which any request of this bucket would still be accepted by its date.
    expires_at: Millis,
    hashes: HashSet<i64>,
}

impl Default for Seen {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl Seen {
    /// At most so many nonces.
    fn with_capacity(capacity: usize) -> Self {
        Self { capacity, buckets: VecDeque::new(), len: 0 }
    }

    /// Uses the nonce up. `expires_at` is when the date of the request expires.
    pub(super) fn consume(&mut self, hash: i64, now: Millis, expires_at: Millis) -> Outcome {
        self.forget(|bucket| bucket.starts_at + BUCKET + RETENTION < now);
        if self.buckets.iter().rev().any(|bucket| bucket.hashes.contains(&hash)) {
            return Outcome::Used;
        }
        if self.len >= self.capacity {
            self.forget(|bucket| bucket.expires_at < now);
            if self.len >= self.capacity {
                return Outcome::Full;
            }
        }
        self.insert(hash, now, expires_at);
        Outcome::Fresh
    }

    /// Drops the oldest buckets as long as they are dead.
    fn forget(&mut self, dead: impl Fn(&Bucket) -> bool) {
        while let Some(bucket) = self.buckets.pop_front_if(|bucket| dead(bucket)) {
            self.len -= bucket.hashes.len();
        }
    }

    pub(super) fn insert(&mut self, hash: i64, now: Millis, expires_at: Millis) {
        let current = self.buckets.back().is_some_and(|bucket| now < bucket.starts_at + BUCKET);
        if !current {
            let bucket = Bucket { starts_at: now, expires_at, hashes: HashSet::new() };
            self.buckets.push_back(bucket);
        }
        if let Some(bucket) = self.buckets.back_mut() {
            bucket.expires_at = bucket.expires_at.max(expires_at);
            self.len += usize::from(bucket.hashes.insert(hash));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Millis = 60_000;

    #[test]
    fn a_nonce_is_used_once() {
        let mut seen = Seen::default();
        let mut consume = |hash, at| seen.consume(hash, at, at + 15 * MINUTE);
        assert_eq!(consume(1, 0), Outcome::Fresh);
        assert_eq!(consume(1, 1), Outcome::Used);
        assert_eq!(consume(2, 2), Outcome::Fresh);
        assert_eq!(consume(1, 31 * MINUTE), Outcome::Used);
        assert_eq!(consume(1, 33 * MINUTE), Outcome::Fresh);
    }

    #[test]
    fn when_full_only_what_cannot_be_replayed_is_forgotten() {
        let mut seen = Seen::with_capacity(2);
        assert_eq!(seen.consume(1, 0, 15 * MINUTE), Outcome::Fresh);
        assert_eq!(seen.consume(2, 2 * MINUTE, 17 * MINUTE), Outcome::Fresh);
        assert_eq!(seen.consume(3, 3 * MINUTE, 18 * MINUTE), Outcome::Full);
        assert_eq!(seen.consume(3, 16 * MINUTE, 31 * MINUTE), Outcome::Fresh);
        assert_eq!(seen.consume(2, 16 * MINUTE, 31 * MINUTE), Outcome::Used);
    }
}
