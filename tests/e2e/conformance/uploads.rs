//! What keeps uploads in order: chunks that do not fit, status, cancel, and to whom a session
//! belongs (distribution-spec, "Pushing a blob in chunks", "Cancel a blob upload").

use crate::client::{Answer, Outcome, ensure};
use crate::ledger::Category;
use crate::place::{OCTETS, Place, fresh_repository, random, sha256, with_digest};

pub(crate) fn run(place: &Place<'_>) {
    out_of_order(place);
    out_of_order_in_the_put(place);
    broken_ranges(place);
    status(place);
    cancel(place);
    strangers(place);
}

fn patch(place: &Place<'_>, location: &str, range: &str, content: &[u8]) -> Outcome<Answer> {
    let call = place.client.call("PATCH", location).header("content-type", OCTETS);
    call.header("content-range", range).body(content).send()
}

/// An upload with the first 1000 bytes of these.
fn begun(place: &Place<'_>, content: &[u8]) -> Outcome<String> {
    let answer = patch(place, &place.begin("")?, "0-999", &content[..1000])?;
    answer.expect(202)?;
    answer.header("location").map(str::to_owned)
}

/// 416 with the place where it goes on, by which the upload comes to a good end all the same.
fn refused(place: &Place<'_>, answer: &Answer, location: &str, content: &[u8]) -> Outcome {
    answer.error(416, "BLOB_UPLOAD_INVALID")?;
    answer.has("range", "0-999")?;
    let status = place.client.get(location)?;
    status.expect(204)?;
    status.has("range", "0-999")?;
    let answer = patch(place, status.header("location")?, "1000-1999", &content[1000..])?;
    answer.expect(202)?;
    answer.has("range", "0-1999")?;
    let answer = place.close(answer.header("location")?, &sha256(content), &[])?;
    answer.expect(201)?;
    place.leads_to(&answer, content)
}

const MISFITS: [(&str, &str, std::ops::Range<usize>); 5] = [
    ("a gap of one byte", "1001-1999", 1001..2000),
    ("a gap", "1500-1999", 1500..2000),
    ("an overlap of one byte", "999-1999", 999..2000),
    ("the first chunk again", "0-999", 0..1000),
    ("all from the beginning", "0-1999", 0..2000),
];

fn out_of_order(place: &Place<'_>) {
    for (label, range, bytes) in MISFITS {
        place.case(Category::BlobChunked, &format!("PATCH with {label}"), || {
            let content = random(2000);
            let location = begun(place, &content)?;
            let answer = patch(place, &location, range, &content[bytes])?;
            refused(place, &answer, &location, &content)
        });
    }
    place.case(Category::BlobChunked, "a first chunk that is not the first", || {
        let content = random(20);
        let location = place.begin("")?;
        let answer = patch(place, &location, "10-19", &content[10..])?;
        answer.error(416, "BLOB_UPLOAD_INVALID")?;
        let put = place.client.call("PUT", &with_digest(&location, &sha256(&content)));
        let answer = put.header("content-range", "10-19").body(&content[10..]).send()?;
        answer.error(416, "BLOB_UPLOAD_INVALID")?;
        place.close(&location, &sha256(&content), &content)?.expect(201)
    });
    place.case(Category::BlobChunked, "a refused chunk that comes as a stream", || {
        let content = random(2000);
        let location = begun(place, &content)?;
        let call = place.client.call("PATCH", &location).header("content-range", "1500-1999");
        let answer = call.streamed(&content[1500..]).send()?;
        refused(place, &answer, &location, &content)
    });
}

fn out_of_order_in_the_put(place: &Place<'_>) {
    for (label, range, bytes) in MISFITS {
        place.case(Category::BlobChunked, &format!("PUT with {label}"), || {
            let content = random(2000);
            let location = begun(place, &content)?;
            let put = place.client.call("PUT", &with_digest(&location, &sha256(&content)));
            let answer = put.header("content-range", range).body(&content[bytes]).send()?;
            refused(place, &answer, &location, &content)
        });
    }
}

fn broken_ranges(place: &Place<'_>) {
    let category = Category::BlobChunked;
    for range in ["", "x", "1000", "1000-", "-1999", "1999-1000", "1000-x", "1000 - 1999 x"] {
        place.case(category, &format!("Content-Range `{range}`"), || {
            let content = random(2000);
            let location = begun(place, &content)?;
            let answer = patch(place, &location, range, &content[1000..])?;
            answer.error(400, "BLOB_UPLOAD_INVALID")?;
            place.client.get(&location)?.has("range", "0-999")
        });
    }
    for (label, range) in [("longer", "1000-2999"), ("shorter", "1000-1099")] {
        place.case(category, &format!("a range {label} than the chunk"), || {
            let content = random(2000);
            let location = begun(place, &content)?;
            let answer = patch(place, &location, range, &content[1000..])?;
            answer.error(400, "SIZE_INVALID")?;
            place.client.get(&location)?.has("range", "0-999")
        });
        place.case(category, &format!("a range {label} than the stream"), || {
            let content = random(2000);
            let location = begun(place, &content)?;
            let call = place.client.call("PATCH", &location).header("content-range", range);
            let answer = call.streamed(&content[1000..]).send()?;
            answer.error(400, "BLOB_UPLOAD_INVALID")?;
            // What of it was taken is known, and the upload goes on from there.
            let status = place.client.get(&location)?;
            status.expect(204)?;
            let last =
                status.header("range")?.rsplit('-').next().and_then(|last| last.parse().ok());
            let last: usize = last.ok_or_else(|| status.failure("no number"))?;
            let rest = content.get(last + 1..).ok_or_else(|| status.failure("too many bytes"))?;
            place.close(&location, &sha256(&content), rest)?.expect(201)
        });
    }
}

fn status(place: &Place<'_>) {
    let category = Category::UploadStatus;
    place.case(category, "of a session without bytes", || {
        let location = place.begin("")?;
        let answer = place.client.get(&location)?;
        answer.expect(204)?;
        answer.has("location", &location)?;
        answer.header("range")?;
        answer.is(&[])
    });
    place.case(category, "grows with each chunk", || {
        let content = random(2000);
        let location = begun(place, &content)?;
        place.client.get(&location)?.has("range", "0-999")?;
        patch(place, &location, "1000-1499", &content[1000..1500])?.expect(202)?;
        let answer = place.client.get(&location)?;
        answer.expect(204)?;
        answer.has("range", "0-1499")?;
        answer.header("docker-upload-uuid")?;
        place.close(answer.header("location")?, &sha256(&content), &content[1500..])?.expect(201)
    });
    place.case(category, "of no session", || {
        let unknown = place.uploads("0192f0c1e5b87d5c8f6d1a2b3c4d5e6f");
        place.client.get(&unknown)?.error(404, "BLOB_UPLOAD_UNKNOWN")?;
        patch(place, &unknown, "0-9", &random(10))?.error(404, "BLOB_UPLOAD_UNKNOWN")?;
        place.close(&unknown, &sha256(b""), &[])?.error(404, "BLOB_UPLOAD_UNKNOWN")
    });
}

fn cancel(place: &Place<'_>) {
    let category = Category::UploadCancel;
    for bytes in [0, 1000] {
        place.case(category, &format!("after {bytes} bytes"), || {
            let content = random(2000);
            let location = if bytes == 0 { place.begin("")? } else { begun(place, &content)? };
            let answer = place.client.delete(&location)?;
            answer.expect(204)?;
            answer.is(&[])?;
            place.client.get(&location)?.error(404, "BLOB_UPLOAD_UNKNOWN")?;
            let answer = patch(place, &location, "0-999", &content[..1000])?;
            answer.error(404, "BLOB_UPLOAD_UNKNOWN")?;
            let answer = place.close(&location, &sha256(&content), &content)?;
            answer.error(404, "BLOB_UPLOAD_UNKNOWN")?;
            place.client.delete(&location)?.error(404, "BLOB_UPLOAD_UNKNOWN")?;
            place.client.head(&place.blob(&sha256(&content)))?.expect(404)
        });
    }
    place.case(category, "of no session", || {
        place.client.delete(&place.uploads("nothing"))?.error(404, "BLOB_UPLOAD_UNKNOWN")
    });
}

/// A session is bound to its repository and to who began it.
fn strangers(place: &Place<'_>) {
    place.case(Category::UploadStatus, "is not to be seen from another repository", || {
        let other = fresh_repository();
        place.client.post(&format!("/v2/{other}/blobs/uploads/"))?.expect(202)?;
        let location = place.begin("")?;
        let elsewhere = location.replace(&place.repository, &other);
        ensure(elsewhere != location, || location.clone())?;
        place.client.get(&elsewhere)?.error(404, "BLOB_UPLOAD_UNKNOWN")?;
        place.client.delete(&elsewhere)?.error(404, "BLOB_UPLOAD_UNKNOWN")?;
        place.client.get(&location)?.expect(204)
    });
    place.case(Category::UploadStatus, "is nobody else's", || {
        let location = place.begin("")?;
        place.client.call("GET", &location).nobody().send()?.error(401, "UNAUTHORIZED")?;
        place.client.call("DELETE", &location).nobody().send()?.error(401, "UNAUTHORIZED")?;
        place.client.get(&location)?.expect(204)
    });
}
