//! Every kind of content through its whole life: pushed, listed, pulled by each name, deleted.

use serde_json::{Value, json};

use crate::client::{Answer, Outcome};
use crate::data::{Data, Document};
use crate::ledger::Category;
use crate::place::{Algorithm, DIGEST, OCI_INDEX, Place, sha256};

pub(crate) fn run(place: &Place<'_>, data: &Data) {
    let blobs = place.case(Category::BlobPostPut, "its blobs", || {
        data.blobs.iter().try_for_each(|blob| place.push(&blob.digest, &blob.content))
    });
    if blobs.is_none() {
        return;
    }
    for document in &data.documents {
        put(place, data, document);
    }
    for document in &data.documents {
        pull(place, document);
        conditions(place, document);
        referred(place, document);
    }
    list(place, data);
    blobs_pulled(place, data);
    for document in data.documents.iter().rev() {
        delete(place, document);
    }
    blobs_deleted(place, data);
}

/// What the answer to a push says.
fn pushed(place: &Place<'_>, answer: &Answer, document: &Document, digest: &str) -> Outcome {
    answer.expect(201)?;
    answer.has(DIGEST, digest)?;
    match &document.subject {
        Some(subject) => answer.has("oci-subject", subject)?,
        None => answer.lacks("oci-subject")?,
    }
    place.leads_to(answer, &document.body)
}

fn put(place: &Place<'_>, data: &Data, document: &Document) {
    let Document { tag, media_type, digest, body, .. } = document;
    let name = |what: &str| format!("{tag}: {what}");
    place.case(Category::ManifestPutByDigest, &name("by digest"), || {
        let answer = place.put_manifest(digest, media_type, body)?;
        answer.lacks("oci-tag")?;
        pushed(place, &answer, document, digest)
    });
    place.case(Category::ManifestPutByDigest, &name("by digest again"), || {
        pushed(place, &place.put_manifest(digest, media_type, body)?, document, digest)
    });
    let tagged = match data.algorithm {
        Algorithm::Sha256 => place.case(Category::ManifestPutByTag, &name("by tag"), || {
            pushed(place, &place.put_manifest(tag, media_type, body)?, document, digest)
        }),
        // A push by tag says nothing of sha512.
        Algorithm::Sha512 => place.case(Category::ManifestPutTagParameters, &name("tag"), || {
            let answer = place.put_manifest(&format!("{digest}?tag={tag}"), media_type, body)?;
            answer.has("oci-tag", tag)?;
            pushed(place, &answer, document, digest)
        }),
    };
    place.case(Category::ManifestPutTagParameters, &name("with two tags"), || {
        let reference = format!("{digest}?tag={tag}-a&tag={tag}-b");
        let answer = place.put_manifest(&reference, media_type, body)?;
        let tags: Vec<_> = answer.headers.get_all("oci-tag").iter().collect();
        answer.ensure(tags == [&format!("{tag}-a"), &format!("{tag}-b")], "both tags expected")?;
        pushed(place, &answer, document, digest)
    });
    if document.subject.is_some() && tagged.is_some() {
        place.case(Category::ManifestPutWithSubject, &name("the subject is told"), || {
            let answer = place.put_manifest(digest, media_type, body)?;
            answer.has("oci-subject", document.subject.as_deref().unwrap_or_default())
        });
    }
}

fn pull(place: &Place<'_>, document: &Document) {
    let Document { tag, media_type, digest, body, .. } = document;
    let told = |answer: &Answer| -> Outcome {
        answer.expect(200)?;
        answer.has("content-type", media_type)?;
        answer.has("content-length", &body.len().to_string())?;
        answer.has("etag", &format!("\"{digest}\""))?;
        answer.has(DIGEST, digest)
    };
    let by_tag = [tag.clone(), format!("{tag}-a"), format!("{tag}-b")];
    for reference in by_tag.iter().chain([digest]) {
        let (get, head) = match reference.contains(':') {
            true => (Category::ManifestGetByDigest, Category::ManifestHeadByDigest),
            false => (Category::ManifestGetByTag, Category::ManifestHeadByTag),
        };
        place.case(get, reference, || {
            let call = place.client.call("GET", &place.manifest(reference));
            let answer = call.header("accept", format!("{OCI_INDEX}, {media_type}")).send()?;
            told(&answer)?;
            answer.is(body)
        });
        place.case(head, reference, || {
            let answer = place.client.head(&place.manifest(reference))?;
            told(&answer)?;
            answer.is(&[])
        });
    }
}

fn conditions(place: &Place<'_>, document: &Document) {
    let etag = format!("\"{}\"", document.digest);
    for (category, method, reference) in [
        (Category::ManifestGetByTag, "GET", &document.tag),
        (Category::ManifestGetByDigest, "GET", &document.digest),
        (Category::ManifestHeadByTag, "HEAD", &document.tag),
        (Category::ManifestHeadByDigest, "HEAD", &document.digest),
    ] {
        let ask = |value: &str| {
            let call = place.client.call(method, &place.manifest(reference));
            call.header("if-none-match", value).send()
        };
        place.case(category, &format!("{method} {reference} if changed"), || {
            let same = ask(&etag)?;
            same.expect(304)?;
            same.is(&[])?;
            same.has("etag", &etag)?;
            ask(&format!("\"{}\"", sha256(b"other")))?.expect(200)
        });
    }
}

/// The referrers of its subject, it among them.
fn referred(place: &Place<'_>, document: &Document) {
    let Some(subject) = &document.subject else { return };
    place.case(Category::Referrers, &format!("{} is one", document.tag), || {
        let answer = referrers(place, subject)?;
        let found = descriptors(&answer)?;
        let same: Vec<&Value> =
            found.iter().filter(|one| one["digest"] == document.digest.as_str()).collect();
        answer.ensure(same == [&document.descriptor], format!("{} expected", document.descriptor))
    });
}

fn referrers(place: &Place<'_>, subject: &str) -> Outcome<Answer> {
    let answer = place.client.get(&place.path(&format!("referrers/{subject}")))?;
    answer.expect(200)?;
    answer.has("content-type", OCI_INDEX)?;
    let document = answer.json()?;
    let form = document["schemaVersion"] == 2 && document["mediaType"] == OCI_INDEX;
    answer.ensure(form, "an index expected")?;
    Ok(answer)
}

fn descriptors(answer: &Answer) -> Outcome<Vec<Value>> {
    let found = answer.json()?["manifests"].as_array().cloned();
    found.ok_or_else(|| answer.failure("no manifests"))
}

fn list(place: &Place<'_>, data: &Data) {
    place.case(Category::TagList, "its tags", || {
        let tags = |one: &Document| ["", "-a", "-b"].map(|end| format!("{}{end}", one.tag));
        let mut expected: Vec<String> = data.documents.iter().flat_map(tags).collect();
        expected.sort();
        let answer = place.client.get(&place.path("tags/list"))?;
        answer.expect(200)?;
        answer.ensure(answer.json()?["tags"] == json!(expected), "all tags, in order, expected")
    });
}

fn blobs_pulled(place: &Place<'_>, data: &Data) {
    for blob in &data.blobs {
        place.case(Category::BlobGet, &blob.digest, || {
            let answer = place.client.get(&place.blob(&blob.digest))?;
            answer.expect(200)?;
            answer.has(DIGEST, &blob.digest)?;
            answer.is(&blob.content)
        });
        place.case(Category::BlobHead, &blob.digest, || {
            let answer = place.client.head(&place.blob(&blob.digest))?;
            answer.expect(200)?;
            answer.has("content-length", &blob.content.len().to_string())
        });
    }
}

fn delete(place: &Place<'_>, document: &Document) {
    let Document { tag, digest, body, .. } = document;
    let gone = |reference: &str| -> Outcome {
        place.client.get(&place.manifest(reference))?.error(404, "MANIFEST_UNKNOWN")?;
        place.client.head(&place.manifest(reference))?.expect(404)
    };
    place.case(Category::TagDelete, tag, || {
        place.client.delete(&place.manifest(tag))?.expect(202)?;
        gone(tag)?;
        place.client.get(&place.manifest(&format!("{tag}-a")))?.is(body)?;
        place.client.get(&place.manifest(digest))?.is(body)
    });
    place.case(Category::ManifestDelete, tag, || {
        place.client.delete(&place.manifest(digest))?.expect(202)?;
        gone(digest)?;
        gone(&format!("{tag}-a"))?;
        place.client.delete(&place.manifest(digest))?.error(404, "MANIFEST_UNKNOWN")
    });
    let Some(subject) = &document.subject else { return };
    place.case(Category::Referrers, &format!("{tag} is none any more"), || {
        let answer = referrers(place, subject)?;
        let found = descriptors(&answer)?;
        answer.ensure(!found.iter().any(|one| one["digest"] == digest.as_str()), "it is listed")
    });
}

fn blobs_deleted(place: &Place<'_>, data: &Data) {
    for blob in &data.blobs {
        place.case(Category::BlobDelete, &blob.digest, || {
            place.client.delete(&place.blob(&blob.digest))?.expect(202)?;
            place.client.get(&place.blob(&blob.digest))?.error(404, "BLOB_UNKNOWN")
        });
    }
}
