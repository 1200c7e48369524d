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

/// A page of the operations that also know `MaxResults` and `NextToken`, which win.
pub(crate) struct TokenPage {
    pub(crate) page: Page,
    by_token: bool,
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
            return Ok(Self { page: page(number, size)?, by_token: false });
        }
        let results = max_results.unwrap_or(DEFAULT_SIZE);
        if results < 1 {
            let reason = format!("it is {results}; it must be 1 to 100");
            return Err(ApiError::invalid("MaxResults", reason));
        }
        let Some(token) = next_token else {
            return Ok(Self { page: Page::new(1, results.min(MAX_SIZE)), by_token: true });
        };
        // A token keeps the size of the first page, so that pages neither overlap nor leave gaps.
        let page = token
            .split_once('-')
            .and_then(|(number, size)| Some((number.parse().ok()?, size.parse().ok()?)))
            .filter(|(number, size)| *number >= 1 && (1..=MAX_SIZE).contains(size))
            .map(|(number, size)| Page::new(number, size))
            .ok_or_else(|| ApiError::invalid("NextToken", "it was not given by this operation"))?;
        Ok(Self { page, by_token: true })
    }

    /// `MaxResults` of the answer.
    pub(crate) fn max_results(&self) -> Option<i64> {
        self.by_token.then_some(self.page.size)
    }

    /// `NextToken` of the answer; none on the last page.
    pub(crate) fn next_token(&self, total: i64) -> Option<String> {
        let Page { number, size } = self.page;
        let more = self.by_token && number.saturating_mul(size) < total;
        more.then(|| format!("{}-{size}", number.saturating_add(1)))
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
        let mut token = None;
        let mut seen = 0;
        loop {
            let walk = TokenPage::new(Some(9), None, Some(10), token.as_deref()).expect("page");
            assert_eq!(walk.page.offset(), seen);
            assert_eq!(walk.max_results(), Some(10));
            seen += 10;
            token = walk.next_token(25);
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, 30);
        for bad in ["", "x", "1", "0-10", "1-101", "1-0", "9999999999999999999999-1"] {
            let refused = TokenPage::new(None, None, None, Some(bad)).err().expect("refused");
            assert_eq!(refused.code(), "InvalidNextToken", "{bad}");
        }
    }
}
