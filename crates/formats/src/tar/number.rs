//! Numbers in headers and records.

use crate::layer::Timestamp;

/// A numeric header field: octal text, or base-256 two's complement when the top bit is set.
pub(super) fn field(bytes: &[u8]) -> Option<i64> {
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => base256(bytes),
        _ => octal(bytes),
    }
}

fn octal(bytes: &[u8]) -> Option<i64> {
    let is_padding = |byte: &u8| matches!(byte, b' ' | 0);
    let start = bytes.iter().position(|byte| !is_padding(byte));
    let Some(start) = start else { return Some(0) };
    let mut value: i64 = 0;
    for byte in bytes.iter().skip(start) {
        match byte {
            b'0'..=b'7' => {
                value = value.checked_mul(8)?.checked_add(i64::from(byte - b'0'))?;
            }
            b' ' | 0 => break,
            _ => return None,
        }
    }
    let tail = bytes.iter().skip(start).skip_while(|byte| !is_padding(byte));
    // As Go does: text ends at the first NUL; blanks may follow only up to there.
    let mut tail = tail.take_while(|byte| **byte != 0);
    tail.all(is_padding).then_some(value)
}

fn base256(bytes: &[u8]) -> Option<i64> {
    let (first, rest) = bytes.split_first()?;
    let negative = first & 0x40 != 0;
    // Sign-extend the seven value bits of the first byte.
    let mut value = i128::from(first & 0x3f) - if negative { 0x40 } else { 0 };
    for byte in rest {
        value = value.checked_mul(256)?.checked_add(i128::from(*byte))?;
    }
    i64::try_from(value).ok()
}

/// An unsigned decimal number of a PAX record.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A signed decimal number of a PAX record.
pub(super) fn signed_decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A PAX time: seconds with an optional fraction; digits beyond nanoseconds are cut.
pub(super) fn pax_time(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let secs: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut nanos: u32 = 0;
    for position in 0..9 {
        let digit = fraction.as_bytes().get(position).map_or(0, |byte| u32::from(byte - b'0'));
        nanos = nanos * 10 + digit;
    }
    if whole.starts_with('-') && nanos > 0 {
        return Some(Timestamp { secs: secs.checked_sub(1)?, nanos: 1_000_000_000 - nanos });
    }
    Some(Timestamp { secs, nanos })
}

#[cfg(test)]
mod tests {
    use super::{field, pax_time};
    use crate::layer::Timestamp;

    #[test]
    fn octal_fields_may_be_padded() {
        assert_eq!(field(b"0000644\0"), Some(0o644));
        assert_eq!(field(b"   644 \0"), Some(0o644));
        assert_eq!(field(b"\0\0\0\0"), Some(0));
        assert_eq!(field(b"77777777777"), Some(0o77_777_777_777));
        assert_eq!(field(b"12x"), None);
        assert_eq!(field(b"12 3"), None);
    }

    #[test]
    fn base_256_carries_large_and_negative_numbers() {
        assert_eq!(field(&[0x80, 0, 0, 0, 0x00, 0x2d, 0xc6, 0xc0]), Some(3_000_000));
        assert_eq!(field(&[0xff; 12]), Some(-1));
        assert_eq!(field(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0x54, 0x0b, 0xe4, 0]), Some(10_000_000_000));
        let mut too_large = [0xff; 12];
        too_large[0] = 0x80;
        assert_eq!(field(&too_large), None);
    }

    #[test]
    fn pax_times_have_fractions_and_signs() {
        let at = |secs, nanos| Some(Timestamp { secs, nanos });
        assert_eq!(pax_time(b"1700000000.123456789123"), at(1_700_000_000, 123_456_789));
        assert_eq!(pax_time(b"-100"), at(-100, 0));
        assert_eq!(pax_time(b"-1.5"), at(-2, 500_000_000));
        assert_eq!(pax_time(b"-0.25"), at(-1, 750_000_000));
        assert_eq!(pax_time(b"5000000000"), at(5_000_000_000, 0));
        assert_eq!(pax_time(b"1.x"), None);
    }
}
