//! Lexical cleaning of paths from archives.

use super::error::TreeProblem;

const MAX_PATH: usize = 4096;
/// Bytes of a name on any Linux file system.
pub(super) const MAX_NAME: usize = 255;

/// The components of a path below the root: `.` and empty ones dropped, `..` resolved lexically
/// and stopped at the root.
pub(super) fn clean(path: &[u8]) -> Result<Vec<&[u8]>, TreeProblem> {
    if path.len() > MAX_PATH {
        return Err(TreeProblem::PathTooLong);
    }
    if path.contains(&0) {
        return Err(TreeProblem::NulInPath);
    }
    let mut components: Vec<&[u8]> = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                components.pop();
            }
            name => components.push(name),
        }
    }
    // A white-out's own name is the removed one's and four bytes more; nothing has that name.
    let length = |name: &&[u8]| name.strip_prefix(b".wh.").unwrap_or(name).len();
    if components.iter().any(|name| length(name) > MAX_NAME) {
        return Err(TreeProblem::NameTooLong);
    }
    Ok(components)
}

#[cfg(test)]
mod tests {
    use super::clean;
    use crate::tree::TreeProblem;

    fn cleaned(path: &str) -> String {
        let parts = clean(path.as_bytes()).expect("clean path");
        String::from_utf8(parts.join(&b'/')).expect("text")
    }

    #[test]
    fn paths_stay_below_the_root() {
        assert_eq!(cleaned("./a//b/"), "a/b");
        assert_eq!(cleaned("/a/./b"), "a/b");
        assert_eq!(cleaned("../../a/../b"), "b");
        assert_eq!(cleaned("./"), "");
        assert_eq!(cleaned("a/b/../../../c"), "c");
    }

    #[test]
    fn impossible_paths_are_refused() {
        assert_eq!(clean(b"a\0b"), Err(TreeProblem::NulInPath));
        assert_eq!(clean(&[b'n'; 256]), Err(TreeProblem::NameTooLong));
        assert_eq!(clean(&b"d/".repeat(2049)), Err(TreeProblem::PathTooLong));
    }
}
