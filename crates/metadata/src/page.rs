//! Pages of lists, and patterns for LIKE.

/// A page of a list: `number` counts from 1. Values below 1 are taken as 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub number: i64,
    pub size: i64,
}

impl Page {
    pub fn new(number: i64, size: i64) -> Self {
        Self { number, size }
    }

    /// Rows on the page, for LIMIT.
    pub fn limit(self) -> i64 {
        self.size.max(1)
    }

    /// Rows before the page, for OFFSET.
    pub fn offset(self) -> i64 {
        (self.number.max(1) - 1).saturating_mul(self.limit())
    }
}

/// The pattern for `LIKE $n ESCAPE '\'` that finds `text` anywhere; an empty text gives an empty
/// pattern, which the statements read as "all".
pub fn contains_pattern(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::{Page, contains_pattern};

    #[test]
    fn offsets() {
        assert_eq!(Page::new(1, 30).offset(), 0);
        assert_eq!(Page::new(3, 30).offset(), 60);
        assert_eq!(Page::new(0, 0).offset(), 0);
        assert_eq!(Page::new(i64::MAX, 100).offset(), i64::MAX);
    }

    #[test]
    fn patterns() {
        assert_eq!(contains_pattern(""), "");
        assert_eq!(contains_pattern("a_b%c\\"), "%a\\_b\\%c\\\\%");
    }
}
