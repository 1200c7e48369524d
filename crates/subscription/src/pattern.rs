//! `TagRegexp`: RE2 syntax, linear time, the whole tag must match.

use regex::{Regex, RegexBuilder};

/// Longest pattern in characters.
const MAX_LENGTH: usize = 1024;
/// Largest compiled form in bytes.
const MAX_COMPILED: usize = 1024 * 1024;

/// Why a pattern cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PatternError {
    #[error("it is empty; `.*` matches every tag")]
    Empty,
    #[error("it is longer than {MAX_LENGTH} characters")]
    TooLong,
    #[error("it is not a regular expression: {0}")]
    Syntax(#[from] regex::Error),
}

/// A compiled `TagRegexp`.
#[derive(Debug, Clone)]
pub(crate) struct TagPattern {
    regex: Regex,
    exact: Option<String>,
}

impl TagPattern {
    /// Compiles a pattern.
    pub(crate) fn new(pattern: &str) -> Result<Self, PatternError> {
        if pattern.is_empty() {
            return Err(PatternError::Empty);
        }
        if pattern.chars().count() > MAX_LENGTH {
            return Err(PatternError::TooLong);
        }
        // Compiled as it stands first: `foo)|(?:bar` must not become valid by being wrapped.
        compile(pattern)?;
        let regex = compile(&format!(r"\A(?:{pattern})\z"))?;
        Ok(Self { regex, exact: exact(pattern) })
    }

    pub(crate) fn matches(&self, tag: &str) -> bool {
        self.regex.is_match(tag)
    }

    /// The only tag that matches, when the pattern spells one out.
    pub(crate) fn exact(&self) -> Option<&str> {
        self.exact.as_deref()
    }
}

/// The text of a pattern without anything to choose: `latest`, `v1\.2`, also between `^` and `$`. A
/// dot that is not escaped matches any character.
fn exact(pattern: &str) -> Option<String> {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    let pattern = pattern.strip_suffix('$').unwrap_or(pattern);
    let mut text = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => text.push(character),
            '\\' => text.push(characters.next().filter(|next| matches!(next, '.' | '-'))?),
            _ => return None,
        }
    }
    (!text.is_empty()).then_some(text)
}

fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build()
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
    fn a_pattern_that_spells_one_tag_out_is_exact() {
        for (pattern, tag) in [
            ("latest", Some("latest")),
            (r"v1\.2\.3-rc_1", Some("v1.2.3-rc_1")),
            (r"^1\-x$", Some("1-x")),
            ("1.2", None),
            (r"v\d", None),
            ("a|b", None),
            ("a?", None),
            ("(?i)a", None),
            ("^$", None),
        ] {
            let compiled = TagPattern::new(pattern).expect(pattern);
            assert_eq!(compiled.exact(), tag, "{pattern}");
            assert!(tag.is_none_or(|tag| compiled.matches(tag)), "{pattern}");
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
