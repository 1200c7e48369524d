//! Where the next page of a list is: the `Link` field (RFC 8288), as registries write it.
//!
//! A field that is there is followed or is a fault. Taking one that was not understood for "no more
//! pages" would pass a part of a list off as the whole.

use http::HeaderMap;
use http::header::LINK;

/// One link: its target and its relation types.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    target: String,
    /// `None` when it names none.
    relation: Option<String>,
}

/// The target of the first link whose relation is `next`; else of the first that names no relation,
/// which is how several registries write it.
///
/// # Errors
/// In words, when there is a field that cannot be read.
pub(crate) fn next(headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    let mut unnamed = None;
    for value in headers.get_all(LINK) {
        let text = std::str::from_utf8(value.as_bytes()).map_err(|_| "it is not UTF-8")?;
        for link in parse(text)? {
            match &link.relation {
                Some(types) if is_next(types) => return Ok(Some(link.target)),
                Some(_) => {}
                None => unnamed = unnamed.or(Some(link.target)),
            }
        }
    }
    Ok(unnamed)
}

/// Relation types are compared without case (RFC 8288 §2.1.1), and there may be several (§3.3).
fn is_next(types: &str) -> bool {
    types.split_ascii_whitespace().any(|one| one.eq_ignore_ascii_case("next"))
}

fn parse(field: &str) -> Result<Vec<Link>, &'static str> {
    let mut links = Vec::new();
    let mut rest = field;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Ok(links);
        }
        let (target, after) = split_target(rest)?;
        let (relation, after) = split_parameters(after)?;
        if target.is_empty() {
            return Err("its target is empty");
        }
        links.push(Link { target: target.to_owned(), relation });
        rest = after;
    }
}

/// `<target>`, or a target without the brackets, which ends where parameters or the link end.
fn split_target(text: &str) -> Result<(&str, &str), &'static str> {
    if let Some(bracketed) = text.strip_prefix('<') {
        let (target, after) = bracketed.split_once('>').ok_or("`<` has no `>`")?;
        return Ok((target.trim(), after));
    }
    let end = text.find([';', ',']).unwrap_or(text.len());
    let (target, after) = text.split_at(end);
    if target.contains(['<', '>', '"']) {
        return Err("its target is neither in `<>` nor bare");
    }
    Ok((target.trim(), after))
}

/// The first `rel` among the parameters (later ones are ignored, §3.3), and what follows the link.
fn split_parameters(text: &str) -> Result<(Option<String>, &str), &'static str> {
    let mut relation = None;
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        if rest.is_empty() || rest.starts_with(',') {
            return Ok((relation, rest));
        }
        let end = rest.find(['=', ';', ',', ' ', '\t']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if name.is_empty() || name.contains(['<', '"']) {
            return Err("its parameters cannot be read");
        }
        let (value, after) = match after.trim_start().strip_prefix('=') {
            Some(value) => split_value(value.trim_start())?,
            None => (String::new(), after),
        };
        if name.eq_ignore_ascii_case("rel") && !value.trim().is_empty() {
            relation = relation.or(Some(value));
        }
        rest = after;
    }
}

/// A token, or a text in quotation marks.
fn split_value(text: &str) -> Result<(String, &str), &'static str> {
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''));
    let Some(quote) = quote else {
        let end = text.find([';', ',', ' ', '\t']).unwrap_or(text.len());
        let (value, after) = text.split_at(end);
        return Ok((value.to_owned(), after));
    };
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((index, character)) = characters.next() {
        match character {
            one if one == quote => {
                return Ok((value, text.get(index + 1..).unwrap_or_default()));
            }
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    Err("a quotation mark is not closed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn next_of(fields: &[&str]) -> Result<Option<String>, &'static str> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(LINK, HeaderValue::from_bytes(field.as_bytes()).expect(field));
        }
        next(&headers)
    }

    #[test]
    fn every_form_of_a_next_page_is_read() {
        let page = "/v2/a/tags/list?last=x&n=2";
        for field in [
            r#"<P>; rel="next""#,
            "<P>; rel=next",
            r#"<P>; rel="NEXT""#,
            r#"<P>;REL="Next""#,
            "<P>; rel='next'",
            r#"<P> ; rel = "next""#,
            r#"<P>; rel="prev next""#,
            r#"<P>; title="a, <b>; rel=prev"; rel="next""#,
            r#"<P> rel="next""#,
            "<P>",
            "<P>;",
            "<P>; rel",
            r#"<P>; rel="""#,
            r#"P; rel="next""#,
            "P",
            r#"</first>; rel=first, <P>; rel="next", </last>; rel=last"#,
            r#"</about>, <P>; rel="next""#,
            r#", <P>; rel="next", "#,
        ] {
            assert_eq!(next_of(&[&field.replace('P', page)]), Ok(Some(page.to_owned())), "{field}");
        }
        assert_eq!(next_of(&["</a>; rel=prev", "</b>; rel=next"]), Ok(Some("/b".to_owned())));
        assert_eq!(next_of(&["</ä>; rel=next"]), Ok(Some("/ä".to_owned())));
    }

    #[test]
    fn links_of_other_relations_are_no_pages() {
        for field in ["</a>; rel=prev", r#"</a>; rel="first last"; rel="next""#, "", " , "] {
            assert_eq!(next_of(&[field]), Ok(None), "{field}");
        }
        assert_eq!(next_of(&[]), Ok(None));
    }

    #[test]
    fn what_cannot_be_read_is_a_fault() {
        for field in ["<", "</a", r#"</a>; rel="next"#, "<>; rel=next", "; rel=next", "</a>; =next"]
        {
            assert!(next_of(&[field]).is_err(), "{field}");
        }
        let mut headers = HeaderMap::new();
        headers.append(LINK, HeaderValue::from_bytes(b"</\xff>; rel=next").expect("bytes"));
        assert!(next(&headers).is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_always_ends(field in "[<>;,=\"'\\\\ a-zA-Z/é]{0,40}") {
            let _ = parse(&field);
        }
    }
}
