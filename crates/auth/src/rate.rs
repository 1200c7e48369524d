//! How often somebody may ask: one allowance per key, in bounded memory.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, MonotonicClock};
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use moka::sync::Cache;

/// Allowances that are remembered. Beyond it the ones that ask least are forgotten first, so that
/// many one-time callers cannot push out the few that ask all the time.
const REMEMBERED: u64 = 65_536;

/// A steady rate and how much of it may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    pub per_second: NonZeroU32,
    pub burst: NonZeroU32,
}

impl RateLimit {
    /// A rate of zero is no limit; a burst of zero is two seconds' worth.
    pub fn new(per_second: u32, burst: u32) -> Option<Self> {
        let per_second = NonZeroU32::new(per_second)?;
        let burst = NonZeroU32::new(burst).unwrap_or(per_second.saturating_mul(TWO));
        Some(Self { per_second, burst })
    }
}

const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();

/// A refusal: the caller may ask again after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests; ask again in {} s", self.seconds())]
pub struct Throttled {
    pub retry_after: Duration,
}

impl Throttled {
    /// The value of `Retry-After`: whole seconds, at least one.
    pub fn seconds(&self) -> u64 {
        let whole = self.retry_after.as_secs();
        let partly = u64::from(self.retry_after.subsec_nanos() > 0);
        whole.saturating_add(partly).max(1)
    }
}

/// The allowances of all keys.
pub struct Rates<K: Clone + Hash + Eq + Send + Sync + 'static> {
    limiter: RateLimiter<K, Remembered<K>, MonotonicClock>,
}

impl<K: Clone + Hash + Eq + Send + Sync + 'static> Rates<K> {
    pub fn new(limit: RateLimit) -> Self {
        let quota = Quota::per_second(limit.per_second).allow_burst(limit.burst);
        // An allowance that has filled up again is the same as none.
        let idle = quota.burst_size_replenished_in().saturating_add(Duration::from_secs(1));
        let states = Cache::builder().max_capacity(REMEMBERED).time_to_idle(idle).build();
        Self { limiter: RateLimiter::new(quota, Remembered(states), MonotonicClock) }
    }

    /// Takes one from the key's allowance.
    ///
    /// # Errors
    /// [`Throttled`] when nothing is left of it.
    pub fn take(&self, key: &K) -> Result<(), Throttled> {
        self.limiter.check_key(key).map_err(|until| Throttled {
            retry_after: until.wait_time_from(self.limiter.clock().now()),
        })
    }
}

struct Remembered<K>(Cache<K, Arc<InMemoryState>>);

impl<K: Clone + Hash + Eq + Send + Sync + 'static> StateStore for Remembered<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, change: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let state = self.0.get_with_by_ref(key, Arc::default);
        state.measure_and_replace(&NotKeyed::NonKey, change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_given_and_then_the_rate() {
        assert_eq!(RateLimit::new(0, 5), None);
        let limit = RateLimit::new(1, 3).expect("limit");
        let rates = Rates::new(limit);
        for _ in 0..3 {
            rates.take(&"a").expect("within the burst");
        }
        let refused = (0..1000).find_map(|_| rates.take(&"a").err()).expect("beyond the burst");
        assert_eq!(refused.seconds(), 1);
        rates.take(&"b").expect("another key has its own allowance");
        assert_eq!(RateLimit::new(5, 0).expect("limit").burst.get(), 10);
    }

    #[test]
    fn retry_after_is_rounded_up() {
        let seconds =
            |milliseconds| Throttled { retry_after: Duration::from_millis(milliseconds) }.seconds();
        assert_eq!([seconds(0), seconds(1), seconds(1000), seconds(1001)], [1, 1, 1, 2]);
    }

    #[test]
    fn memory_stays_bounded() {
        let rates = Rates::new(RateLimit::new(1, 1).expect("limit"));
        for key in 0..REMEMBERED * 2 {
            rates.take(&key).expect("first");
        }
        let states = rates.limiter.into_state_store().0;
        states.run_pending_tasks();
        assert!(states.entry_count() <= REMEMBERED);
    }
}
