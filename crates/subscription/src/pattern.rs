//! `TagRegexp`: RE2 syntax, linear time, the whole tag must match.

use regex::{Regex, RegexBuilder};

/// Longest pattern in characters.
const MAX_LENGTH: usize = 1024;
/// Largest compiled form in bytes.
const MAX_COMPILED: usize = 1024 * 1024;

/// A compiled `TagRegexp`.
#[derive(Debug, Clone)]
pub(crate) struct TagPattern(Regex);

impl TagPattern {
    /// Compiles a pattern; the error says why it cannot be.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        if pattern.is_empty() {
            return Err("it is empty; `.*` matches every tag".to_owned());
        }
        if pattern.chars().count() > MAX_LENGTH {
            return Err(format!("it is longer than {MAX_LENGTH} characters"));
        }
        // Compiled as it stands first: `foo)|(?:bar` must not become valid by being wrapped.
        compile(pattern)?;
        compile(&format!(r"\A(?:{pattern})\z")).map(Self)
    }

    pub(crate) fn matches(&self, tag: &str) -> bool {
        self.0.is_match(tag)
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .build()
        .map_err(|error| format!("it is not a regular expression: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_whole_tags() {
        for (pattern, tag, expected) in [
            (".*", "anything", true),
            ("release-v.*", "release-v1", true),
            ("release-v.*", "my-release-v1", false),
            ("v1", "v10", false),
            ("a|ab", "ab", true),
            ("a|b", "ab", false),
            ("^v[0-9]+$", "v12", true),
            ("(?i)V1", "v1", true),
        ] {
            let compiled = TagPattern::new(pattern).expect(pattern);
            assert_eq!(compiled.matches(tag), expected, "{pattern} on {tag}");
        }
    }

    #[test]
    fn refuses() {
        for bad in ["", "(", "foo)|(?:bar", "a{1000}{1000}", "(?x)a#", "\\", "(?=a)"] {
            assert!(TagPattern::new(bad).is_err(), "{bad}");
        }
        assert!(TagPattern::new(&"a".repeat(1025)).is_err());
    }
}
