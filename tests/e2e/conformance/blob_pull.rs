//! Blobs go out: get, ranges of them, head, delete (distribution-spec, "Pulling blobs", "Deleting
//! Blobs"; RFC 9110 §13 and §14).

use crate::client::Outcome;
use crate::ledger::Category;
use crate::place::{Algorithm, DIGEST, OCI_MANIFEST, OCTETS, Place, image, random, sha256};

pub(crate) fn run(place: &Place<'_>) {
    for algorithm in Algorithm::BOTH {
        for size in [0, 1, 5000, 2 << 20] {
            whole(place, algorithm, size);
        }
        ranges(place, algorithm);
    }
    no_range(place);
    conditions(place);
    unknown(place);
    deletion(place);
}

fn pushed(place: &Place<'_>, algorithm: Algorithm, size: usize) -> Outcome<(String, Vec<u8>)> {
    let content = random(size);
    let digest = algorithm.digest(&content);
    place.push(&digest, &content)?;
    Ok((digest, content))
}

fn whole(place: &Place<'_>, algorithm: Algorithm, size: usize) {
    let name = algorithm.name();
    place.case(Category::BlobGet, &format!("{size} bytes, {name}"), || {
        let (digest, content) = pushed(place, algorithm, size)?;
        let answer = place.client.get(&place.blob(&digest))?;
        answer.expect(200)?;
        answer.is(&content)?;
        answer.has("content-length", &size.to_string())?;
        answer.has("content-type", OCTETS)?;
        answer.has("accept-ranges", "bytes")?;
        answer.has("etag", &format!("\"{digest}\""))?;
        answer.has(DIGEST, &digest)
    });
    place.case(Category::BlobHead, &format!("{size} bytes, {name}"), || {
        let (digest, _) = pushed(place, algorithm, size)?;
        let answer = place.client.head(&place.blob(&digest))?;
        answer.expect(200)?;
        answer.is(&[])?;
        answer.has("content-length", &size.to_string())?;
        answer.has("etag", &format!("\"{digest}\""))?;
        answer.has(DIGEST, &digest)
    });
    place.case(Category::BlobGet, &format!("{size} bytes, {name}, colon encoded"), || {
        let (digest, content) = pushed(place, algorithm, size)?;
        let answer = place.client.get(&place.blob(&digest.replace(':', "%3A")))?;
        answer.expect(200)?;
        answer.is(&content)
    });
}

fn ranges(place: &Place<'_>, algorithm: Algorithm) {
    let category = Category::BlobGetRange;
    let name = algorithm.name();
    let made = place
        .case(category, &format!("a blob to read, {name}"), || pushed(place, algorithm, 100_000));
    let Some((digest, content)) = made else { return };
    let path = place.blob(&digest);
    let table = [
        ("from the start", "bytes=0-999", 0..1000),
        ("in the middle", "bytes=500-1499", 500..1500),
        ("first byte", "bytes=0-0", 0..1),
        ("one byte", "bytes=77-77", 77..78),
        ("last byte", "bytes=99999-99999", 99_999..100_000),
        ("open end", "bytes=40000-", 40_000..100_000),
        ("open end from zero", "bytes=0-", 0..100_000),
        ("suffix", "bytes=-1000", 99_000..100_000),
        ("last byte by suffix", "bytes=-1", 99_999..100_000),
        ("suffix longer than the blob", "bytes=-200000", 0..100_000),
        ("end past the blob", "bytes=99000-100500", 99_000..100_000),
        ("end far past the blob", "bytes=99000-18446744073709551615", 99_000..100_000),
        ("everything", "bytes=0-99999", 0..100_000),
    ];
    for (label, range, bytes) in table {
        place.case(category, &format!("{label}, {name}"), || {
            let answer = place.client.call("GET", &path).header("range", range).send()?;
            answer.expect(206)?;
            answer.is(&content[bytes.clone()])?;
            answer.has("content-length", &bytes.len().to_string())?;
            answer.has("etag", &format!("\"{digest}\""))?;
            let last = bytes.end - 1;
            answer.has("content-range", &format!("bytes {}-{last}/100000", bytes.start))
        });
    }
    for (label, range) in [
        ("starts behind the last byte", "bytes=100000-"),
        ("past the end", "bytes=200000-200100"),
        ("ends before it starts", "bytes=500-0"),
        ("suffix of nothing", "bytes=-0"),
        ("starts at the largest number", "bytes=18446744073709551615-"),
    ] {
        place.case(category, &format!("{label}, {name}"), || {
            let answer = place.client.call("GET", &path).header("range", range).send()?;
            answer.error(416, "SIZE_INVALID")?;
            answer.has("content-range", "bytes */100000")
        });
    }
    // A server may answer several ranges, and those that it cannot read, with the whole.
    for range in ["bytes=0-1,5-6", "bytes=0-1, -1", "items=0-1", "bytes=x-1", "bytes=", "0-1"] {
        place.case(category, &format!("whole for `{range}`, {name}"), || {
            let answer = place.client.call("GET", &path).header("range", range).send()?;
            answer.expect(200)?;
            answer.lacks("content-range")?;
            answer.is(&content)
        });
    }
    place.case(category, &format!("HEAD takes no range, {name}"), || {
        let answer = place.client.call("HEAD", &path).header("range", "bytes=0-9").send()?;
        answer.expect(200)?;
        answer.has("content-length", "100000")
    });
}

fn no_range(place: &Place<'_>) {
    place.case(Category::BlobGetRange, "an empty blob has none", || {
        let (digest, _) = pushed(place, Algorithm::Sha256, 0)?;
        for range in ["bytes=0-0", "bytes=0-", "bytes=-1"] {
            let call = place.client.call("GET", &place.blob(&digest)).header("range", range);
            let answer = call.send()?;
            answer.error(416, "SIZE_INVALID")?;
            answer.has("content-range", "bytes */0")?;
        }
        Ok(())
    });
    place.case(Category::BlobGetRange, "of a blob that is not there", || {
        let path = place.blob(&sha256(b"never pushed"));
        let answer = place.client.call("GET", &path).header("range", "bytes=0-9").send()?;
        answer.error(404, "BLOB_UNKNOWN")
    });
}

fn conditions(place: &Place<'_>) {
    let made = place
        .case(Category::BlobGet, "a blob to ask about", || pushed(place, Algorithm::Sha256, 3000));
    let Some((digest, content)) = made else { return };
    let path = place.blob(&digest);
    let etag = format!("\"{digest}\"");
    let weak = format!("W/{etag}");
    let several = format!("\"other\", {etag}");
    for (label, value) in [("same", &etag), ("weak", &weak), ("list", &several)] {
        for (category, method) in [(Category::BlobGet, "GET"), (Category::BlobHead, "HEAD")] {
            place.case(category, &format!("If-None-Match, {label}"), || {
                let call = place.client.call(method, &path).header("if-none-match", value);
                let answer = call.send()?;
                answer.expect(304)?;
                answer.has("etag", &etag)?;
                answer.is(&[])
            });
        }
    }
    place.case(Category::BlobGet, "If-None-Match, other", || {
        let call = place.client.call("GET", &path).header("if-none-match", "\"other\"");
        let answer = call.send()?;
        answer.expect(200)?;
        answer.is(&content)
    });
    let date = "Wed, 21 Oct 2015 07:28:00 GMT".to_owned();
    let other = "\"other\"".to_owned();
    for (label, value, part) in [
        ("same", &etag, true),
        ("other", &other, false),
        // Only a strong tag may join two parts.
        ("weak", &weak, false),
        ("date", &date, false),
    ] {
        place.case(Category::BlobGetRange, &format!("If-Range, {label}"), || {
            let call = place.client.call("GET", &path).header("range", "bytes=10-19");
            let answer = call.header("if-range", value).send()?;
            answer.expect(if part { 206 } else { 200 })?;
            answer.is(if part { &content[10..20] } else { &content })
        });
    }
}

fn unknown(place: &Place<'_>) {
    for algorithm in Algorithm::BOTH {
        let path = place.blob(&algorithm.digest(b"never pushed"));
        let name = algorithm.name();
        place.case(Category::BlobGet, &format!("not there, {name}"), || {
            place.client.get(&path)?.error(404, "BLOB_UNKNOWN")
        });
        place.case(Category::BlobHead, &format!("not there, {name}"), || {
            place.client.head(&path)?.expect(404)
        });
        place.case(Category::BlobDelete, &format!("not there, {name}"), || {
            place.client.delete(&path)?.error(404, "BLOB_UNKNOWN")
        });
    }
    place.case(Category::BlobGet, "in another repository only", || {
        let other = place.elsewhere();
        let (digest, _) = pushed(&other, Algorithm::Sha256, 30)?;
        place.client.get(&place.blob(&digest))?.error(404, "BLOB_UNKNOWN")
    });
}

fn deletion(place: &Place<'_>) {
    for algorithm in Algorithm::BOTH {
        place.case(Category::BlobDelete, algorithm.name(), || {
            let (digest, content) = pushed(place, algorithm, 50)?;
            let path = place.blob(&digest);
            place.client.delete(&path)?.expect(202)?;
            place.client.get(&path)?.error(404, "BLOB_UNKNOWN")?;
            place.client.head(&path)?.expect(404)?;
            place.client.delete(&path)?.error(404, "BLOB_UNKNOWN")?;
            // It may come again.
            place.push(&digest, &content)?;
            place.client.get(&path)?.is(&content)
        });
    }
    place.case(Category::BlobDelete, "stays in other repositories", || {
        let other = place.elsewhere();
        let (digest, content) = pushed(place, Algorithm::Sha256, 50)?;
        other.push(&digest, &content)?;
        place.client.delete(&place.blob(&digest))?.expect(202)?;
        place.client.get(&other.blob(&digest))?.is(&content)
    });
    place.case(Category::BlobDelete, "not while a manifest names it", || {
        let (config, _) = pushed(place, Algorithm::Sha256, 50)?;
        let (layer, _) = pushed(place, Algorithm::Sha256, 60)?;
        let body = image(&config, 50, &layer, 60);
        place.put_manifest("uses", OCI_MANIFEST, &body)?.expect(201)?;
        for digest in [&config, &layer] {
            place.client.delete(&place.blob(digest))?.error(403, "DENIED")?;
            place.client.head(&place.blob(digest))?.expect(200)?;
        }
        place.client.delete(&place.manifest(&sha256(&body)))?.expect(202)?;
        place.client.delete(&place.blob(&layer))?.expect(202)
    });
}
