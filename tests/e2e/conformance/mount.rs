//! Blobs that another repository has already (distribution-spec, "Mounting a blob from another
//! repository"): named by `from`, or found by the registry.

use crate::client::{Answer, Outcome, ensure};
use crate::ledger::Category;
use crate::place::{Algorithm, DIGEST, Place, random, sha256};

pub(crate) fn run(place: &Place<'_>) {
    for algorithm in Algorithm::BOTH {
        named(place, algorithm);
        found(place, algorithm);
    }
    impossible(place);
    challenges(place);
    tokens(place);
    other_parameters(place);
}

/// A blob in a repository of its own; digest and content.
fn source<'a>(place: &Place<'a>, algorithm: Algorithm) -> Outcome<(Place<'a>, String, Vec<u8>)> {
    let (other, content) = (place.elsewhere(), random(4000));
    let digest = algorithm.digest(&content);
    other.push(&digest, &content)?;
    Ok((other, digest, content))
}

fn mounted(place: &Place<'_>, answer: &Answer, digest: &str, content: &[u8]) -> Outcome {
    answer.expect(201)?;
    answer.has(DIGEST, digest)?;
    answer.has("location", &place.blob(digest))?;
    place.leads_to(answer, content)
}

/// Not mounted: an upload has begun, and takes the blob.
fn uploads(place: &Place<'_>, answer: &Answer, digest: &str, content: &[u8]) -> Outcome {
    answer.expect(202)?;
    place.client.head(&place.blob(digest))?.expect(404)?;
    place.close(answer.header("location")?, digest, content)?.expect(201)
}

fn named(place: &Place<'_>, algorithm: Algorithm) {
    let name = algorithm.name();
    place.case(Category::BlobMount, &format!("from a repository, {name}"), || {
        let (other, digest, content) = source(place, algorithm)?;
        let from = &other.repository;
        let answer = place.client.post(&place.uploads(&format!("?mount={digest}&from={from}")))?;
        mounted(place, &answer, &digest, &content)?;
        // The source may lose it.
        place.client.delete(&other.blob(&digest))?.expect(202)?;
        place.client.get(&place.blob(&digest))?.is(&content)
    });
    place.case(Category::BlobMount, &format!("into a new repository, encoded, {name}"), || {
        let (other, digest, content) = source(place, algorithm)?;
        let target = place.elsewhere();
        let (digest_text, from) =
            (digest.replace(':', "%3A"), other.repository.replace('/', "%2F"));
        let query = format!("?from={from}&mount={digest_text}");
        let answer = place.client.post(&target.uploads(&query))?;
        mounted(&target, &answer, &digest, &content)
    });
    place.case(Category::BlobMount, &format!("from itself, {name}"), || {
        let (other, digest, content) = source(place, algorithm)?;
        let query = format!("?mount={digest}&from={}", other.repository);
        mounted(&other, &place.client.post(&other.uploads(&query))?, &digest, &content)
    });
}

fn found(place: &Place<'_>, algorithm: Algorithm) {
    let name = algorithm.name();
    let category = Category::BlobAnonymousMount;
    for (label, from) in [("without from", ""), ("with an empty from", "&from=")] {
        place.case(category, &format!("{label}, {name}"), || {
            let (_, digest, content) = source(place, algorithm)?;
            let query = format!("?mount={digest}{from}");
            mounted(place, &place.client.post(&place.uploads(&query))?, &digest, &content)
        });
    }
    place.case(category, &format!("nobody has it, {name}"), || {
        let content = random(70);
        let digest = algorithm.digest(&content);
        let answer = place.client.post(&place.uploads(&format!("?mount={digest}")))?;
        uploads(place, &answer, &digest, &content)
    });
    place.case(category, &format!("what was deleted everywhere is not found, {name}"), || {
        let (other, digest, content) = source(place, algorithm)?;
        place.client.delete(&other.blob(&digest))?.expect(202)?;
        let answer = place.client.post(&place.uploads(&format!("?mount={digest}")))?;
        uploads(place, &answer, &digest, &content)
    });
}

fn impossible(place: &Place<'_>) {
    let category = Category::BlobMount;
    place.case(category, "the source has it not", || {
        let (other, content) = (place.elsewhere(), random(70));
        other.push_blob(&random(7))?;
        let digest = sha256(&content);
        let query = format!("?mount={digest}&from={}", other.repository);
        uploads(place, &place.client.post(&place.uploads(&query))?, &digest, &content)
    });
    for (label, from) in [("is not there", "conformance/nowhere"), ("is no name", "No%20Name")] {
        place.case(category, &format!("the source {label}"), || {
            let content = random(70);
            let digest = sha256(&content);
            let query = format!("?mount={digest}&from={from}");
            uploads(place, &place.client.post(&place.uploads(&query))?, &digest, &content)
        });
    }
    for digest in ["", "sha256:12", "md5:d41d8cd98f00b204e9800998ecf8427e", "nothing"] {
        place.case(category, &format!("of digest `{digest}`"), || {
            let query = format!("?mount={digest}&from=conformance/nowhere");
            place.client.post(&place.uploads(&query))?.error(400, "DIGEST_INVALID")
        });
    }
    place.case(category, "nobody may", || {
        let (other, digest, _) = source(place, Algorithm::Sha256)?;
        for query in
            [format!("?mount={digest}&from={}", other.repository), format!("?mount={digest}")]
        {
            let call = place.client.call("POST", &place.uploads(&query)).nobody();
            call.send()?.error(401, "UNAUTHORIZED")?;
        }
        place.client.head(&place.blob(&digest))?.expect(404)
    });
}

/// A challenge names all that the mount needs, so that one token is enough.
fn challenges(place: &Place<'_>) {
    let digest = sha256(b"anything");
    let push = format!("repository:{}:pull,push", place.repository);
    for (category, from, scope) in [
        (Category::BlobMount, "&from=a/b", "repository:a/b:pull"),
        (Category::BlobAnonymousMount, "", "registry:blobs:mount"),
    ] {
        place.case(category, "what the challenge names", || {
            let query = format!("?mount={digest}{from}");
            let call = place.client.call("POST", &place.uploads(&query)).nobody();
            let answer = call.send()?;
            answer.error(401, "UNAUTHORIZED")?;
            let challenge = answer.header("www-authenticate")?;
            let named = challenge.contains(&format!("scope=\"{push} {scope}\""));
            answer.ensure(named, format!("{push} {scope} expected"))
        });
    }
}

/// A token reaches no repository that it was not asked for, and its holder is not told whether one
/// of those has the blob.
fn tokens(place: &Place<'_>) {
    let push = |place: &Place<'_>| format!("repository:{}:pull,push", place.repository);
    let mount = |place: &Place<'_>, token: &str, query: &str| {
        place.client.call("POST", &place.uploads(query)).bearer(token).body(&[]).send()
    };
    place.case(Category::BlobMount, "a token for both", || {
        let (other, digest, content) = source(place, Algorithm::Sha256)?;
        let pull = format!("repository:{}:pull", other.repository);
        let token = place.client.token(&[&push(place), &pull])?;
        let query = format!("?mount={digest}&from={}", other.repository);
        mounted(place, &mount(place, &token, &query)?, &digest, &content)
    });
    place.case(Category::BlobMount, "a token that was not asked for the source", || {
        let (other, digest, _) = source(place, Algorithm::Sha256)?;
        let token = place.client.token(&[&push(place)])?;
        let query = |digest: &str| format!("?mount={digest}&from={}", other.repository);
        let there = mount(place, &token, &query(&digest))?;
        there.error(401, "UNAUTHORIZED")?;
        let absent = mount(place, &token, &query(&sha256(b"never pushed")))?;
        absent.error(401, "UNAUTHORIZED")?;
        place.client.head(&place.blob(&digest))?.expect(404)?;
        let same = there.header("www-authenticate")? == absent.header("www-authenticate")?;
        ensure(same, || "the challenge depends on what is there".to_owned())
    });
    place.case(Category::BlobAnonymousMount, "a token for that", || {
        let (_, digest, content) = source(place, Algorithm::Sha256)?;
        let token = place.client.token(&[&format!("{} registry:blobs:mount", push(place))])?;
        mounted(place, &mount(place, &token, &format!("?mount={digest}"))?, &digest, &content)
    });
    place.case(Category::BlobAnonymousMount, "a token that was not asked for that", || {
        let (_, digest, _) = source(place, Algorithm::Sha256)?;
        let token = place.client.token(&[&push(place)])?;
        for digest in [digest, sha256(b"never pushed")] {
            let answer = mount(place, &token, &format!("?mount={digest}"))?;
            answer.error(401, "UNAUTHORIZED")?;
            place.client.head(&place.blob(&digest))?.expect(404)?;
        }
        Ok(())
    });
    place.case(Category::BlobAnonymousMount, "a token of nobody", || {
        let (_, digest, _) = source(place, Algorithm::Sha256)?;
        let scope = format!("{}%20registry:blobs:mount", push(place));
        let call = place.client.call("GET", &format!("/auth/token?scope={scope}")).nobody();
        let answer = call.send()?;
        answer.expect(200)?;
        let token = answer.json()?["token"].as_str().unwrap_or_default().to_owned();
        let answer = mount(place, &token, &format!("?mount={digest}"))?;
        answer.error(401, "UNAUTHORIZED")?;
        place.client.head(&place.blob(&digest))?.expect(404)
    });
}

fn other_parameters(place: &Place<'_>) {
    place.case(Category::BlobMount, "what is not mounted begins in its own algorithm", || {
        let content = random(70);
        let digest = Algorithm::Sha512.digest(&content);
        let query = format!("?mount={digest}&from=conformance/nowhere&digest-algorithm=sha512");
        uploads(place, &place.client.post(&place.uploads(&query))?, &digest, &content)
    });
}
