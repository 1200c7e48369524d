//! Is this a registry, and what does it say to what it does not understand? (distribution-spec,
//! "Determining Support", "Error Codes")

use crate::ledger::Category;
use crate::place::{Place, sha256};

pub(crate) fn run(place: &Place<'_>) {
    ping(place);
    names(place);
    methods(place);
    places(place);
    credentials(place);
}

fn ping(place: &Place<'_>) {
    for path in ["/v2/", "/v2"] {
        place.case(Category::Ping, path, || {
            let answer = place.client.get(path)?;
            answer.expect(200)?;
            answer.has("content-type", "application/json")?;
            answer.has("docker-distribution-api-version", "registry/2.0")?;
            place.client.head(path)?.expect(200)
        });
    }
    place.case(Category::Ping, "who are you?", || {
        let answer = place.client.call("GET", "/v2/").nobody().send()?;
        answer.error(401, "UNAUTHORIZED")?;
        let challenge = answer.header("www-authenticate")?;
        let bearer = challenge.starts_with("Bearer realm=\"") && challenge.contains("service=\"");
        answer.ensure(bearer, "a challenge for a bearer token expected")
    });
    place.case(Category::Ping, "with a token", || {
        let token = place.client.token(&[])?;
        place.client.call("GET", "/v2/").bearer(&token).send()?.expect(200)
    });
}

fn names(place: &Place<'_>) {
    let long = format!("conformance/{}", "a".repeat(256));
    for name in ["Upper/case", "a//b", "a/-b", "a/b_", "a/b..c", "a/b___c", "a/%C3%A9", &long] {
        place.case(Category::Errors, &format!("no name: {name}"), || {
            let get = |rest: &str| place.client.get(&format!("/v2/{name}/{rest}"));
            get("tags/list")?.error(400, "NAME_INVALID")?;
            get("manifests/latest")?.error(400, "NAME_INVALID")?;
            get(&format!("blobs/{}", sha256(b"")))?.error(400, "NAME_INVALID")?;
            get(&format!("referrers/{}", sha256(b"")))?.error(400, "NAME_INVALID")?;
            let uploads = format!("/v2/{name}/blobs/uploads/");
            place.client.post(&uploads)?.error(400, "NAME_INVALID")
        });
    }
    for name in ["a/b", "a1.b2/c_d/e__f/g---h", "blobs/uploads/tags/list", "manifests/manifests"] {
        place.case(Category::Errors, &format!("a name: {name}"), || {
            let name = format!("conformance/{name}-{}", place.repository.replace('/', "-"));
            let answer = place.client.post(&format!("/v2/{name}/blobs/uploads/"))?;
            answer.expect(202)?;
            place.client.get(answer.header("location")?)?.expect(204)?;
            place.client.get(&format!("/v2/{name}/tags/list"))?.expect(200)
        });
    }
}

fn methods(place: &Place<'_>) {
    let digest = sha256(b"");
    for (method, path, allow) in [
        ("POST", "/v2/".to_owned(), "GET, HEAD"),
        ("PUT", place.path("tags/list"), "GET, HEAD"),
        ("POST", place.manifest("latest"), "GET, HEAD, PUT, DELETE"),
        ("PATCH", place.blob(&digest), "GET, HEAD, DELETE"),
        ("PUT", place.blob(&digest), "GET, HEAD, DELETE"),
        ("DELETE", place.path(&format!("referrers/{digest}")), "GET, HEAD"),
        ("GET", place.uploads(""), "POST"),
        ("POST", place.uploads("some-id"), "GET, HEAD, PATCH, PUT, DELETE"),
    ] {
        place.case(Category::Errors, &format!("{method} of {path}"), || {
            let answer = place.client.call(method, &path).send()?;
            answer.error(405, "UNSUPPORTED")?;
            answer.has("allow", allow)
        });
    }
}

fn places(place: &Place<'_>) {
    for path in ["/v2/a", "/v2/a/b", "/v2/a/b/nothing/here", "/v2/a/b/tags", "/v2/%ZZ/b/tags/list"]
    {
        place.case(Category::Errors, &format!("nothing at {path}"), || {
            place.client.get(path)?.error(404, "UNSUPPORTED")
        });
    }
}

fn credentials(place: &Place<'_>) {
    let digest = sha256(b"");
    let scope = |actions: &str| format!("scope=\"repository:{}:{actions}\"", place.repository);
    for (method, path, actions) in [
        ("GET", place.path("tags/list"), "pull"),
        ("GET", place.manifest("latest"), "pull"),
        ("GET", place.blob(&digest), "pull"),
        ("GET", place.path(&format!("referrers/{digest}")), "pull"),
        ("PUT", place.manifest("latest"), "pull,push"),
        ("POST", place.uploads(""), "pull,push"),
        ("DELETE", place.manifest("latest"), "delete"),
        ("DELETE", place.blob(&digest), "delete"),
    ] {
        place.case(Category::Errors, &format!("{method} of {path} by nobody"), || {
            let answer = place.client.call(method, &path).nobody().body(b"{}").send()?;
            answer.error(401, "UNAUTHORIZED")?;
            let challenge = answer.header("www-authenticate")?;
            answer.ensure(challenge.contains(&scope(actions)), "the scope that is missing")?;
            let answer = place.client.call(method, &path).bearer("no.valid.token").send()?;
            answer.error(401, "UNAUTHORIZED")
        });
    }
}
