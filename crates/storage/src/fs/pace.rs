//! Whether the page cache takes writes at once.
//!
//! Writing where the bytes were just received and hashed finds them in the processor's cache and
//! wakes nobody: a tenth of what a push costs. But a write into the page cache waits when the disk
//! is far behind, and who waits there must not be a thread that others need. So writes are made in
//! place for as long as they are quick; a slow one sends those that follow to threads of their own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A portion that takes longer has waited for the disk: the copy takes a tenth of a millisecond.
const SLOW: Duration = Duration::from_millis(10);

/// Bytes of a portion at most; more are never written in place.
const PORTION: usize = 1 << 20;

/// How long writes are made elsewhere after a slow one.
const CAUTION: Duration = Duration::from_secs(2);

/// What the writers of a store know of its disk.
pub(super) struct Pace {
    since: Instant,
    /// Milliseconds after `since` until which the disk counts as slow.
    slow_until: AtomicU64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { since: Instant::now(), slow_until: AtomicU64::new(0) }
    }
}

impl Pace {
    /// Whether a write of so many bytes is expected to wait for nothing.
    pub(super) fn is_quick(&self, bytes: usize) -> bool {
        bytes <= PORTION
            && self.milliseconds(Instant::now()) >= self.slow_until.load(Ordering::Relaxed)
    }

    /// Makes a write of so many bytes and remembers when it was slow.
    pub(super) fn of<T>(&self, bytes: usize, write: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let done = write();
        let end = Instant::now();
        if bytes <= PORTION && end - begin > SLOW {
            self.slow_until.fetch_max(self.milliseconds(end + CAUTION), Ordering::Relaxed);
        }
        done
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from((at - self.since).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_write_is_remembered_for_a_while() {
        let mut pace = Pace::default();
        assert!(pace.is_quick(PORTION) && !pace.is_quick(PORTION + 1));
        pace.of(PORTION + 1, || std::thread::sleep(SLOW * 2));
        assert!(pace.is_quick(1), "much takes long on any disk");
        pace.of(PORTION, || std::thread::sleep(SLOW * 2));
        assert!(!pace.is_quick(1));
        pace.since = pace.since.checked_sub(CAUTION + SLOW).expect("a moment ago");
        assert!(pace.is_quick(1));
    }
}
