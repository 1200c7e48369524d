//! How fast passwords can be guessed from one address.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use berth_auth::Throttled;
use moka::sync::Cache;
use std::sync::Mutex;

use super::address::Address;

/// Addresses that are remembered, those that guess most.
const REMEMBERED: u64 = 65_536;
const MINUTE: Duration = Duration::from_secs(60);

/// The guesses of all addresses. An address that never failed is not looked at; from its first
/// failure on every attempt takes a guess from its allowance before it is made, and gives it back
/// when the secret was right, so that attempts at the same time are no way around.
pub(crate) struct FailedLogins {
    per_minute: u32,
    suspects: Cache<Address, Arc<Suspect>>,
    /// Whether there ever was a suspect.
    any: AtomicBool,
}

/// An address that gave a wrong secret.
pub(crate) struct Suspect {
    per_minute: f64,
    allowance: Mutex<Allowance>,
}

struct Allowance {
    guesses: f64,
    at: Instant,
}

impl FailedLogins {
    /// Zero is no limit.
    pub(crate) fn new(per_minute: u32) -> Option<Self> {
        let suspects = Cache::builder().max_capacity(REMEMBERED).time_to_idle(MINUTE).build();
        (per_minute > 0).then_some(Self { per_minute, suspects, any: AtomicBool::new(false) })
    }

    /// Before an attempt.
    ///
    /// # Errors
    /// [`Throttled`] when the address has no guess left.
    pub(crate) fn attempt(&self, address: Address) -> Result<Option<Attempt>, Throttled> {
        if !self.any.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let Some(suspect) = self.suspects.get(&address) else { return Ok(None) };
        suspect.take(Instant::now())?;
        Ok(Some(Attempt { suspect }))
    }

    /// After an attempt of an address that was no suspect has failed.
    pub(crate) fn failed(&self, address: Address) {
        self.any.store(true, Ordering::Relaxed);
        let suspect = self.suspects.get_with(address, || Arc::new(Suspect::new(self.per_minute)));
        // More failures at the same time than the allowance holds leave it empty.
        let _ = suspect.take(Instant::now());
    }
}

/// A guess that was taken; it is gone for good unless it is given back.
pub(crate) struct Attempt {
    suspect: Arc<Suspect>,
}

impl Attempt {
    /// The secret was right.
    pub(crate) fn give_back(self) {
        let mut allowance = self.suspect.lock();
        allowance.guesses = (allowance.guesses + 1.0).min(self.suspect.per_minute);
    }
}

impl Suspect {
    fn new(per_minute: u32) -> Self {
        let per_minute = f64::from(per_minute);
        let allowance = Allowance { guesses: per_minute, at: Instant::now() };
        Self { per_minute, allowance: Mutex::new(allowance) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Allowance> {
        self.allowance.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn take(&self, now: Instant) -> Result<(), Throttled> {
        let mut allowance = self.lock();
        let per_second = self.per_minute / MINUTE.as_secs_f64();
        let elapsed = now.saturating_duration_since(allowance.at);
        let filled = allowance.guesses + elapsed.as_secs_f64() * per_second;
        allowance.guesses = filled.min(self.per_minute);
        allowance.at = now;
        if allowance.guesses < 1.0 {
            let missing = (1.0 - allowance.guesses) / per_second;
            return Err(Throttled { retry_after: Duration::from_secs_f64(missing) });
        }
        allowance.guesses -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Address = Address::V4(1);

    #[test]
    fn guesses_run_out_and_come_back() {
        let suspect = Suspect::new(6);
        let begun = Instant::now();
        for _ in 0..6 {
            suspect.take(begun).expect("a guess");
        }
        assert_eq!(suspect.take(begun).expect_err("none left").seconds(), 10);
        suspect.take(begun + Duration::from_secs(10)).expect("one came back");
        suspect.take(begun + Duration::from_secs(10)).expect_err("only one");
        for _ in 0..6 {
            suspect.take(begun + Duration::from_secs(600)).expect("all came back");
        }
        suspect.take(begun + Duration::from_secs(600)).expect_err("no more than all");
    }

    #[test]
    fn right_secrets_cost_nothing() {
        let logins = FailedLogins::new(2).expect("a limit");
        assert!(logins.attempt(HERE).expect("no suspect").is_none());
        logins.failed(HERE);
        for _ in 0..100 {
            let attempt = logins.attempt(HERE).expect("one guess left").expect("a suspect");
            attempt.give_back();
        }
        let wrong = logins.attempt(HERE).expect("one guess left");
        drop(wrong);
        assert!(logins.attempt(HERE).is_err());
        assert!(logins.attempt(Address::V4(2)).expect("another address").is_none());
        assert!(FailedLogins::new(0).is_none());
    }

    #[test]
    fn attempts_at_the_same_time_are_no_way_around() {
        let logins = FailedLogins::new(5).expect("a limit");
        logins.failed(HERE);
        let running: Vec<_> = (0..20).filter_map(|_| logins.attempt(HERE).ok()).collect();
        assert_eq!(running.len(), 4);
    }
}
