//! For how long a registry that limits the rate of requests wants to be left alone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use berth_types::Millis;
use chrono::{DateTime, NaiveDateTime};
use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, Method};

/// Beyond this a number is a time since the epoch and not a number of seconds from now: GitHub's
/// `X-RateLimit-Reset` and others are written like that.
const EPOCH_FROM: u64 = 1_000_000_000;
/// A pause is never taken for longer.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

const REMAINING: [&str; 3] =
    ["ratelimit-remaining", "x-ratelimit-remaining", "x-rate-limit-remaining"];
const RESET: [&str; 3] = ["ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset"];

/// A pause is remembered for no longer: a caller with more patience than the upstream asks again.
const REMEMBERED: Duration = Duration::from_secs(600);

/// What a limit counts: Docker Hub's quota, for one, is of GETs of manifests alone.
pub(crate) type Counted = (Method, &'static str);

/// Pauses that an upstream asked for: what is asked at the same time, or by another task, keeps
/// them too.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    ends: Mutex<HashMap<Counted, Pause>>,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    ends: Instant,
    forgotten: Instant,
}

impl Pauses {
    pub(crate) fn begin(&self, counted: Counted, pause: Duration) {
        let now = Instant::now();
        let pause = Pause { ends: now + pause, forgotten: now + pause.min(REMEMBERED) };
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).insert(counted, pause);
    }

    /// What is left of the pause.
    pub(crate) fn left(&self, counted: &Counted) -> Option<Duration> {
        let now = Instant::now();
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = *ends.get(counted)?;
        if pause.forgotten <= now {
            ends.remove(counted);
            return None;
        }
        Some(pause.ends.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }
}

/// The pause that a refusal asks for: `Retry-After`, else what its `RateLimit` fields say.
pub(crate) fn pause(headers: &HeaderMap, now: Millis) -> Option<Duration> {
    retry_after(headers, now).or_else(|| window(headers, now)).map(|pause| pause.min(LONGEST))
}

/// Whether an answer speaks of a limit by more than its status: only then a 403 or 503 is one.
pub(crate) fn is_named(headers: &HeaderMap) -> bool {
    let mut names = REMAINING.iter().chain(&["retry-after", "ratelimit"]);
    names.any(|name| headers.contains_key(*name))
}

/// `Retry-After` in seconds or as a date (RFC 9110 §10.2.3); a date counts from the answer's own
/// `Date`, whose clock it was made with.
fn retry_after(headers: &HeaderMap, now: Millis) -> Option<Duration> {
    let text = text(headers, RETRY_AFTER.as_str())?;
    if let Some(seconds) = seconds(text) {
        return Some(Duration::from_secs(seconds));
    }
    let at = http_date(text)?;
    let from = self::text(headers, DATE.as_str()).and_then(http_date).unwrap_or(now);
    Some(between(from, at))
}

/// When the window of a used-up quota ends: the fields of `draft-ietf-httpapi-ratelimit-headers`
/// in the forms of its several versions, and Docker Hub's `ratelimit-remaining: 0;w=21600`, which
/// names the length of the window only.
fn window(headers: &HeaderMap, now: Millis) -> Option<Duration> {
    let remaining = REMAINING.iter().find_map(|name| text(headers, name));
    let left = remaining.and_then(seconds);
    if left.is_some_and(|left| left > 0) {
        // Another limit than this quota's was met.
        return None;
    }
    let reset = RESET.iter().find_map(|name| text(headers, name)).and_then(seconds);
    if let Some(reset) = reset {
        return Some(from_now(reset, now));
    }
    if let Some(length) = remaining.and_then(|text| parameter(text, &["w"])) {
        return Some(Duration::from_secs(length));
    }
    let fields = text(headers, "ratelimit")?;
    if parameter(fields, &["remaining", "r"]).is_some_and(|left| left > 0) {
        return None;
    }
    parameter(fields, &["reset", "t"]).map(|reset| from_now(reset, now))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// The number at the beginning, rounded up.
fn seconds(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at_checked(digits)?;
    if digits == 0
        || !rest.trim_start().is_empty() && !rest.trim_start().starts_with([';', ',', '.'])
    {
        return None;
    }
    let whole = number.parse().unwrap_or(u64::MAX);
    Some(if rest.starts_with('.') { whole.saturating_add(1) } else { whole })
}

/// The first number that one of the names has: `limit=100, reset=50`, `"q";r=0;t=50`.
fn parameter(text: &str, names: &[&str]) -> Option<u64> {
    text.split([';', ',']).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        let named = names.iter().any(|one| one.eq_ignore_ascii_case(name.trim()));
        named.then(|| seconds(value.trim()))?
    })
}

fn from_now(reset: u64, now: Millis) -> Duration {
    if reset < EPOCH_FROM {
        return Duration::from_secs(reset);
    }
    let at = i64::try_from(reset).unwrap_or(i64::MAX).saturating_mul(1000);
    between(now, at)
}

fn between(from: Millis, to: Millis) -> Duration {
    Duration::from_millis(u64::try_from(to.saturating_sub(from)).unwrap_or(0))
}

/// The three forms of a date that a recipient must read (RFC 9110 §5.6.7).
fn http_date(text: &str) -> Option<Millis> {
    if let Ok(date) = DateTime::parse_from_rfc2822(text) {
        return Some(date.timestamp_millis());
    }
    ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"].iter().find_map(|form| {
        NaiveDateTime::parse_from_str(text, form).ok().map(|date| date.and_utc().timestamp_millis())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    /// Wed, 21 Oct 2015 07:28:00 GMT.
    const NOW: Millis = 1_445_412_480_000;

    fn wait(fields: &[(&str, &str)]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name: HeaderName = name.parse().expect(name);
            headers.insert(name, HeaderValue::from_str(value).expect(value));
        }
        pause(&headers, NOW).map(|pause| pause.as_secs())
    }

    #[test]
    fn retry_after_in_seconds_and_as_a_date() {
        for (text, expected) in [
            ("7", Some(7)),
            ("0", Some(0)),
            ("1.5", Some(2)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(0)),
            ("Wed, 21 Oct 2015 07:29:30 GMT", Some(90)),
            ("Wednesday, 21-Oct-15 07:29:30 GMT", Some(90)),
            ("Wed Oct 21 07:29:30 2015", Some(90)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
            ("99999999999999999999999", Some(LONGEST.as_secs())),
            ("soon", None),
            ("-5", None),
            ("", None),
        ] {
            assert_eq!(wait(&[("retry-after", text)]), expected, "{text}");
        }
    }

    #[test]
    fn a_date_counts_from_the_clock_that_made_it() {
        let fast = [
            ("date", "Wed, 21 Oct 2015 08:28:00 GMT"),
            ("retry-after", "Wed, 21 Oct 2015 08:29:30 GMT"),
        ];
        assert_eq!(wait(&fast), Some(90));
    }

    #[test]
    fn fields_of_rate_limits() {
        let epoch = (NOW / 1000 + 75).to_string();
        for (fields, expected) in [
            (
                vec![("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "0;w=21600")],
                Some(21600),
            ),
            (vec![("ratelimit-remaining", "0"), ("ratelimit-reset", "300")], Some(300)),
            (vec![("ratelimit-remaining", "0;w=21600"), ("ratelimit-reset", "300")], Some(300)),
            (vec![("ratelimit-reset", "300")], Some(300)),
            (vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &epoch)], Some(75)),
            (vec![("ratelimit", "limit=100, remaining=0, reset=50")], Some(50)),
            (vec![("ratelimit", "\"default\";r=0;t=50")], Some(50)),
            (vec![("ratelimit", "\"default\";r=7;t=50")], None),
            (vec![("ratelimit-remaining", "57;w=21600")], None),
            (vec![("ratelimit-remaining", "0")], None),
            (vec![("retry-after", "5"), ("ratelimit-remaining", "0;w=21600")], Some(5)),
            (vec![], None),
        ] {
            assert_eq!(wait(&fields), expected, "{fields:?}");
        }
    }
}
