//! The body of a request: counted, and ended when it comes too slowly.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};

use super::pace::{Pace, PaceRule, TooSlow};
use super::refusal::count;

/// How the reading of a body stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Bytes may still come.
    Unfinished,
    Finished,
    /// The client was too slow.
    TimedOut,
}

/// Shared by the body, which the handler has, and the middleware around the handler.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    bytes: AtomicU64,
    state: AtomicU8,
}

impl Intake {
    /// Bytes that were read.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn reading(&self) -> Reading {
        match self.state.load(Ordering::Relaxed) {
            0 => Reading::Unfinished,
            1 => Reading::Finished,
            _ => Reading::TimedOut,
        }
    }

    fn set(&self, reading: Reading) {
        let state = match reading {
            Reading::Unfinished => 0,
            Reading::Finished => 1,
            Reading::TimedOut => 2,
        };
        self.state.store(state, Ordering::Relaxed);
    }
}

#[derive(Debug, thiserror::Error)]
enum SlowBody {
    #[error("nothing came for {0} s")]
    Silent(u64),
    #[error("fewer than {0} bytes per second came")]
    Dripping(u64),
}

/// Watches a body that is not empty.
pub(crate) fn watch(body: Body, rule: PaceRule) -> (Body, Option<Arc<Intake>>) {
    if body.is_end_stream() {
        return (body, None);
    }
    let intake = Arc::new(Intake::default());
    let watched = Watched { body, intake: Arc::clone(&intake), rule, pace: Pace::new(rule) };
    (Body::new(watched), Some(intake))
}

struct Watched {
    body: Body,
    intake: Arc<Intake>,
    rule: PaceRule,
    pace: Pace,
}

impl Watched {
    fn give_up(&self, slow: TooSlow) -> axum::Error {
        self.intake.set(Reading::TimedOut);
        axum::Error::new(match slow {
            TooSlow::Silent => {
                count("body_silent");
                SlowBody::Silent(self.rule.timeout.as_secs())
            }
            TooSlow::Dripping => {
                count("body_slow");
                SlowBody::Dripping(self.rule.rate)
            }
        })
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.pace.moved(data.len());
                    let length = u64::try_from(data.len()).unwrap_or(0);
                    self.intake.bytes.fetch_add(length, Ordering::Relaxed);
                }
                if self.body.is_end_stream() {
                    self.intake.set(Reading::Finished);
                }
            }
            // A body that broke ends the connection; there is nobody to read for.
            Poll::Ready(_) => self.intake.set(Reading::Finished),
            Poll::Pending => {
                if let Poll::Ready(slow) = self.pace.poll_waiting(context) {
                    return Poll::Ready(Some(Err(self.give_up(slow))));
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::StreamExt as _;
    use futures::stream;
    use http_body_util::BodyExt as _;

    use super::*;

    const RULE: PaceRule = PaceRule { timeout: Duration::from_secs(10), rate: 1 };

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_ends_with_an_error() {
        let chunk = stream::iter([Ok::<_, std::io::Error>("some")]);
        let body = Body::from_stream(chunk.chain(stream::pending()));
        let (body, intake) = watch(body, RULE);
        let intake = intake.expect("a body");
        assert_eq!(intake.reading(), Reading::Unfinished);
        let error = body.collect().await.expect_err("too slow").to_string();
        assert_eq!(error, "nothing came for 10 s");
        assert_eq!((intake.bytes(), intake.reading()), (4, Reading::TimedOut));
    }

    #[tokio::test]
    async fn a_whole_body_is_counted() {
        let (body, intake) = watch(Body::from("whole"), RULE);
        let intake = intake.expect("a body");
        body.collect().await.expect("whole");
        assert_eq!((intake.bytes(), intake.reading()), (5, Reading::Finished));
        assert!(watch(Body::empty(), RULE).1.is_none());
    }
}
