//! Tags that builds make. They are never themselves built, subscribed to or counted by retention.

/// The endings of the tags that builds write, most specific first.
const ENDINGS: [&str; 3] = ["_containerd_accelerated", "_eci_accelerated", "_accelerated"];

/// Whether a tag has the name of one that a build makes.
pub fn is_derived_tag(name: &str) -> bool {
    ENDINGS.iter().any(|ending| name.len() > ending.len() && name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::is_derived_tag;

    #[test]
    fn names() {
        for derived in ["1_accelerated", "v1.2_containerd_accelerated", "a_eci_accelerated"] {
            assert!(is_derived_tag(derived), "{derived}");
        }
        for plain in ["latest", "accelerated", "_accelerated", "1_accelerated2", "1-accelerated"] {
            assert!(!is_derived_tag(plain), "{plain}");
        }
    }
}
