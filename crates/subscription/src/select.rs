//! Which of a source's tags a rule takes.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use berth_artifacts::is_derived_tag;
use berth_types::{Millis, Tag};
use semver::Version;

use crate::natural;
use crate::pattern::TagPattern;
use crate::referrer::is_referrer_tag;

/// The tags that a rule could take: valid, matching, not made by a build, each once. Where referrers
/// come along with their images, their tags are none to choose.
pub(crate) fn candidates(tags: &[String], pattern: &TagPattern, referrers: bool) -> Vec<Tag> {
    let mut seen = HashSet::new();
    tags.iter()
        .filter(|name| pattern.matches(name) && !is_derived_tag(name))
        .filter(|name| !(referrers && is_referrer_tag(name)))
        .filter_map(|name| name.parse().ok())
        .filter(|tag: &Tag| seen.insert(tag.clone()))
        .collect()
}

/// Whether the newest of these tags cannot be told by name alone: more than are wanted, and not
/// all semantic versions.
pub(crate) fn needs_dates(candidates: &[Tag], count: usize) -> bool {
    candidates.len() > count && !candidates.iter().all(|tag| version(tag.as_str()).is_some())
}

/// The newest `count`, newest first: by semantic version when every tag is one, otherwise by the
/// image's creation time (an unknown one is the oldest); ties by name in natural order.
pub(crate) fn newest(mut tags: Vec<Tag>, count: usize, created: &HashMap<Tag, Millis>) -> Vec<Tag> {
    let by_name = |a: &Tag, b: &Tag| natural::compare(b.as_str(), a.as_str());
    let versions: Option<HashMap<Tag, Version>> =
        tags.iter().map(|tag| Some((tag.clone(), version(tag.as_str())?))).collect();
    if let Some(versions) = versions {
        tags.sort_by(|a, b| versions.get(b).cmp(&versions.get(a)).then_with(|| by_name(a, b)));
    } else {
        tags.sort_by(|a, b| {
            Reverse(created.get(a)).cmp(&Reverse(created.get(b))).then_with(|| by_name(a, b))
        });
    }
    tags.truncate(count);
    tags
}

/// A semantic version (semver.org 2.0.0), also with `v` in front as Git tags have it.
fn version(tag: &str) -> Option<Version> {
    Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn tags(names: &[&str]) -> Vec<Tag> {
        names.iter().map(|name| name.parse().expect(name)).collect()
    }

    fn pick(names: &[&str], count: usize, created: &[(&str, Millis)]) -> Vec<String> {
        let created =
            created.iter().map(|(name, time)| (name.parse().expect(name), *time)).collect();
        newest(tags(names), count, &created).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn table() {
        for (names, count, created, expected) in [
            // Versions, with and without `v`, releases after their candidates.
            (&["1.9.0", "v1.10.0", "1.2.0"][..], 2, &[][..], &["v1.10.0", "1.9.0"][..]),
            (
                &["1.0.0-rc.2", "1.0.0", "1.0.0-rc.10"],
                3,
                &[],
                &["1.0.0", "1.0.0-rc.10", "1.0.0-rc.2"],
            ),
            (&["1.0.0", "v1.0.0"], 1, &[], &["v1.0.0"]),
            // One tag that is no version: time decides, also against names.
            (
                &["1.9.0", "1.10.0", "latest"],
                2,
                &[("1.9.0", 30), ("latest", 20), ("1.10.0", 10)],
                &["1.9.0", "latest"],
            ),
            // Unknown times come last, ties by name.
            (&["v9", "v10", "v11"], 3, &[("v9", 5)], &["v9", "v11", "v10"]),
            (&["v1", "v2", "v10"], 2, &[("v1", 7), ("v2", 7), ("v10", 7)], &["v10", "v2"]),
            (&["01.2.3", "2.0.0"], 1, &[("01.2.3", 2), ("2.0.0", 1)], &["01.2.3"]),
            (&[], 3, &[], &[]),
        ] {
            assert_eq!(pick(names, count, created), expected, "{names:?}");
        }
    }

    #[test]
    fn derived_and_invalid_tags_are_no_candidates() {
        let names = ["v1", "v1_accelerated", "v1_containerd_accelerated", "v1", "bad tag", "x"];
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let all = TagPattern::new(".*").expect("pattern");
        assert_eq!(candidates(&names, &all, true), tags(&["v1", "x"]));
        let some = TagPattern::new("v.*").expect("pattern");
        assert_eq!(candidates(&names, &some, true), tags(&["v1"]));
        let signature = format!("sha256-{}.sig", "a".repeat(64));
        let names = [signature.clone(), "v1".to_owned()];
        assert_eq!(candidates(&names, &all, true), tags(&["v1"]));
        assert_eq!(candidates(&names, &all, false), tags(&[&signature, "v1"]));
    }

    #[test]
    fn dates_are_needed_only_to_choose() {
        assert!(!needs_dates(&tags(&["a", "b"]), 2));
        assert!(needs_dates(&tags(&["a", "b", "c"]), 2));
        assert!(!needs_dates(&tags(&["1.0.0", "v2.0.0", "3.0.0"]), 2));
        assert!(needs_dates(&tags(&["1.0.0", "v2.0.0", "3.0"]), 2));
    }

    proptest! {
        /// Whatever the order in which a source lists its tags, the same are taken; nothing that
        /// was left out is newer than what was taken.
        #[test]
        fn the_order_of_the_source_does_not_matter(
            names in vec("v?[0-9]{1,2}(\\.[0-9]{1,2}){0,2}|[a-z]{1,3}", 0..12),
            times in vec(0..5_i64, 12),
            count in 0..6_usize,
        ) {
            let all = TagPattern::new(".*").expect("pattern");
            let forward = candidates(&names, &all, true);
            let created: HashMap<Tag, Millis> = forward.iter().cloned().zip(times).collect();
            let mut backward = forward.clone();
            backward.reverse();
            let taken = newest(forward.clone(), count, &created);
            prop_assert_eq!(&taken, &newest(backward, count, &created));
            prop_assert_eq!(taken.len(), count.min(forward.len()));
            if !forward.iter().all(|tag| version(tag.as_str()).is_some()) {
                let oldest = taken.iter().map(|tag| created.get(tag)).min();
                for left in forward.iter().filter(|tag| !taken.contains(tag)) {
                    prop_assert!(oldest.is_none_or(|oldest| created.get(left) <= oldest));
                }
            }
        }
    }
}
