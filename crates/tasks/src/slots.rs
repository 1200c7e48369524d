//! The slots of a runner: a slot is taken until nothing of its attempt is left, threads included.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::claim::ShareKey;

/// Shares that are remembered to be slow, and for how long.
const REMEMBERED: usize = 10_000;
const REMEMBERED_FOR: Duration = Duration::from_secs(3600);

/// How many slots there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) workers: usize,
    /// Slots that open beside them, one for each attempt that is slow.
    pub(crate) spare: usize,
    /// An attempt that runs for longer is slow.
    pub(crate) slow_after: Duration,
}

/// The slots of one runner.
pub(crate) struct Slots {
    queue: &'static str,
    sizes: Sizes,
    table: Mutex<Table>,
    freed: Notify,
}

#[derive(Default)]
struct Table {
    next: u64,
    taken: HashMap<u64, Taken>,
    slow: HashMap<ShareKey, Instant>,
}

struct Taken {
    share: ShareKey,
    since: Instant,
    /// Its attempt is over, and something of it still runs.
    is_stuck: bool,
}

/// What can be claimed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Free {
    pub(crate) slots: usize,
    /// Whether the last of them is for shares that are not slow: always, unless it is the only one
    /// and nothing runs.
    pub(crate) guard_last: bool,
    pub(crate) slow: BTreeSet<ShareKey>,
    /// When the next attempt becomes slow.
    pub(crate) changes_in: Option<Duration>,
}

impl Slots {
    pub(crate) fn new(queue: &'static str, sizes: Sizes) -> Arc<Self> {
        Arc::new(Self { queue, sizes, table: Mutex::default(), freed: Notify::new() })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot for an attempt of the share.
    pub(crate) fn take(self: &Arc<Self>, share: ShareKey) -> Arc<Slot> {
        let mut table = self.table();
        let id = table.next;
        table.next += 1;
        table.taken.insert(id, Taken { share, since: Instant::now(), is_stuck: false });
        self.measure(&table);
        drop(table);
        Arc::new(Slot { slots: Arc::clone(self), id })
    }

    pub(crate) fn free(&self) -> Free {
        let mut table = self.table();
        let after = self.sizes.slow_after;
        table.slow.retain(|_, since| since.elapsed() < REMEMBERED_FOR);
        let mut slow: BTreeSet<ShareKey> = table.slow.keys().cloned().collect();
        let (mut slow_slots, mut changes_in) = (0, None);
        for taken in table.taken.values() {
            let runs_for = taken.since.elapsed();
            if runs_for >= after {
                slow_slots += 1;
                slow.insert(taken.share.clone());
            } else {
                let left = after - runs_for;
                changes_in = Some(changes_in.map_or(left, |soonest: Duration| soonest.min(left)));
            }
        }
        let all = self.sizes.workers + self.sizes.spare.min(slow_slots);
        let slots = all.saturating_sub(table.taken.len());
        let guard_last = all > 1 || !table.taken.is_empty();
        Free { slots, guard_last, slow, changes_in }
    }

    /// Returns when a slot may have become free.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }

    fn release(&self, id: u64) {
        let mut table = self.table();
        if let Some(taken) = table.taken.remove(&id) {
            if taken.since.elapsed() < self.sizes.slow_after {
                table.slow.remove(&taken.share);
            } else if table.slow.len() < REMEMBERED {
                table.slow.insert(taken.share, Instant::now());
            }
        }
        self.measure(&table);
        drop(table);
        self.freed.notify_one();
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    fn measure(&self, table: &Table) {
        let stuck = table.taken.values().filter(|taken| taken.is_stuck).count();
        let working = table.taken.len() - stuck;
        for (state, count) in [("working", working), ("stuck", stuck)] {
            metrics::gauge!("berth_task_slots", "queue" => self.queue, "state" => state)
                .set(count as f64);
        }
    }
}

/// A taken slot; free again when the last clone of its `Arc` is dropped.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    id: u64,
}

impl Slot {
    /// The attempt is over, whatever of it still runs.
    pub(crate) fn set_over(&self) {
        let mut table = self.slots.table();
        if let Some(taken) = table.taken.get_mut(&self.id) {
            taken.is_stuck = true;
        }
        self.slots.measure(&table);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.release(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(workers: usize, spare: usize, slow_after: Duration) -> Arc<Slots> {
        Slots::new("test", Sizes { workers, spare, slow_after })
    }

    fn share(name: &str) -> ShareKey {
        ("tenant".to_owned(), name.to_owned())
    }

    #[test]
    fn a_slot_is_taken_until_the_last_thread_lets_go() {
        let slots = slots(1, 0, Duration::from_secs(60));
        let slot = slots.take(share("a"));
        let thread = Arc::clone(&slot);
        slot.set_over();
        drop(slot);
        assert_eq!(slots.free().slots, 0);
        drop(thread);
        assert_eq!(slots.free().slots, 1);
    }

    #[test]
    fn slow_attempts_open_spare_slots_whose_last_is_guarded() {
        let slots = slots(2, 1, Duration::ZERO);
        let _a = slots.take(share("a"));
        let _b = slots.take(share("b"));
        let free = slots.free();
        assert_eq!((free.slots, free.guard_last), (1, true));
        assert!(free.slow.contains(&share("a")));
        let _c = slots.take(share("c"));
        assert_eq!(slots.free().slots, 0);
    }

    #[test]
    fn a_share_that_was_slow_is_remembered_until_it_is_quick() {
        let slow = slots(2, 0, Duration::ZERO);
        drop(slow.take(share("a")));
        assert!(slow.free().slow.contains(&share("a")));
        let quick = slots(2, 0, Duration::from_secs(60));
        quick.table().slow.insert(share("a"), Instant::now());
        drop(quick.take(share("a")));
        assert!(quick.free().slow.is_empty());
    }

    #[test]
    fn the_only_slot_is_for_everybody() {
        let free = slots(1, 0, Duration::ZERO).free();
        assert_eq!((free.slots, free.guard_last), (1, false));
    }
}
