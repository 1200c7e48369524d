//! A run in one sentence: the task's Message.

/// Reasons that are named; the rest is counted.
const NAMED: usize = 5;

/// For a run of which every tag succeeded.
pub(crate) const SUCCESS: &str = "success";

/// For a run with failed tags: `2 of 3 tags copied; v3: blob sha256:… not found at source`.
pub(crate) fn failed(selected: usize, failures: &[(String, String)]) -> String {
    let copied = selected.saturating_sub(failures.len());
    let mut text = format!("{copied} of {selected} tags copied");
    for (tag, reason) in failures.iter().take(NAMED) {
        text.push_str(&format!("; {tag}: {reason}"));
    }
    if failures.len() > NAMED {
        text.push_str(&format!("; and {} more", failures.len() - NAMED));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_failed() {
        let failure = |tag: &str| (tag.to_owned(), "gone".to_owned());
        assert_eq!(failed(3, &[failure("v3")]), "2 of 3 tags copied; v3: gone");
        let many: Vec<_> = (0..7).map(|number| failure(&format!("v{number}"))).collect();
        let text = failed(7, &many);
        assert!(text.starts_with("0 of 7 tags copied; v0: gone") && text.ends_with("and 2 more"));
    }
}
