//! Byte ranges: the `Range` of a blob request (RFC 9110 §14) and the `Content-Range` of an upload
//! chunk (OCI distribution-spec, "Pushing a blob in chunks").

use std::ops::Range;

/// What a `Range` header asks of an object of a known size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The whole object: no range, a form that may be ignored, or several ranges at once.
    Whole,
    /// These bytes, half open, never empty.
    Part(Range<u64>),
    /// No byte of the object.
    Unsatisfiable,
}

/// Reads a `Range` header against a size.
pub(crate) fn parse_range(header: Option<&str>, size: u64) -> Asked {
    let Some(ranges) = header.and_then(|text| text.trim().strip_prefix("bytes=")) else {
        return Asked::Whole;
    };
    // A server may answer a list of ranges with the whole object.
    let Some((first, last)) = ranges.trim().split_once('-') else { return Asked::Whole };
    if first.is_empty() {
        let Some(length) = digits(last) else { return Asked::Whole };
        if length == 0 || size == 0 {
            return Asked::Unsatisfiable;
        }
        return Asked::Part(size.saturating_sub(length)..size);
    }
    let Some(first) = digits(first) else { return Asked::Whole };
    let last = if last.is_empty() { Some(u64::MAX) } else { digits(last) };
    let Some(last) = last else { return Asked::Whole };
    if last < first || first >= size {
        return Asked::Unsatisfiable;
    }
    Asked::Part(first..last.saturating_add(1).min(size))
}

/// Reads the `Content-Range` of a chunk: `first-last`, also with `bytes ` before and `/total`
/// behind. `None` when it is not of that form or ends before it starts.
pub(crate) fn parse_content_range(header: &str) -> Option<Range<u64>> {
    let text = header.trim();
    let text = text.strip_prefix("bytes").map_or(text, str::trim_start);
    let text = text.split_once('/').map_or(text, |(range, _)| range);
    let (first, last) = text.split_once('-')?;
    let (first, last) = (digits(first)?, digits(last)?);
    if last < first { None } else { Some(first..last.checked_add(1)?) }
}

/// The `Range` header of an upload with so many bytes received: `0-<last>`; `0-0` when none.
pub(crate) fn received_range(received: u64) -> String {
    format!("0-{}", received.saturating_sub(1))
}

fn digits(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_read() {
        let asked = |text: &str| parse_range(Some(text), 1000);
        assert_eq!(parse_range(None, 10), Asked::Whole);
        assert_eq!(asked("bytes=0-0"), Asked::Part(0..1));
        assert_eq!(asked("bytes=10-19"), Asked::Part(10..20));
        assert_eq!(asked("bytes=990-"), Asked::Part(990..1000));
        assert_eq!(asked("bytes=-10"), Asked::Part(990..1000));
        assert_eq!(asked("bytes=-5000"), Asked::Part(0..1000));
        assert_eq!(asked("bytes=500-99999999999"), Asked::Part(500..1000));
        assert_eq!(asked("bytes=500-0"), Asked::Unsatisfiable);
        assert_eq!(asked("bytes=1000-"), Asked::Unsatisfiable);
        assert_eq!(asked("bytes=-0"), Asked::Unsatisfiable);
        assert_eq!(asked("bytes=0-1,5-6"), Asked::Whole);
        assert_eq!(asked("bytes=x-1"), Asked::Whole);
        assert_eq!(asked("items=0-1"), Asked::Whole);
        assert_eq!(parse_range(Some("bytes=0-0"), 0), Asked::Unsatisfiable);
        assert_eq!(parse_range(Some("bytes=18446744073709551615-"), 5), Asked::Unsatisfiable);
        assert_eq!(parse_range(Some("bytes=0-18446744073709551615"), 5), Asked::Part(0..5));
    }

    #[test]
    fn ranges_of_a_chunk() {
        assert_eq!(parse_content_range("0-9"), Some(0..10));
        assert_eq!(parse_content_range("bytes 10-19/100"), Some(10..20));
        assert_eq!(parse_content_range("10-9"), None);
        assert_eq!(parse_content_range("10-"), None);
        assert_eq!(parse_content_range("0-18446744073709551615"), None);
        assert_eq!(received_range(0), "0-0");
        assert_eq!(received_range(10), "0-9");
    }
}
