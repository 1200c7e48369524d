//! Lists of tags, page by page, and tags that go (distribution-spec, "Listing Tags", "Deleting
//! tags").

use serde_json::{Value, json};

use crate::client::{Answer, Outcome};
use crate::ledger::Category;
use crate::place::{OCI_MANIFEST, Place, sha256};

/// In the order of their bytes, in which a list has them. Some begin with others.
const TAGS: [&str; 12] =
    ["0", "1", "1.0", "1.0-rc.1", "A", "Z", "_x", "a", "aa", "latest", "latest-1", "z_z"];

pub(crate) fn run(place: &Place<'_>) {
    let tagged = place.case(Category::TagList, "tags to list", || {
        let body = place.push_image("latest")?;
        // Neither in the order of their names nor of their times.
        for tag in TAGS.iter().rev().filter(|tag| **tag != "latest") {
            place.put_manifest(tag, OCI_MANIFEST, &body)?.expect(201)?;
        }
        Ok(body)
    });
    let Some(body) = tagged else { return };
    lists(place);
    pages(place);
    refusals(place);
    deletion(place, &body);
}

fn listed(place: &Place<'_>, query: &str, expected: &[&str]) -> Outcome<Answer> {
    let answer = place.client.get(&place.path(&format!("tags/list{query}")))?;
    answer.expect(200)?;
    answer.has("content-type", "application/json")?;
    let document = json!({ "name": place.repository, "tags": expected });
    answer.ensure(answer.json()? == document, format!("{document} expected"))?;
    Ok(answer)
}

fn lists(place: &Place<'_>) {
    let category = Category::TagList;
    place.case(category, "all", || listed(place, "", &TAGS)?.lacks("link"));
    let table: [(&str, &[&str], bool); 14] = [
        ("?n=0", &[], false),
        ("?n=0&last=A", &[], false),
        ("?n=1", &TAGS[..1], true),
        ("?n=5", &TAGS[..5], true),
        ("?n=12", &TAGS, false),
        ("?n=13", &TAGS, false),
        ("?n=18446744073709551615", &TAGS, false),
        ("?n=340282366920938463463374607431768211456", &TAGS, false),
        ("?last=A", &TAGS[5..], false),
        ("?n=3&last=1", &TAGS[2..5], true),
        ("?last=latest", &TAGS[10..], false),
        ("?n=4&last=z_z", &[], false),
        // `last` need not be a tag.
        ("?n=2&last=B", &TAGS[5..7], true),
        ("?last=", &TAGS, false),
    ];
    for (query, expected, more) in table {
        place.case(category, query, || {
            let answer = listed(place, query, expected)?;
            if more { answer.header("link").map(drop) } else { answer.lacks("link") }
        });
    }
    place.case(category, "HEAD", || {
        let answer = place.client.head(&place.path("tags/list"))?;
        answer.expect(200)?;
        answer.is(&[])
    });
}

fn pages(place: &Place<'_>) {
    for limit in [1, 4, 5, 12] {
        place.case(Category::TagList, &format!("links by {limit}"), || {
            let mut target = place.path(&format!("tags/list?n={limit}"));
            let mut found: Vec<Value> = Vec::new();
            loop {
                let answer = place.client.get(&target)?;
                answer.expect(200)?;
                let mut tags = answer.json()?["tags"].as_array().cloned().unwrap_or_default();
                answer.ensure(!tags.is_empty() && tags.len() <= limit, "a page has tags")?;
                found.append(&mut tags);
                let full = answer.ensure(found.len() <= TAGS.len(), "there are so many");
                full?;
                match next(&answer)? {
                    Some(next) => target = next,
                    None => break answer.ensure(json!(found) == json!(TAGS), "all came in order"),
                }
            }
        });
    }
}

/// The target of a `Link` with `rel="next"` (RFC 5988).
pub(crate) fn next(answer: &Answer) -> Outcome<Option<String>> {
    if !answer.headers.contains_key("link") {
        return Ok(None);
    }
    let link = answer.header("link")?;
    let target = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
    target.map(|target| Some(target.to_owned())).ok_or_else(|| answer.failure("no link"))
}

fn refusals(place: &Place<'_>) {
    for limit in ["-1", "x", "", "1.5", "+1"] {
        place.case(Category::TagList, &format!("n={limit}"), || {
            let path = place.path(&format!("tags/list?n={limit}"));
            place.client.get(&path)?.error(400, "SIZE_INVALID")
        });
    }
    place.case(Category::TagList, "of no repository", || {
        let path = place.elsewhere().path("tags/list");
        place.client.get(&path)?.error(404, "NAME_UNKNOWN")
    });
    place.case(Category::TagList, "of a repository without tags", || {
        let other = place.elsewhere();
        other.push_blob(b"no tag")?;
        listed(&other, "", &[])?;
        listed(&other, "?n=5&last=a", &[])?.lacks("link")
    });
    place.case(Category::TagList, "of manifests without tags", || {
        let other = place.elsewhere();
        other.push_image("")?;
        listed(&other, "", &[])?.lacks("link")
    });
}

fn deletion(place: &Place<'_>, body: &[u8]) {
    let category = Category::TagDelete;
    let digest = sha256(body);
    place.case(category, "one of many", || {
        place.client.delete(&place.manifest("aa"))?.expect(202)?;
        place.client.get(&place.manifest("aa"))?.error(404, "MANIFEST_UNKNOWN")?;
        place.client.head(&place.manifest("aa"))?.expect(404)?;
        place.client.get(&place.manifest("a"))?.is(body)?;
        place.client.get(&place.manifest(&digest))?.is(body)?;
        let rest: Vec<&str> = TAGS.into_iter().filter(|tag| *tag != "aa").collect();
        listed(place, "", &rest).map(drop)
    });
    place.case(category, "again", || {
        place.client.delete(&place.manifest("aa"))?.error(404, "MANIFEST_UNKNOWN")
    });
    place.case(category, "then another manifest under its name", || {
        let other = place.push_image("aa")?;
        place.client.get(&place.manifest("aa"))?.is(&other)
    });
    place.case(category, "the last one leaves the manifest", || {
        let other = place.elsewhere();
        let body = other.push_image("only")?;
        place.client.delete(&other.manifest("only"))?.expect(202)?;
        place.client.get(&other.manifest(&sha256(&body)))?.is(&body)?;
        listed(&other, "", &[]).map(drop)
    });
    place.case(category, "a manifest goes with its tags", || {
        let other = place.elsewhere();
        let body = other.push_image("one")?;
        other.put_manifest("two", OCI_MANIFEST, &body)?.expect(201)?;
        other.push_image("three")?;
        place.client.delete(&other.manifest(&sha256(&body)))?.expect(202)?;
        for tag in ["one", "two"] {
            place.client.get(&other.manifest(tag))?.error(404, "MANIFEST_UNKNOWN")?;
        }
        listed(&other, "", &["three"]).map(drop)
    });
    for reference in ["never", &sha256(b"never pushed")] {
        place.case(category, &format!("of what was never pushed, {reference}"), || {
            place.client.delete(&place.manifest(reference))?.error(404, "MANIFEST_UNKNOWN")
        });
    }
    place.case(category, "in no repository", || {
        let other = place.elsewhere();
        place.client.delete(&other.manifest("any"))?.error(404, "NAME_UNKNOWN")
    });
}
