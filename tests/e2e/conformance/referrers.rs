//! Who refers to a manifest: filters, pages, and the tags that did the same before there was an API
//! for it (distribution-spec, "Listing Referrers", "Referrers Tag Schema", "Enabling the Referrers
//! API").

use serde_json::{Value, json};

use crate::client::{Answer, Outcome};
use crate::ledger::Category;
use crate::place::{Algorithm, OCI_INDEX, OCI_MANIFEST, Place, random, sha256};
use crate::tags::next;

pub(crate) fn run(place: &Place<'_>) {
    nobody(place);
    filters(place);
    pages(place);
    heavy_pages(place);
    fallback_tags(place);
    either_order(place);
}

/// The bytes of an artifact that refers to a digest.
fn artifact(place: &Place<'_>, subject: &str, kind: &str, annotation: &str) -> Outcome<Vec<u8>> {
    place.push_blob(b"{}")?;
    let empty = json!({
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": sha256(b"{}"),
        "size": 2,
    });
    let document = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": kind,
        "config": empty,
        "layers": [empty],
        "subject": { "mediaType": OCI_MANIFEST, "digest": subject, "size": 7 },
        "annotations": { "org.example.text": annotation },
    });
    Ok(document.to_string().into_bytes())
}

fn push(place: &Place<'_>, body: &[u8]) -> Outcome<String> {
    let digest = sha256(body);
    let answer = place.put_manifest(&digest, OCI_MANIFEST, body)?;
    answer.expect(201)?;
    answer.header("oci-subject")?;
    Ok(digest)
}

fn ask(place: &Place<'_>, subject: &str, query: &str) -> Outcome<Answer> {
    let answer = place.client.get(&place.path(&format!("referrers/{subject}{query}")))?;
    answer.expect(200)?;
    answer.has("content-type", OCI_INDEX)?;
    let document = answer.json()?;
    let form = document["schemaVersion"] == 2 && document["mediaType"] == OCI_INDEX;
    answer.ensure(form && document["manifests"].is_array(), "an index expected")?;
    Ok(answer)
}

/// The digests of an answer.
fn digests(answer: &Answer) -> Outcome<Vec<String>> {
    let document = answer.json()?;
    let list = document["manifests"].as_array().cloned().unwrap_or_default();
    let digest = |one: &Value| one["digest"].as_str().map(str::to_owned);
    let found: Option<Vec<String>> = list.iter().map(digest).collect();
    found.ok_or_else(|| answer.failure("a descriptor without digest"))
}

fn all(place: &Place<'_>, subject: &str, query: &str) -> Outcome<Vec<String>> {
    let answer = ask(place, subject, query)?;
    answer.lacks("link")?;
    digests(&answer)
}

fn nobody(place: &Place<'_>) {
    for algorithm in Algorithm::BOTH {
        let subject = algorithm.digest(&random(8));
        let title = format!("of a digest that nobody knows, {}", algorithm.name());
        place.case(Category::Referrers, &title, || {
            place.push_blob(b"{}")?;
            let answer = ask(place, &subject, "")?;
            answer.lacks("link")?;
            answer.lacks("oci-filters-applied")?;
            answer.ensure(answer.json()?["manifests"] == json!([]), "an empty list expected")
        });
    }
    place.case(Category::Referrers, "in no repository", || {
        let other = place.elsewhere();
        let found = all(&other, &sha256(&random(8)), "")?;
        ask(&other, &sha256(b""), "")?.ensure(found.is_empty(), "an empty list expected")
    });
    place.case(Category::Referrers, "are not for nobody", || {
        let path = place.path(&format!("referrers/{}", sha256(b"")));
        place.client.call("GET", &path).nobody().send()?.error(401, "UNAUTHORIZED")
    });
    place.case(Category::Referrers, "of a manifest without any", || {
        let body = place.push_image("alone")?;
        let found = all(place, &sha256(&body), "")?;
        ask(place, &sha256(&body), "")?.ensure(found.is_empty(), "an empty list expected")
    });
}

fn filters(place: &Place<'_>) {
    let category = Category::Referrers;
    let subject = sha256(&random(8));
    let (one, two) = ("application/vnd.example.one+json", "application/vnd.example.two");
    let pushed = place.case(category, "three to filter", || {
        let push = |kind, text| push(place, &artifact(place, &subject, kind, text)?);
        Ok((push(one, "a")?, push(two, "b")?, push(two, "c")?))
    });
    let Some((first, second, third)) = pushed else { return };
    let table = [
        ("one type", "?artifactType=application%2Fvnd.example.one%2Bjson", vec![&first]),
        ("a plus sign as it is", "?artifactType=application/vnd.example.one+json", vec![&first]),
        ("another type", "?artifactType=application/vnd.example.two", vec![&second, &third]),
        ("a type that none has", "?artifactType=application/vnd.example.none", vec![]),
        ("the beginning of a type", "?artifactType=application/vnd.example", vec![]),
    ];
    for (label, query, mut expected) in table {
        place.case(category, &format!("filter: {label}"), || {
            expected.sort();
            let answer = ask(place, &subject, query)?;
            answer.has("oci-filters-applied", "artifactType")?;
            answer.lacks("link")?;
            let found = digests(&answer)?;
            answer.ensure(found.iter().collect::<Vec<_>>() == expected, "others expected")
        });
    }
    for query in ["", "?artifactType=", "?other=x"] {
        place.case(category, &format!("no filter: {query}"), || {
            let answer = ask(place, &subject, query)?;
            answer.lacks("oci-filters-applied")?;
            answer.ensure(digests(&answer)?.len() == 3, "three expected")
        });
    }
}

fn walk(place: &Place<'_>, subject: &str, query: &str, most: usize) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    let mut target = place.path(&format!("referrers/{subject}{query}"));
    loop {
        let answer = place.client.get(&target)?;
        answer.expect(200)?;
        answer.has("content-type", OCI_INDEX)?;
        let page = digests(&answer)?;
        answer.ensure(page.len() <= most, format!("at most {most} expected"))?;
        answer.ensure(answer.body.len() <= 4 << 20, "an index of at most 4 MiB expected")?;
        let follows = next(&answer)?;
        answer.ensure(!page.is_empty() || follows.is_none(), "a page without any")?;
        found.extend(page);
        match follows {
            Some(next) => target = next,
            None => return Ok(found),
        }
    }
}

fn pages(place: &Place<'_>) {
    let category = Category::Referrers;
    let subject = sha256(&random(8));
    let kinds = ["application/vnd.example.even", "application/vnd.example.odd"];
    let pushed = place.case(category, "eleven to page", || {
        (0..11)
            .map(|n| push(place, &artifact(place, &subject, kinds[n % 2], &n.to_string())?))
            .collect::<Outcome<Vec<String>>>()
    });
    let Some(pushed) = pushed else { return };
    let sorted = |take: &dyn Fn(usize) -> bool| {
        let taken = pushed.iter().enumerate().filter(|(n, _)| take(*n));
        let mut taken: Vec<String> = taken.map(|(_, digest)| digest.clone()).collect();
        taken.sort();
        taken
    };
    for limit in [1, 4, 10, 11, 50] {
        place.case(category, &format!("pages of {limit}"), || {
            let found = walk(place, &subject, &format!("?n={limit}"), limit)?;
            let answer = ask(place, &subject, "")?;
            answer.ensure(found == sorted(&|_| true), format!("all once expected: {found:?}"))
        });
        place.case(category, &format!("pages of {limit} of one type"), || {
            let query = format!("?artifactType={}&n={limit}", kinds[1]);
            let found = walk(place, &subject, &query, limit)?;
            let answer = ask(place, &subject, &query)?;
            answer.has("oci-filters-applied", "artifactType")?;
            answer.ensure(found == sorted(&|n| n % 2 == 1), format!("five expected: {found:?}"))
        });
    }
    for query in ["?n=x", "?n=-1", "?last=x"] {
        place.case(category, &format!("no page: {query}"), || {
            let path = place.path(&format!("referrers/{subject}{query}"));
            place.client.get(&path)?.expect(400)
        });
    }
}

/// Long annotations make short pages: no client reads an index of any length.
fn heavy_pages(place: &Place<'_>) {
    place.case(Category::Referrers, "pages by weight", || {
        let subject = sha256(&random(8));
        let mut pushed = Vec::new();
        for n in 0..5 {
            let text = format!("{n}{}", "x".repeat(3 << 19));
            let kind = "application/vnd.example.heavy";
            pushed.push(push(place, &artifact(place, &subject, kind, &text)?)?);
        }
        pushed.sort();
        let answer = ask(place, &subject, "")?;
        answer.header("link")?;
        let found = walk(place, &subject, "", 1000)?;
        if found == pushed { Ok(()) } else { Err(answer.failure("all once expected")) }
    });
}

/// What was pushed by clients that knew no referrers API, in whatever registry, is understood.
fn fallback_tags(place: &Place<'_>) {
    for algorithm in Algorithm::BOTH {
        place.case(Category::FallbackTags, &format!("is a list too, {}", algorithm.name()), || {
            let subject = algorithm.digest(&random(8));
            let body = artifact(place, &subject, "application/vnd.example.sbom", "old")?;
            let digest = push(place, &body)?;
            let listed = ask(place, &subject, "")?;
            let tag: String =
                subject.replace(':', "-").chars().take("sha256-".len() + 64).collect();
            // The index that such a client keeps under the tag: the same descriptors.
            let index = listed.body.clone();
            place.put_manifest(&tag, OCI_INDEX, &index)?.expect(201)?;
            place.client.get(&place.manifest(&tag))?.is(&index)?;
            let found = all(place, &subject, "")?;
            listed.ensure(found == [digest.clone()], "the artifact once, the index not")?;
            // Such a client takes it from the tag and deletes it.
            place.client.delete(&place.manifest(&digest))?.expect(202)?;
            listed.ensure(all(place, &subject, "")?.is_empty(), "none expected")?;
            place.client.get(&place.manifest(&tag))?.is(&index)
        });
    }
    place.case(Category::FallbackTags, "its entries may come after it", || {
        let subject = sha256(&random(8));
        let body = artifact(place, &subject, "application/vnd.example.sbom", "late")?;
        let descriptor = json!({
            "mediaType": OCI_MANIFEST,
            "digest": sha256(&body),
            "size": body.len(),
            "artifactType": "application/vnd.example.sbom",
        });
        let index =
            json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor] });
        let index = index.to_string().into_bytes();
        let tag = subject.replace(':', "-");
        place.put_manifest(&tag, OCI_INDEX, &index)?.expect(201)?;
        let before = ask(place, &subject, "")?;
        before.ensure(digests(&before)?.is_empty(), "what is not here is not listed")?;
        let digest = push(place, &body)?;
        let after = ask(place, &subject, "")?;
        after.ensure(digests(&after)? == [digest], "the artifact expected")
    });
    place.case(Category::FallbackTags, "what has no subject refers to nobody", || {
        let subject = sha256(&random(8));
        let body = place.push_image("")?;
        let descriptor =
            json!({ "mediaType": OCI_MANIFEST, "digest": sha256(&body), "size": body.len() });
        let index =
            json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor] });
        let index = index.to_string().into_bytes();
        place.put_manifest(&subject.replace(':', "-"), OCI_INDEX, &index)?.expect(201)?;
        let answer = ask(place, &subject, "")?;
        answer.ensure(digests(&answer)?.is_empty(), "none expected")
    });
}

/// A subject may come before or after what refers to it, go, and come again.
fn either_order(place: &Place<'_>) {
    place.case(Category::ManifestPutWithSubject, "the subject comes later", || {
        let other = place.elsewhere();
        let subject_body = other.push_image("later")?;
        let subject = sha256(&subject_body);
        let digest = push(place, &artifact(place, &subject, "application/vnd.example.a", "")?)?;
        let answer = ask(place, &subject, "")?;
        answer.ensure(digests(&answer)? == [digest.clone()], "the artifact expected")?;
        // Another repository knows nothing of it.
        answer.ensure(all(&other, &subject, "")?.is_empty(), "none expected elsewhere")?;
        place.client.get(&place.manifest(&subject))?.error(404, "MANIFEST_UNKNOWN")
    });
    place.case(Category::ManifestPutWithSubject, "the subject goes", || {
        let subject = sha256(&place.push_image("goes")?);
        let digest = push(place, &artifact(place, &subject, "application/vnd.example.a", "")?)?;
        place.client.delete(&place.manifest(&subject))?.expect(202)?;
        let answer = ask(place, &subject, "")?;
        answer.ensure(digests(&answer)? == [digest.clone()], "the artifact expected")?;
        place.client.get(&place.manifest(&digest))?.expect(200)
    });
}
