//! Finds a value in JSON text without changing or judging anything around it: strings may hold bytes
//! that are not UTF-8, numbers any count of digits.

use std::ops::Range;

/// Values in values: deeper text is no config.
const MAX_DEPTH: usize = 128;

/// Where the value of a member lies, found by the names on the way from the root object. Of members
/// of one name the last counts, as it does for Go. `None` when the text is no JSON or has no such
/// member.
pub(super) fn find(text: &[u8], path: &[&str]) -> Option<Range<usize>> {
    let mut place = 0..text.len();
    for name in path {
        let inside = text.get(place.clone())?;
        let found = member(inside, name)?;
        place = place.start + found.start..place.start + found.end;
    }
    Some(place)
}

/// The value of a member of the object that `text` is.
fn member(text: &[u8], name: &str) -> Option<Range<usize>> {
    let mut scan = Scan { text, at: 0 };
    scan.expect(b'{')?;
    let mut found = None;
    if scan.peek()? == b'}' {
        return None;
    }
    loop {
        let key = scan.string()?;
        scan.expect(b':')?;
        let value = scan.value(0)?;
        // A name with escapes is another spelling of it, which no builder writes.
        if text.get(key) == Some(name.as_bytes()) {
            found = Some(value);
        }
        match scan.next()? {
            b',' => {}
            b'}' => return found,
            _ => return None,
        }
    }
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    /// The next byte that is not blank, left there.
    fn peek(&mut self) -> Option<u8> {
        while matches!(self.text.get(self.at)?, b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    /// The next byte that is not blank, taken.
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// What stands between the quotes.
    fn string(&mut self) -> Option<Range<usize>> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            let byte = *self.text.get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => return Some(start..self.at - 1),
                b'\\' => self.at += 1,
                _ => {}
            }
        }
    }

    fn value(&mut self, depth: usize) -> Option<Range<usize>> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => {
                self.string()?;
            }
            b'{' | b'[' => self.nested(depth)?,
            _ => {
                let plain =
                    |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
                let rest = self.text.get(start..)?;
                self.at += rest.iter().take_while(|byte| plain(byte)).count();
                if self.at == start {
                    return None;
                }
            }
        }
        Some(start..self.at)
    }

    /// An object or an array, from its opening bracket to its closing one.
    fn nested(&mut self, depth: usize) -> Option<()> {
        if depth >= MAX_DEPTH {
            return None;
        }
        let open = self.next()?;
        let close = if open == b'{' { b'}' } else { b']' };
        if self.peek()? == close {
            self.at += 1;
            return Some(());
        }
        loop {
            if open == b'{' {
                self.string()?;
                self.expect(b':')?;
            }
            self.value(depth + 1)?;
            match self.next()? {
                b',' => {}
                byte if byte == close => return Some(()),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::find;

    fn found<'a>(text: &'a [u8], path: &[&str]) -> Option<&'a [u8]> {
        text.get(find(text, path)?)
    }

    #[test]
    fn a_value_is_found_between_whatever_stands_around_it() {
        let text = b"\n{ \"note\" : \"caf\xe9 \\\" } ]\", \"n\":[1e400,{\"rootfs\":0}], \
            \"rootfs\": {\"type\":\"layers\" , \"diff_ids\" : [ \"a\", \"b\" ] }, \"z\":null}\n";
        assert_eq!(found(text, &["rootfs", "diff_ids"]), Some(&b"[ \"a\", \"b\" ]"[..]));
        assert_eq!(found(text, &["z"]), Some(&b"null"[..]));
        assert_eq!(found(br#"{"a":1,"a":2}"#, &["a"]), Some(&b"2"[..]));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for text in ["", "{}", "[]", r#"{"rootfs":[]}"#, r#"{"rootfs":{}}"#, r#"{"rootfs":{"a"}}"#]
        {
            assert_eq!(found(text.as_bytes(), &["rootfs", "diff_ids"]), None, "{text}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        assert_eq!(found(deep.as_bytes(), &["a"]), None);
    }
}
