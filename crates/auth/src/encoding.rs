//! Percent-encoding of RPC parameters: how texts travel, and how signatures see them.

use std::collections::BTreeMap;

/// Encodes everything but RFC 3986's unreserved characters, in upper-case hexadecimal.
pub fn strict_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() + text.len() / 4);
    strict_encode_into(text, &mut encoded);
    encoded
}

/// As [`strict_encode`], appended to `out`.
pub fn strict_encode_into(text: &str, out: &mut String) {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in text.bytes() {
        if is_unreserved(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 0x0f)]);
        }
    }
}

/// Whether strict encoding leaves the byte alone (RFC 3986 §2.3).
pub fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}

/// The decoded pairs of a query string or of a form body, in their order: `+` and `%20` are both a
/// space, a stray `%` stands for itself, bytes that are not UTF-8 become the replacement character.
pub fn parse_form(text: &[u8]) -> Vec<(String, String)> {
    text.split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = halves.next().unwrap_or_default();
            let value = halves.next().unwrap_or_default();
            (form_decode(name), form_decode(value))
        })
        .collect()
}

/// Query and form as one set of parameters; the form wins, and of a repeated name the last value.
pub fn merge(query: &[(String, String)], form: &[(String, String)]) -> BTreeMap<String, String> {
    query.iter().chain(form).cloned().collect()
}

fn form_decode(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex_digit(*high), hex_digit(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_like_rfc_3986() {
        assert_eq!(strict_encode("aZ09-_.~ *!'()/中"), "aZ09-_.~%20%2A%21%27%28%29%2F%E4%B8%AD");
    }

    #[test]
    fn decodes_both_spaces_and_stray_percents() {
        let pairs = parse_form(b"a=1+2%203&b&&c=%&d=%zz%4&=x&e=a=b&f=%ff");
        let expected = [
            ("a", "1 2 3"),
            ("b", ""),
            ("c", "%"),
            ("d", "%zz%4"),
            ("", "x"),
            ("e", "a=b"),
            ("f", "\u{fffd}"),
        ];
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(pairs, expected);
    }

    #[test]
    fn the_form_wins() {
        let merged = merge(&parse_form(b"a=1&b=2&a=3"), &parse_form(b"b=4"));
        let expected: BTreeMap<_, _> =
            [("a", "3"), ("b", "4")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        assert_eq!(merged, expected);
    }
}
