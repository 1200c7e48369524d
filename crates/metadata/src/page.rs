//! Pages of lists, and patterns for LIKE.

/// A page of a list: `number` counts from 1. Values below 1 are taken as 1. Lists give at most 1000
/// rows at a time.
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

    /// How the page is read from the beginning.
    pub(crate) fn forward(self) -> Reach {
        Reach { from_end: false, limit: self.limit(), offset: self.offset(), part: i64::MAX }
    }

    /// How the page of a list of `total` rows is read; `None` when it has no rows.
    pub(crate) fn reach(self, total: i64) -> Option<Reach> {
        let offset = self.offset();
        let limit = self.limit().min(total.saturating_sub(offset));
        if limit < 1 {
            return None;
        }
        let behind = total - offset - limit;
        let from_end = behind < offset;
        let (offset, part) = if from_end { (behind, i64::MIN) } else { (offset, i64::MAX) };
        Some(Reach { from_end, limit, offset, part })
    }
}

/// How the rows of a page are reached: over the rows between them and the nearer end of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Whether the list is read in the opposite order.
    pub(crate) from_end: bool,
    pub(crate) limit: i64,
    pub(crate) offset: i64,
    /// The part of the list that is read first, where lists have parts (migration 9); all before it are
    /// passed over and not in `offset`.
    pub(crate) part: i64,
}

impl Reach {
    /// The statement of the direction.
    pub(crate) fn pick(self, [forward, backward]: [&'static str; 2]) -> &'static str {
        if self.from_end { backward } else { forward }
    }
}

/// The beginning of a statement that reads a page: `page` has the keys of its rows ($2 of them, after
/// $3 others), found in an index that has nothing else to read, so that only the rows of the page itself
/// are looked up. The second limit tells PostgreSQL, which plans without knowing $2, that these are
/// few. What follows joins by CROSS JOIN and WHERE: SQLite then begins with the page, and does not walk
/// a whole list to spare sorting thirty rows.
macro_rules! page_keys {
    ($keys:literal, $table:literal, $condition:expr, $order:literal) => {
        concat!(
            "WITH reached AS MATERIALIZED (SELECT ",
            $keys,
            " FROM ",
            $table,
            " WHERE ",
            $condition,
            " ORDER BY ",
            $order,
            " LIMIT $2 OFFSET $3), page AS MATERIALIZED (SELECT ",
            $keys,
            " FROM reached LIMIT 1000) "
        )
    };
}
pub(crate) use page_keys;

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
    fn a_page_is_reached_from_the_nearer_end() {
        for total in 0..50 {
            let rows: Vec<i64> = (0..total).collect();
            for (number, size) in (1..=9).flat_map(|number| [(number, 1), (number, 7)]) {
                let page = Page::new(number, size);
                let take = |rows: &[i64], from: i64, limit: i64| -> Vec<i64> {
                    let (from, limit) = (usize::try_from(from), usize::try_from(limit));
                    rows.iter()
                        .copied()
                        .skip(from.expect("from"))
                        .take(limit.expect("limit"))
                        .collect()
                };
                let read = page.reach(total).map_or_else(Vec::new, |reach| {
                    assert!(reach.offset <= total / 2, "{page:?} of {total}");
                    let mut rows = rows.clone();
                    if reach.from_end {
                        rows.reverse();
                    }
                    let mut read = take(&rows, reach.offset, reach.limit);
                    if reach.from_end {
                        read.reverse();
                    }
                    read
                });
                assert_eq!(read, take(&rows, page.offset(), page.limit()), "{page:?} of {total}");
            }
        }
    }

    #[test]
    fn patterns() {
        assert_eq!(contains_pattern(""), "");
        assert_eq!(contains_pattern("a_b%c\\"), "%a\\_b\\%c\\\\%");
    }
}
