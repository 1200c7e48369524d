//! The page that has the figures.

use anyhow::{Context, Result, bail};

use crate::shell::repository;

const PAGE: &str = "docs/performance.md";

/// Puts the text between the marks of the table.
pub(super) fn write(table: &str, text: &str) -> Result<()> {
    let page = repository().join(PAGE);
    let (begin, end) = (
        format!("<!-- {table}: written by cargo xtask bench -->"),
        format!("<!-- {table}: end -->"),
    );
    let old = std::fs::read_to_string(&page)
        .with_context(|| format!("cannot read {}", page.display()))?;
    let split = old.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let Some((before, after)) = split else {
        bail!("{} lacks the marks for the table of the {table}", page.display());
    };
    std::fs::write(&page, format!("{before}{begin}\n{text}{end}{after}"))?;
    println!("xtask: wrote {}", page.display());
    Ok(())
}
