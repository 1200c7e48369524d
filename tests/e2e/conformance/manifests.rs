//! Pushes of manifests that are refused, tags as parameters, and pushes that move tags
//! (distribution-spec, "Pushing Manifests").

use serde_json::{Value, json};

use crate::client::{Answer, Outcome, ensure};
use crate::data::LARGEST_MANIFEST;
use crate::ledger::Category;
use crate::place::{Algorithm, OCI_INDEX, OCI_MANIFEST, Place, image, random, sha256};

pub(crate) fn run(place: &Place<'_>) {
    wrong_digests(place);
    wrong_references(place);
    missing_blobs(place);
    broken_documents(place);
    too_large(place);
    tag_parameters(place);
    types(place);
    moving_tags(place);
    unknown(place);
}

/// The bytes of an image whose blobs are here.
fn good(place: &Place<'_>) -> Outcome<Vec<u8>> {
    let (config, layer) = (random(30), random(60));
    Ok(image(&place.push_blob(&config)?, 30, &place.push_blob(&layer)?, 60))
}

fn wrong_digests(place: &Place<'_>) {
    for algorithm in Algorithm::BOTH {
        let title = format!("bytes that are not of the digest, {}", algorithm.name());
        place.case(Category::ManifestPutByDigest, &title, || {
            let (body, digest) = (good(place)?, algorithm.digest(b"something else"));
            let answer = place.put_manifest(&digest, OCI_MANIFEST, &body)?;
            answer.error(400, "DIGEST_INVALID")?;
            place.client.get(&place.manifest(&digest))?.error(404, "MANIFEST_UNKNOWN")?;
            place.client.get(&place.manifest(&sha256(&body)))?.error(404, "MANIFEST_UNKNOWN")
        });
    }
    let (short, long) =
        (format!("sha256:{}", "a".repeat(63)), format!("sha256:{}", "a".repeat(65)));
    let upper = sha256(b"").to_uppercase().replace("SHA256", "sha256");
    let swapped = sha256(b"").replace("sha256", "sha512");
    for digest in [
        "sha256:",
        "sha256:zz",
        "sha512:12",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "unknown:1234",
        ":",
        "sha256:a:b",
        &short,
        &long,
        &upper,
        &swapped,
    ] {
        place.case(Category::ManifestPutByDigest, &format!("no digest: {digest}"), || {
            let answer = place.put_manifest(digest, OCI_MANIFEST, &good(place)?)?;
            answer.error(400, "DIGEST_INVALID")
        });
        for (category, method) in [
            (Category::ManifestGetByDigest, "GET"),
            (Category::ManifestHeadByDigest, "HEAD"),
            (Category::ManifestDelete, "DELETE"),
        ] {
            place.case(category, &format!("no digest: {digest}"), || {
                place.client.call(method, &place.manifest(digest)).send()?.expect(400)
            });
        }
        place.case(Category::BlobGet, &format!("no digest: {digest}"), || {
            place.client.get(&place.blob(digest))?.error(400, "DIGEST_INVALID")
        });
        place.case(Category::Referrers, &format!("no digest: {digest}"), || {
            let path = place.path(&format!("referrers/{digest}"));
            place.client.get(&path)?.error(400, "DIGEST_INVALID")
        });
        place.case(Category::BlobPostPut, &format!("no digest: {digest}"), || {
            let answer = place.close(&place.begin("")?, digest, b"")?;
            answer.error(400, "DIGEST_INVALID")
        });
        place.case(Category::BlobPostOnly, &format!("no digest: {digest}"), || {
            let path = place.uploads(&format!("?digest={digest}"));
            place.client.post(&path)?.error(400, "DIGEST_INVALID")
        });
    }
    place.case(Category::BlobPostPut, "no digest at all", || {
        let call = place.client.call("PUT", &place.begin("")?).body(b"x");
        call.send()?.error(400, "DIGEST_INVALID")
    });
}

fn wrong_references(place: &Place<'_>) {
    let long = "a".repeat(129);
    for tag in [".hidden", "-dash", "a b", "ä", "a+b", "a@b", &long] {
        place.case(Category::ManifestPutByTag, &format!("no tag: {tag}"), || {
            let answer = place.put_manifest(tag, OCI_MANIFEST, &good(place)?)?;
            answer.error(400, "TAG_INVALID")
        });
        place.case(Category::ManifestPutTagParameters, &format!("no tag: {tag}"), || {
            let body = good(place)?;
            let encoded = tag.replace('+', "%2B");
            let reference = format!("{}?tag=fine&tag={encoded}", sha256(&body));
            let answer = place.put_manifest(&reference, OCI_MANIFEST, &body)?;
            answer.error(400, "TAG_INVALID")?;
            place.client.get(&place.manifest("fine"))?.error(404, "MANIFEST_UNKNOWN")
        });
    }
    let longest = "a".repeat(128);
    for tag in ["_", "0", "A.b-C_d", "v1..2--3__4", &longest] {
        place.case(Category::ManifestPutByTag, &format!("tag {tag}"), || {
            let body = good(place)?;
            place.put_manifest(tag, OCI_MANIFEST, &body)?.expect(201)?;
            place.client.get(&place.manifest(tag))?.is(&body)
        });
    }
}

fn missing_blobs(place: &Place<'_>) {
    let refused = |body: &[u8]| -> Outcome {
        for reference in ["dangling", &sha256(body)] {
            let answer = place.put_manifest(reference, OCI_MANIFEST, body)?;
            answer.error(400, "MANIFEST_BLOB_UNKNOWN")?;
            place.client.get(&place.manifest(reference))?.error(404, "MANIFEST_UNKNOWN")?;
        }
        Ok(())
    };
    let category = Category::ManifestPutByTag;
    place.case(category, "a layer that was never pushed", || {
        let config = place.push_blob(&random(30))?;
        refused(&image(&config, 30, &sha256(&random(8)), 8))
    });
    place.case(category, "a config that was never pushed", || {
        let layer = place.push_blob(&random(30))?;
        refused(&image(&sha256(&random(8)), 8, &layer, 30))
    });
    place.case(category, "a layer of another repository", || {
        let other = place.elsewhere();
        let (layer, config) = (other.push_blob(&random(31))?, place.push_blob(&random(30))?);
        refused(&image(&config, 30, &layer, 31))
    });
    place.case(category, "a layer of another size", || {
        let (config, layer) = (place.push_blob(&random(30))?, place.push_blob(&random(40))?);
        let body = image(&config, 30, &layer, 41);
        place.put_manifest("size", OCI_MANIFEST, &body)?.error(400, "MANIFEST_INVALID")
    });
}

fn broken_documents(place: &Place<'_>) {
    let digest = sha256(b"");
    let config = json!({ "mediaType": "application/x", "digest": digest, "size": 0 });
    let image = |extra: Value| {
        let mut document = json!({ "schemaVersion": 2, "config": config, "layers": [] });
        for (name, value) in extra.as_object().expect("an object") {
            document[name] = value.clone();
        }
        document.to_string()
    };
    let bad = json!([{ "mediaType": "application/x", "digest": "sha256:bad", "size": 1 }]);
    let negative = json!([{ "mediaType": "application/x", "digest": digest, "size": -1 }]);
    let subject = json!({ "mediaType": OCI_MANIFEST, "digest": "nothing", "size": 1 });
    let table = [
        ("nothing", String::new()),
        ("no JSON", "{\"schemaVersion\":2,".to_owned()),
        ("no object", "[]".to_owned()),
        ("an empty object", "{}".to_owned()),
        ("no config", "{\"schemaVersion\":2,\"layers\":[]}".to_owned()),
        ("another schema", image(json!({ "schemaVersion": 3 }))),
        ("schema 1", image(json!({ "schemaVersion": 1 }))),
        ("another media type", image(json!({ "mediaType": OCI_INDEX }))),
        ("image and index", image(json!({ "manifests": [] }))),
        ("a layer with a bad digest", image(json!({ "layers": bad }))),
        ("a layer with a negative size", image(json!({ "layers": negative }))),
        ("a subject with a bad digest", image(json!({ "subject": subject }))),
        ("not UTF-8", "\u{0}".to_owned()),
        ("something behind its end", format!("{}x", image(json!({})))),
        ("a field twice", "{\"schemaVersion\":2,\"schemaVersion\":2}".to_owned()),
    ];
    for (label, text) in table {
        place.case(Category::ManifestPutByTag, label, || {
            place.push(&digest, b"")?;
            let answer = place.put_manifest("broken", OCI_MANIFEST, text.as_bytes())?;
            answer.error(400, "MANIFEST_INVALID")?;
            let reference = sha256(text.as_bytes());
            let answer = place.put_manifest(&reference, OCI_MANIFEST, text.as_bytes())?;
            answer.error(400, "MANIFEST_INVALID")?;
            place.client.get(&place.manifest("broken"))?.error(404, "MANIFEST_UNKNOWN")
        });
    }
}

fn too_large(place: &Place<'_>) {
    for beyond in [1, 1 << 20, 12 << 20] {
        for streamed in [false, true] {
            let title = format!("{beyond} bytes beyond the limit, streamed: {streamed}");
            place.case(Category::ManifestPutByTag, &title, || {
                let body = vec![b' '; LARGEST_MANIFEST + beyond];
                let call = place.client.call("PUT", &place.manifest("large"));
                let call = call.header("content-type", OCI_MANIFEST);
                let call = if streamed { call.streamed(&body) } else { call.body(&body) };
                call.send()?.error(413, "MANIFEST_INVALID")
            });
        }
    }
}

fn tag_parameters(place: &Place<'_>) {
    let category = Category::ManifestPutTagParameters;
    let told = |answer: &Answer| -> Vec<String> {
        let values = answer.headers.get_all("oci-tag").iter().filter_map(|tag| tag.to_str().ok());
        values.flat_map(|value| value.split(',')).map(|tag| tag.trim().to_owned()).collect()
    };
    for algorithm in Algorithm::BOTH {
        for count in [1, 10, 50] {
            place.case(category, &format!("{count} tags, {}", algorithm.name()), || {
                let body = good(place)?;
                let digest = algorithm.digest(&body);
                let tags: Vec<String> = (0..count).map(|n| format!("many-{n}")).collect();
                let reference = format!("{digest}?tag={}", tags.join("&tag="));
                let answer = place.put_manifest(&reference, OCI_MANIFEST, &body)?;
                answer.expect(201)?;
                answer.ensure(told(&answer) == tags, "every tag is told")?;
                for tag in &tags {
                    let found = place.client.get(&place.manifest(tag))?;
                    found.has("docker-content-digest", &digest)?;
                    found.is(&body)?;
                }
                Ok(())
            });
        }
    }
    place.case(category, "the same tag twice", || {
        let body = good(place)?;
        let reference = format!("{}?tag=twin&tag=twin", sha256(&body));
        let answer = place.put_manifest(&reference, OCI_MANIFEST, &body)?;
        answer.expect(201)?;
        answer.ensure(told(&answer) == ["twin"], "it is told once")
    });
    place.case(category, "other parameters are no tags", || {
        let body = good(place)?;
        let answer = place.put_manifest(
            &format!("{}?ns=example&t=x", sha256(&body)),
            OCI_MANIFEST,
            &body,
        )?;
        answer.expect(201)?;
        answer.lacks("oci-tag")
    });
}

fn types(place: &Place<'_>) {
    let category = Category::ManifestPutByTag;
    for (label, sent) in [
        ("with parameters", Some(format!("{OCI_MANIFEST}; charset=utf-8"))),
        ("in capitals", Some(OCI_MANIFEST.to_uppercase())),
        ("that says nothing", Some("application/json".to_owned())),
        ("absent", None),
    ] {
        place.case(category, &format!("Content-Type {label}"), || {
            let body = good(place)?;
            let mut call = place.client.call("PUT", &place.manifest("typed")).body(&body);
            if let Some(sent) = &sent {
                call = call.header("content-type", sent);
            }
            call.send()?.expect(201)?;
            place.client.get(&place.manifest("typed"))?.has("content-type", OCI_MANIFEST)
        });
    }
    for sent in ["application/vnd.example.unknown", OCI_INDEX, "text/html"] {
        place.case(category, &format!("an image as {sent}"), || {
            place.put_manifest("typed", sent, &good(place)?)?.error(400, "MANIFEST_INVALID")
        });
    }
}

fn moving_tags(place: &Place<'_>) {
    place.case(Category::ManifestPutByTag, "a tag moves and the old manifest stays", || {
        let (one, two) = (good(place)?, good(place)?);
        place.put_manifest("moves", OCI_MANIFEST, &one)?.expect(201)?;
        place.put_manifest("moves", OCI_MANIFEST, &two)?.expect(201)?;
        place.client.get(&place.manifest("moves"))?.is(&two)?;
        place.client.get(&place.manifest(&sha256(&one)))?.is(&one)?;
        let etag = format!("\"{}\"", sha256(&one));
        let call = place.client.call("GET", &place.manifest("moves"));
        call.header("if-none-match", etag).send()?.expect(200)
    });
    place.case(Category::ManifestPutByDigest, "one document under both algorithms", || {
        let body = good(place)?;
        let digests = Algorithm::BOTH.map(|algorithm| algorithm.digest(&body));
        for digest in &digests {
            place.put_manifest(digest, OCI_MANIFEST, &body)?.expect(201)?;
        }
        for digest in &digests {
            let found = place.client.get(&place.manifest(digest))?;
            found.has("docker-content-digest", digest)?;
            found.is(&body)?;
        }
        let [one, other] = &digests;
        place.client.delete(&place.manifest(one))?.expect(202)?;
        place.client.get(&place.manifest(other))?.is(&body)
    });
    place.case(Category::ManifestDelete, "what is deleted may be pushed again", || {
        let body = good(place)?;
        let path = place.manifest(&sha256(&body));
        for _ in 0..2 {
            place.put_manifest("again", OCI_MANIFEST, &body)?.expect(201)?;
            place.client.delete(&path)?.expect(202)?;
            place.client.get(&place.manifest("again"))?.error(404, "MANIFEST_UNKNOWN")?;
        }
        Ok(())
    });
}

fn unknown(place: &Place<'_>) {
    for (get, head, reference) in [
        (Category::ManifestGetByTag, Category::ManifestHeadByTag, "never".to_owned()),
        (Category::ManifestGetByDigest, Category::ManifestHeadByDigest, sha256(b"never pushed")),
    ] {
        place.case(get, "never pushed", || {
            place.client.get(&place.manifest(&reference))?.error(404, "MANIFEST_UNKNOWN")
        });
        place.case(get, "in no repository", || {
            let other = place.elsewhere();
            place.client.get(&other.manifest(&reference))?.error(404, "NAME_UNKNOWN")
        });
        place.case(head, "never pushed", || {
            let answer = place.client.head(&place.manifest(&reference))?;
            answer.expect(404)?;
            ensure(answer.body.is_empty(), || "HEAD has no body".to_owned())
        });
    }
}
