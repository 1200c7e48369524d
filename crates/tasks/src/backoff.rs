//! How long to wait before the next attempt.

use std::time::Duration;

use rand::Rng as _;

/// `base` doubled with every attempt up to `most`, of which a random part between half and the
/// whole is taken so that tasks that failed together do not return together.
pub(crate) fn delay(base: Duration, most: Duration, attempt: i64) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1).clamp(0, 20)).unwrap_or(20);
    let whole = base.saturating_mul(1 << doublings).min(most);
    whole.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_stays_within_bounds() {
        let (base, most) = (Duration::from_secs(1), Duration::from_secs(60));
        for (attempt, whole) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (i64::MAX, 60)] {
            let whole = Duration::from_secs(whole);
            for _ in 0..100 {
                let delay = delay(base, most, attempt);
                assert!(delay >= whole / 2 && delay <= whole, "{attempt}: {delay:?}");
            }
        }
    }
}
