//! Blobs come in: by one POST, by POST and PUT, in chunks, as a stream (distribution-spec, "Pushing
//! blobs"), with either digest algorithm, also empty ones.

use crate::client::{Answer, Outcome, ensure};
use crate::ledger::Category;
use crate::place::{Algorithm, DIGEST, OCTETS, Place, random, with_digest};

pub(crate) fn run(place: &Place<'_>) {
    for algorithm in Algorithm::BOTH {
        for (label, size) in [("empty", 0), ("one byte", 1), ("small", 1500), ("large", 3 << 20)] {
            ways(place, algorithm, label, size);
        }
        chunks(place, algorithm);
        wrong_content(place, algorithm);
    }
    the_algorithm_of_an_upload(place);
    pushed_twice(place);
    sessions(place);
}

/// Whatever way it came, it is there.
fn created(place: &Place<'_>, answer: &Answer, digest: &str, content: &[u8]) -> Outcome {
    answer.expect(201)?;
    answer.has(DIGEST, digest)?;
    place.leads_to(answer, content)?;
    let found = place.client.get(&place.blob(digest))?;
    found.expect(200)?;
    found.is(content)
}

fn ways(place: &Place<'_>, algorithm: Algorithm, label: &str, size: usize) {
    let (client, name) = (&place.client, algorithm.name());
    let title = |way: &str| format!("{way}, {label}, {name}");
    let fresh = || {
        let content = random(size);
        (algorithm.digest(&content), content)
    };
    place.case(Category::BlobPostOnly, &title("one request"), || {
        let (digest, content) = fresh();
        let post = client.call("POST", &place.uploads(&format!("?digest={digest}")));
        let answer = post.header("content-type", OCTETS).body(&content).send()?;
        created(place, &answer, &digest, &content)
    });
    place.case(Category::BlobPostPut, &title("two requests"), || {
        let (digest, content) = fresh();
        let answer = place.close(&place.begin("")?, &digest, &content)?;
        created(place, &answer, &digest, &content)
    });
    place.case(Category::BlobStreamed, &title("PUT without a length"), || {
        let (digest, content) = fresh();
        let put = client.call("PUT", &with_digest(&place.begin("")?, &digest));
        let answer = put.header("content-type", OCTETS).streamed(&content).send()?;
        created(place, &answer, &digest, &content)
    });
    place.case(Category::BlobStreamed, &title("PATCH without a length"), || {
        let (digest, content) = fresh();
        let patch = client.call("PATCH", &place.begin("")?);
        let answer = patch.header("content-type", OCTETS).streamed(&content).send()?;
        answer.expect(202)?;
        answer.has("range", &format!("0-{}", size.saturating_sub(1)))?;
        let answer = place.close(answer.header("location")?, &digest, &[])?;
        created(place, &answer, &digest, &content)
    });
    place.case(Category::BlobStreamed, &title("POST without a length"), || {
        let (digest, content) = fresh();
        let post = client.call("POST", &place.uploads(&format!("?digest={digest}")));
        let answer = post.header("content-type", OCTETS).streamed(&content).send()?;
        created(place, &answer, &digest, &content)
    });
}

fn chunks(place: &Place<'_>, algorithm: Algorithm) {
    let name = algorithm.name();
    let send = |location: &str, content: &[u8], from: usize, to: usize| {
        let call = place.client.call("PATCH", location).header("content-type", OCTETS);
        let range = format!("{from}-{}", to - 1);
        call.header("content-range", range).body(&content[from..to]).send()
    };
    for (label, query) in [("told", format!("?digest-algorithm={name}")), ("untold", String::new())]
    {
        for last_by_put in [false, true] {
            let title = format!("three chunks, {name} {label}, last by PUT: {last_by_put}");
            place.case(Category::BlobChunked, &title, || {
                let content = random(300_000);
                let digest = algorithm.digest(&content);
                let mut location = place.begin(&query)?;
                let ends = if last_by_put { vec![1, 100_000] } else { vec![1, 100_000, 300_000] };
                let mut from = 0;
                for to in ends {
                    let answer = send(&location, &content, from, to)?;
                    answer.expect(202)?;
                    answer.has("range", &format!("0-{}", to - 1))?;
                    answer.header("docker-upload-uuid")?;
                    location = answer.header("location")?.to_owned();
                    from = to;
                }
                let put = place.client.call("PUT", &with_digest(&location, &digest));
                let put = put.header("content-type", OCTETS);
                let answer = if last_by_put {
                    put.header("content-range", "100000-299999").body(&content[from..]).send()?
                } else {
                    put.body(&[]).send()?
                };
                created(place, &answer, &digest, &content)
            });
        }
    }
    place.case(Category::BlobChunked, &format!("one chunk is the blob, {name}"), || {
        let content = random(5000);
        let answer = send(&place.begin("")?, &content, 0, 5000)?;
        answer.expect(202)?;
        let digest = algorithm.digest(&content);
        let answer = place.close(answer.header("location")?, &digest, &[])?;
        created(place, &answer, &digest, &content)
    });
}

/// Content that is not of its digest is refused and leaves nothing.
fn wrong_content(place: &Place<'_>, algorithm: Algorithm) {
    let name = algorithm.name();
    let absent = |digest: &str| place.client.head(&place.blob(digest))?.expect(404);
    place.case(Category::BlobPostOnly, &format!("wrong content, {name}"), || {
        let digest = algorithm.digest(&random(9));
        let post = place.client.call("POST", &place.uploads(&format!("?digest={digest}")));
        post.body(&random(9)).send()?.error(400, "DIGEST_INVALID")?;
        absent(&digest)
    });
    place.case(Category::BlobPostPut, &format!("wrong content, {name}"), || {
        let digest = algorithm.digest(&random(9));
        let answer = place.close(&place.begin("")?, &digest, &random(9))?;
        answer.error(400, "DIGEST_INVALID")?;
        absent(&digest)
    });
    place.case(Category::BlobChunked, &format!("wrong content, {name}"), || {
        let digest = algorithm.digest(&random(9));
        let patch = place.client.call("PATCH", &place.begin("")?);
        let answer = patch.header("content-range", "0-8").body(&random(9)).send()?;
        answer.expect(202)?;
        let answer = place.close(answer.header("location")?, &digest, &[])?;
        answer.error(400, "DIGEST_INVALID")?;
        absent(&digest)
    });
}

/// `digest-algorithm` says what will come; another one in the end is taken as well.
fn the_algorithm_of_an_upload(place: &Place<'_>) {
    let category = Category::BlobChunked;
    for (told, used) in
        [(Algorithm::Sha512, Algorithm::Sha256), (Algorithm::Sha256, Algorithm::Sha512)]
    {
        let title = format!("{} told, {} used", told.name(), used.name());
        place.case(category, &title, || {
            let content = random(70_000);
            let location = place.begin(&format!("?digest-algorithm={}", told.name()))?;
            let patch = place.client.call("PATCH", &location).header("content-range", "0-69999");
            let answer = patch.body(&content).send()?;
            answer.expect(202)?;
            let digest = used.digest(&content);
            let answer = place.close(answer.header("location")?, &digest, &[])?;
            created(place, &answer, &digest, &content)
        });
    }
    for (label, algorithm) in [("unknown", "md5"), ("empty", ""), ("upper case", "SHA256")] {
        place.case(category, &format!("{label} digest algorithm"), || {
            let uploads = place.uploads(&format!("?digest-algorithm={algorithm}"));
            place.client.post(&uploads)?.error(400, "DIGEST_INVALID")
        });
    }
}

fn pushed_twice(place: &Place<'_>) {
    for algorithm in Algorithm::BOTH {
        place.case(Category::BlobPostPut, &format!("again, {}", algorithm.name()), || {
            let content = random(2000);
            let digest = algorithm.digest(&content);
            place.push(&digest, &content)?;
            let answer = place.close(&place.begin("")?, &digest, &content)?;
            created(place, &answer, &digest, &content)
        });
    }
    place.case(Category::BlobPostPut, "two sessions of one digest at once", || {
        let content = random(2000);
        let digest = Algorithm::Sha256.digest(&content);
        let (one, two) = (place.begin("")?, place.begin("")?);
        for location in [one, two] {
            created(place, &place.close(&location, &digest, &content)?, &digest, &content)?;
        }
        Ok(())
    });
}

fn sessions(place: &Place<'_>) {
    place.case(Category::BlobPostPut, "what a session's headers say", || {
        let answer = place.client.post(&place.uploads(""))?;
        answer.expect(202)?;
        let location = answer.header("location")?;
        let id = answer.header("docker-upload-uuid")?;
        answer.ensure(location.contains(id), "the location has the id")?;
        let hex = id.chars().filter(char::is_ascii_hexdigit).count();
        answer.ensure(hex == 32, "the id is a UUID")?;
        answer.header("range")?;
        answer.has("content-length", "0")
    });
    place.case(Category::BlobPostPut, "no two sessions are one", || {
        let (one, two) = (place.begin("")?, place.begin("")?);
        ensure(one != two, || format!("{one} twice"))
    });
    place.case(Category::BlobPostPut, "a session ends with its blob", || {
        let content = random(10);
        let location = place.begin("")?;
        let digest = Algorithm::Sha256.digest(&content);
        place.close(&location, &digest, &content)?.expect(201)?;
        place.client.get(&location)?.error(404, "BLOB_UPLOAD_UNKNOWN")?;
        place.close(&location, &digest, &content)?.error(404, "BLOB_UPLOAD_UNKNOWN")
    });
}
