//! Reading no faster than told.

use std::time::Duration;

use tokio::time::Instant;

/// What was not read in time is not made up for by reading faster later, beyond this.
const SLACK: Duration = Duration::from_secs(1);

/// Lets so many bytes pass in a second.
pub(crate) struct Throttle {
    /// Bytes a second; 0 is without limit.
    rate: u64,
    /// When everything that passed should have passed.
    due: Instant,
}

impl Throttle {
    pub(crate) fn new(rate: u64) -> Self {
        Self { rate, due: Instant::now() }
    }

    pub(crate) fn open() -> Self {
        Self::new(0)
    }

    /// Returns when so many bytes more may be read.
    pub(crate) async fn pass(&mut self, bytes: u64) {
        if self.rate == 0 {
            return;
        }
        let now = Instant::now();
        if let Some(earliest) = now.checked_sub(SLACK) {
            self.due = self.due.max(earliest);
        }
        let micros = u128::from(bytes) * 1_000_000 / u128::from(self.rate);
        self.due += Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        tokio::time::sleep_until(self.due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn keeps_its_rate() {
        let start = Instant::now();
        let mut throttle = Throttle::new(1_000);
        for _ in 0..10 {
            throttle.pass(500).await;
        }
        assert_eq!(start.elapsed().as_secs(), 5);
        // A pause earns a second, no more.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        throttle.pass(5_000).await;
        assert_eq!(start.elapsed().as_secs(), 4);

        let start = Instant::now();
        Throttle::open().pass(u64::MAX).await;
        assert!(start.elapsed().is_zero());
    }
}
