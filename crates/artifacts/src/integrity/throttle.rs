//! Reading no faster than told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// What was not read in time is not made up for by reading faster later, beyond this.
const SLACK: Duration = Duration::from_secs(1);

/// Lets so many bytes pass in a second.
pub struct Throttle {
    /// Bytes a second; 0 is without limit.
    rate: u64,
    /// When everything that passed should have passed.
    due: Instant,
    passed: Arc<AtomicU64>,
}

impl Throttle {
    pub fn new(rate: u64) -> Self {
        Self { rate, due: Instant::now(), passed: Arc::default() }
    }

    /// How many bytes have passed, for whoever wants to see that they do.
    pub fn passed(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.passed)
    }

    pub(crate) fn open() -> Self {
        Self::new(0)
    }

    /// Returns when so many bytes more may be read.
    pub async fn pass(&mut self, bytes: u64) {
        self.passed.fetch_add(bytes, Ordering::Relaxed);
        if let Some(due) = self.after(Instant::now(), bytes) {
            tokio::time::sleep_until(due).await;
        }
    }

    /// When so many bytes have passed that are let in now.
    fn after(&mut self, now: Instant, bytes: u64) -> Option<Instant> {
        if self.rate == 0 {
            return None;
        }
        if let Some(earliest) = now.checked_sub(SLACK) {
            self.due = self.due.max(earliest);
        }
        let micros = u128::from(bytes) * 1_000_000 / u128::from(self.rate);
        self.due += Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        Some(self.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_rate() {
        let mut throttle = Throttle::new(1_000);
        let start = throttle.due;
        for _ in 0..9 {
            throttle.after(start, 500);
        }
        assert_eq!(throttle.after(start, 500), Some(start + Duration::from_secs(5)));
        // A pause earns a second, no more.
        let later = start + Duration::from_secs(60);
        assert_eq!(throttle.after(later, 5_000), Some(later + Duration::from_secs(4)));
        assert_eq!(Throttle::open().after(start, u64::MAX), None);
    }
}
