//! Pages: by number, and by token.

use berth_metadata::Page;

use crate::error::ApiError;

const DEFAULT_SIZE: i64 = 30;
/// More is taken as this, as ACR documents.
const MAX_SIZE: i64 = 100;

/// The page of `PageNo` and `PageSize`; 1 and 30 when they are left out.
///
/// # Errors
/// `InvalidPageNo` and `InvalidPageSize` below 1.
pub(crate) fn page(number: Option<i64>, size: Option<i64>) -> Result<Page, ApiError> {
    numbered("PageNo", number.unwrap_or(1), size.unwrap_or(DEFAULT_SIZE))
}

/// As [`page`], where the number has another name.
pub(crate) fn numbered(name: &str, number: i64, size: i64) -> Result<Page, ApiError> {
    if number < 1 {
        return Err(ApiError::invalid(name, format!("it is {number}; pages count from 1")));
    }
    if size < 1 {
        return Err(ApiError::invalid("PageSize", format!("it is {size}; it must be 1 to 100")));
    }
    Ok(Page::new(number, size.min(MAX_SIZE)))
}

/// A page of the operations that also know `MaxResults` and `NextToken`, which win. A token names the
/// last row of the page before it, so that the next page costs the same wherever it is, and rows that
/// come and go meanwhile neither hide others nor show them twice.
pub(crate) struct TokenPage {
    pub(crate) page: Page,
    by_token: bool,
    after: Option<String>,
}

impl TokenPage {
    /// # Errors
    /// `InvalidMaxResults`, `InvalidNextToken`, and those of [`page`].
    pub(crate) fn new(
        number: Option<i64>,
        size: Option<i64>,
        max_results: Option<i64>,
        next_token: Option<&str>,
    ) -> Result<Self, ApiError> {
        if max_results.is_none() && next_token.is_none() {
            return Ok(Self { page: page(number, size)?, by_token: false, after: None });
        }
        let results = max_results.unwrap_or(DEFAULT_SIZE);
        if results < 1 {
            let reason = format!("it is {results}; it must be 1 to 100");
            return Err(ApiError::invalid("MaxResults", reason));
        }
        let Some(token) = next_token else {
            let page = Page::new(1, results.min(MAX_SIZE));
            return Ok(Self { page, by_token: true, after: None });
        };
        // A token keeps the size of the first page.
        let mut parts = token.splitn(3, '-');
        let mut number = || parts.next()?.parse::<i64>().ok();
        let page = number().zip(number());
        let page = page
            .filter(|(number, size)| *number >= 1 && (1..=MAX_SIZE).contains(size))
            .map(|(number, size)| Page::new(number, size))
            .ok_or_else(Self::not_given)?;
        let after = parts.next().ok_or_else(Self::not_given)?.to_owned();
        Ok(Self { page, by_token: true, after: Some(after) })
    }

    /// The error of a token that no answer of the operation had.
    pub(crate) fn not_given() -> ApiError {
        ApiError::invalid("NextToken", "it was not given by this operation")
    }

    /// Whether the caller walks by token: the page is then what comes after [`TokenPage::after`].
    pub(crate) fn is_by_token(&self) -> bool {
        self.by_token
    }

    /// The key of the last row of the page before; none on the first page.
    pub(crate) fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// `MaxResults` of the answer.
    pub(crate) fn max_results(&self) -> Option<i64> {
        self.by_token.then_some(self.page.size)
    }

    /// How many rows to ask for, to learn whether there are more than those of the page.
    pub(crate) fn one_more(&self) -> i64 {
        self.page.size.saturating_add(1)
    }

    /// Leaves the rows of the page, of as many as [`TokenPage::one_more`], and returns `NextToken` of
    /// the answer: none on the last page.
    pub(crate) fn cut<R>(&self, rows: &mut Vec<R>, key: impl Fn(&R) -> String) -> Option<String> {
        let Page { number, size } = self.page;
        let shown = usize::try_from(size).unwrap_or(usize::MAX);
        if !self.by_token || rows.len() <= shown {
            return None;
        }
        rows.truncate(shown);
        let last = key(rows.last()?);
        Some(format!("{}-{size}-{last}", number.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_defaults_and_limits() {
        assert_eq!(page(None, None).expect("page"), Page::new(1, 30));
        assert_eq!(page(Some(2), Some(1000)).expect("page"), Page::new(2, 100));
        assert_eq!(page(Some(0), None).expect_err("refused").code(), "InvalidPageNo");
        assert_eq!(page(None, Some(-1)).expect_err("refused").code(), "InvalidPageSize");
    }

    #[test]
    fn tokens_walk_to_the_end() {
        let all: Vec<i64> = (0..25).collect();
        let mut token = None;
        let mut seen = Vec::new();
        for number in 1.. {
            let walk = TokenPage::new(Some(9), None, Some(10), token.as_deref()).expect("page");
            assert_eq!((walk.max_results(), walk.page.number), (Some(10), number));
            let after = walk
                .after()
                .map_or(-1, |key| key.strip_prefix("a-").expect("key").parse().expect("number"));
            let rows = all.iter().copied().filter(|row| *row > after);
            let mut rows: Vec<i64> =
                rows.take(usize::try_from(walk.one_more()).expect("size")).collect();
            token = walk.cut(&mut rows, |row| format!("a-{row}"));
            seen.extend(rows);
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
        for bad in
            ["", "x", "1", "1-10", "0-10-a", "1-101-a", "1-0-a", "9999999999999999999999-1-a"]
        {
            let refused = TokenPage::new(None, None, None, Some(bad)).err().expect("refused");
            assert_eq!(refused.code(), "InvalidNextToken", "{bad}");
        }
    }
}
