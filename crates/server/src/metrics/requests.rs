//! The metrics of requests. Looking one up by its labels costs more than counting, so what was
//! looked up is kept.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock, PoisonError, RwLock};

use metrics::{Counter, Gauge, Histogram};

use super::{IN_FLIGHT, REQUEST_BYTES, REQUEST_DURATION, REQUESTS, RESPONSE_BYTES};

/// Route, method and status: all of them from short lists.
type Labels = (&'static str, &'static str, u16);

/// The metrics of requests that share route, method and status.
pub(crate) struct Counters {
    pub(crate) requests: Counter,
    pub(crate) duration: Histogram,
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
}

/// The metrics of such requests.
pub(crate) fn counters(labels: Labels) -> Arc<Counters> {
    static KEPT: LazyLock<RwLock<HashMap<Labels, Arc<Counters>>>> = LazyLock::new(RwLock::default);
    let kept = KEPT.read().unwrap_or_else(PoisonError::into_inner).get(&labels).cloned();
    kept.unwrap_or_else(|| {
        let mut kept = KEPT.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.entry(labels).or_insert_with(|| Arc::new(Counters::of(labels))))
    })
}

/// Requests being answered.
pub(crate) fn in_flight() -> &'static Gauge {
    static KEPT: OnceLock<Gauge> = OnceLock::new();
    KEPT.get_or_init(|| {
        super::handle();
        metrics::gauge!(IN_FLIGHT)
    })
}

impl Counters {
    fn of((route, method, status): Labels) -> Self {
        // Nothing may be kept of a recorder that is yet to be replaced by ours.
        super::handle();
        let status = if status == 0 { "none".to_owned() } else { status.to_string() };
        Self {
            requests: metrics::counter!(REQUESTS, "route" => route, "method" => method,
                "status" => status),
            duration: metrics::histogram!(REQUEST_DURATION, "route" => route, "method" => method),
            received: metrics::counter!(REQUEST_BYTES, "route" => route),
            sent: metrics::counter!(RESPONSE_BYTES, "route" => route),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_up_is_kept() {
        let first = counters(("test", "GET", 200));
        assert!(Arc::ptr_eq(&first, &counters(("test", "GET", 200))));
        assert!(!Arc::ptr_eq(&first, &counters(("test", "GET", 404))));
        first.requests.increment(3);
        let text = super::super::handle().render();
        let line = text.lines().find(|line| {
            line.starts_with(REQUESTS) && line.contains("\"test\"") && line.contains("\"200\"")
        });
        assert!(line.is_some_and(|line| line.ends_with(" 3")), "{line:?}");
    }
}
