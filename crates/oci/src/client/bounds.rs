//! What one upstream may cost: bytes, pages, time.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::time::{Instant, timeout};

use super::ClientError;

/// A body as it arrives.
pub(crate) type Body = BoxStream<'static, Result<Bytes, ClientError>>;

/// The bounds of every conversation with one upstream. What exceeds one ends with an error that
/// names the key of the configuration.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Bytes of one list of tags, over all its pages.
    pub list_size: u64,
    /// Tags of one list.
    pub list_tags: usize,
    /// Pages of one list.
    pub list_pages: usize,
    /// Time in which a list must be there, pauses included.
    pub list_time: Duration,
    /// Time in which the body of an answer that is no blob must be there: a manifest, a token, a
    /// page of a list.
    pub document_time: Duration,
    /// Bytes per second that a blob must at least bring over each `rate_window` that was spent on
    /// waiting for it. 0: none.
    pub minimum_rate: u64,
    pub rate_window: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            list_size: 16 * 1024 * 1024,
            list_tags: 500_000,
            list_pages: 2_000,
            list_time: Duration::from_secs(600),
            document_time: Duration::from_secs(120),
            minimum_rate: 1024,
            rate_window: Duration::from_secs(30),
        }
    }
}

impl Bounds {
    /// Holds a body to the least rate. Only time in which nothing was there to be read counts, so
    /// a slow reader is not taken for a slow source.
    pub(crate) fn paced(&self, what: &str, body: Body) -> Body {
        if self.minimum_rate == 0 || self.rate_window.is_zero() {
            return body;
        }
        let window = u64::try_from(self.rate_window.as_millis()).unwrap_or(u64::MAX);
        let least = self.minimum_rate.saturating_mul(window) / 1000;
        let reason = format!(
            "the source sends less than {} bytes a second (upstream.minimum_rate)",
            self.minimum_rate
        );
        let slow = ClientError::TooSlow { what: what.to_owned(), reason };
        let pace = Pace {
            body,
            window: self.rate_window,
            least,
            waited: Duration::ZERO,
            arrived: 0,
            slow,
        };
        stream::try_unfold(pace, |mut pace| async move {
            Ok(pace.next().await?.map(|chunk| (chunk, pace)))
        })
        .boxed()
    }
}

struct Pace {
    body: Body,
    window: Duration,
    /// Bytes that a window must bring.
    least: u64,
    /// In this window.
    waited: Duration,
    arrived: u64,
    slow: ClientError,
}

impl Pace {
    async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let start = Instant::now();
            let left = self.window.saturating_sub(self.waited);
            let next = timeout(left, self.body.next()).await;
            self.waited += start.elapsed();
            let chunk = match next {
                Ok(Some(chunk)) => Some(chunk?),
                Ok(None) => return Ok(None),
                Err(_) => None,
            };
            self.arrived += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
            if self.waited >= self.window {
                if self.arrived < self.least {
                    return Err(self.slow.clone());
                }
                (self.waited, self.arrived) = (Duration::ZERO, 0);
            }
            if chunk.is_some() {
                return Ok(chunk);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt as _;

    const BOUNDS: Bounds = Bounds {
        list_size: 0,
        list_tags: 0,
        list_pages: 0,
        list_time: Duration::ZERO,
        document_time: Duration::ZERO,
        minimum_rate: 1000,
        rate_window: Duration::from_millis(300),
    };

    fn every(pause: Duration, size: usize, count: usize) -> Body {
        stream::iter(0..count)
            .then(move |_| async move {
                tokio::time::sleep(pause).await;
                Ok(Bytes::from(vec![0; size]))
            })
            .boxed()
    }

    #[tokio::test]
    async fn a_trickle_ends_after_a_window() {
        let trickle = every(Duration::from_millis(20), 1, 1_000_000);
        let read: Result<Vec<Bytes>, _> = BOUNDS.paced("blob", trickle).try_collect().await;
        assert!(matches!(read, Err(ClientError::TooSlow { .. })), "{read:?}");
    }

    #[tokio::test]
    async fn silence_ends_after_a_window() {
        let silence = every(Duration::from_secs(3600), 1, 1);
        let read: Result<Vec<Bytes>, _> = BOUNDS.paced("blob", silence).try_collect().await;
        assert!(matches!(read, Err(ClientError::TooSlow { .. })), "{read:?}");
    }

    #[tokio::test]
    async fn what_keeps_the_rate_passes_however_long_it_takes() {
        let steady = every(Duration::from_millis(20), 1000, 50);
        let read: Result<Vec<Bytes>, _> = BOUNDS.paced("blob", steady).try_collect().await;
        assert_eq!(read.map(|chunks| chunks.len()), Ok(50));
    }

    #[tokio::test]
    async fn a_slow_reader_is_not_a_slow_source() {
        let body = stream::iter((0..10).map(|_| Ok(Bytes::from_static(b"x")))).boxed();
        let mut paced = BOUNDS.paced("blob", body);
        let mut chunks = 0;
        while let Some(chunk) = paced.next().await {
            chunk.expect("no reader is too slow");
            tokio::time::sleep(Duration::from_millis(100)).await;
            chunks += 1;
        }
        assert_eq!(chunks, 10);
    }
}
