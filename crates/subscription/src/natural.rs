//! The natural order of names: runs of digits compare as numbers, so that `v10` follows `v9`.

use std::cmp::Ordering;

/// Compares two names; equal only when they are the same text.
pub(crate) fn compare(left: &str, right: &str) -> Ordering {
    let (mut a, mut b) = (left.as_bytes(), right.as_bytes());
    loop {
        let order = match (a.first(), b.first()) {
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (number_a, rest_a) = split_number(a);
                let (number_b, rest_b) = split_number(b);
                (a, b) = (rest_a, rest_b);
                number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b))
            }
            (Some(x), Some(y)) => {
                (a, b) = (a.get(1..).unwrap_or_default(), b.get(1..).unwrap_or_default());
                x.cmp(y)
            }
            // Same but for leading zeros: the text decides.
            (None, None) => return left.cmp(right),
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// The digits at the front, without leading zeros, and what follows.
fn split_number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(end);
    let zeros = number.iter().take_while(|byte| **byte == b'0').count();
    (number.get(zeros..).unwrap_or_default(), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let mut names =
            ["v10", "v9", "a", "v1.10", "v1.9", "v01", "v1", "", "v", "20240102", "v9-rc"];
        names.sort_by(|a, b| compare(a, b));
        let expected =
            ["", "20240102", "a", "v", "v01", "v1", "v1.9", "v1.10", "v9", "v9-rc", "v10"];
        assert_eq!(names, expected);
    }

    proptest::proptest! {
        #[test]
        fn is_a_total_order(a in "[a-c0-2.]{0,6}", b in "[a-c0-2.]{0,6}", c in "[a-c0-2.]{0,6}") {
            use proptest::prop_assert_eq;
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&a, &b) == Ordering::Equal, a == b);
            if compare(&a, &b) == compare(&b, &c) {
                prop_assert_eq!(compare(&a, &c), compare(&a, &b));
            }
        }
    }
}
