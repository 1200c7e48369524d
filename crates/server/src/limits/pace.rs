//! How long the other side may let the server wait.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// What is asked of the other side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PaceRule {
    /// The longest silence, and the time over which the rate is looked at. Zero: no rule.
    pub(crate) timeout: Duration,
    /// Bytes per second.
    pub(crate) rate: u64,
}

/// How the rule was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooSlow {
    /// Nothing came.
    Silent,
    /// Something came, but hardly anything.
    Dripping,
}

/// Watches one direction. Only the time in which the server waits counts, never its own; as long as
/// bytes move without waiting this costs an addition.
#[derive(Debug)]
pub(crate) struct Pace {
    rule: PaceRule,
    /// Since when it waits.
    waiting_since: Option<Instant>,
    /// From when this wait counts for the present window.
    counted_from: Option<Instant>,
    /// Waited in the present window, before this wait.
    waited: Duration,
    /// Bytes in the present window.
    moved: u64,
    /// Fires at the next moment to look, or earlier.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(crate) fn new(rule: PaceRule) -> Self {
        Self {
            rule,
            waiting_since: None,
            counted_from: None,
            waited: Duration::ZERO,
            moved: 0,
            timer: None,
        }
    }

    /// Bytes moved.
    pub(crate) fn moved(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.waiting_since = None;
        if let Some(from) = self.counted_from.take() {
            self.waited = self.waited.saturating_add(from.elapsed());
        }
    }

    /// The server has to wait; ready when the other side has let it wait for too long.
    pub(crate) fn poll_waiting(&mut self, context: &mut Context<'_>) -> Poll<TooSlow> {
        let timeout = self.rule.timeout;
        if timeout.is_zero() {
            return Poll::Pending;
        }
        let now = Instant::now();
        let since = *self.waiting_since.get_or_insert(now);
        if now.duration_since(since) >= timeout {
            return Poll::Ready(TooSlow::Silent);
        }
        let from = *self.counted_from.get_or_insert(now);
        let mut left = timeout.saturating_sub(self.waited + now.duration_since(from));
        if left.is_zero() {
            if self.moved < self.least() {
                return Poll::Ready(TooSlow::Dripping);
            }
            (self.waited, self.moved, self.counted_from) = (Duration::ZERO, 0, Some(now));
            left = timeout;
        }
        let deadline = (since + timeout).min(now + left);
        // The deadline only moves away, so a timer that is set is never too late.
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        while timer.as_mut().poll(context).is_ready() {
            timer.as_mut().reset(deadline.max(Instant::now() + Duration::from_millis(1)));
        }
        Poll::Pending
    }

    /// Bytes that a window must have.
    fn least(&self) -> u64 {
        let milliseconds = u64::try_from(self.rule.timeout.as_millis()).unwrap_or(u64::MAX);
        self.rule.rate.saturating_mul(milliseconds) / 1000
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{advance, sleep, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace() -> Pace {
        Pace::new(PaceRule { timeout: 10 * SECOND, rate: 100 })
    }

    /// Waits for so long, or until the pace is too slow.
    async fn wait(pace: &mut Pace, time: Duration) -> Option<TooSlow> {
        timeout(time, poll_fn(|context| pace.poll_waiting(context))).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it() {
        let mut pace = pace();
        assert_eq!(wait(&mut pace, 9 * SECOND).await, None);
        pace.moved(5000);
        let begun = Instant::now();
        assert_eq!(wait(&mut pace, 60 * SECOND).await, Some(TooSlow::Silent));
        assert_eq!(begun.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn dripping_ends_it() {
        let mut pace = pace();
        let mut seconds = 0;
        let end = loop {
            if let Some(slow) = wait(&mut pace, SECOND).await {
                break slow;
            }
            pace.moved(1);
            seconds += 1;
            assert!(seconds < 60);
        };
        assert_eq!(end, TooSlow::Dripping);
        assert!((9..=11).contains(&seconds), "{seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_least_rate_may_go_on_for_ever() {
        let mut pace = pace();
        for _ in 0..600 {
            assert_eq!(wait(&mut pace, SECOND).await, None);
            // A window may hold one piece less than it has seconds.
            pace.moved(112);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_servers_own_time_does_not_count() {
        let mut pace = pace();
        for _ in 0..20 {
            assert_eq!(wait(&mut pace, SECOND / 10).await, None);
            pace.moved(1);
            advance(60 * SECOND).await;
        }
        sleep(3600 * SECOND).await;
        assert_eq!(wait(&mut pace, SECOND).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn no_rule_is_no_rule() {
        let mut pace = Pace::new(PaceRule { timeout: Duration::ZERO, rate: 100 });
        assert_eq!(wait(&mut pace, 3600 * SECOND).await, None);
    }
}
