//! Who may do what: every kind of caller against every operation of the data plane, in public and
//! private repositories and in none; and tags that do not move.

use std::collections::BTreeMap;

use berth_testkit::registry::{Registry, sha256};
use berth_testkit::server::TestServer;
use berth_tests::build;
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &[u8] = br#"{"architecture":"amd64","os":"linux"}"#;
const LAYER: &[u8] = b"a layer that somebody may read or may not";

/// An image of one layer, or something that refers to it.
fn image(subject: Option<&str>) -> Vec<u8> {
    let descriptor = |media_type: &str, bytes: &[u8]| json!({ "mediaType": media_type, "digest": sha256(bytes), "size": bytes.len() });
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", CONFIG),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", LAYER)],
    });
    if let Some(subject) = subject {
        let whole = image(None);
        assert_eq!(subject, sha256(&whole));
        manifest["subject"] = descriptor(MANIFEST, &whole);
    }
    manifest.to_string().into_bytes()
}

fn push(registry: &Registry, repository: &str, tag: &str) -> String {
    registry.push_blob(repository, CONFIG).expect("config");
    registry.push_blob(repository, LAYER).expect("layer");
    registry.push_manifest(repository, tag, MANIFEST, &image(None)).expect("manifest")
}

fn set_type(server: &TestServer, repo_id: &str, kind: &str) {
    let instance = &server.credentials().instance_id;
    let parameters = [
        ("InstanceId", instance.as_str()),
        ("RepoId", repo_id),
        ("RepoType", kind),
        ("Summary", "x"),
    ];
    let _ = server.api().call("UpdateRepository", &parameters);
}

/// A token of the caller of `registry` (or of nobody) for a scope.
fn token(registry: &Registry, scope: &str) -> String {
    let answer = registry.request("GET", &format!("/auth/token?scope={scope}")).send();
    let answer = answer.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    let text = answer.text().expect("text");
    let body: Value = serde_json::from_str(&text).expect("JSON");
    body["token"].as_str().expect("a token").to_owned()
}

/// A caller: what it sends as `Authorization`.
enum Caller {
    Nothing,
    Basic(String, String),
    Bearer(String),
}

/// What was answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    challenge: Option<String>,
    body: String,
}

struct World {
    server: TestServer,
    anonymous: Registry,
    /// The digest of the image that is in every repository.
    image: String,
}

impl World {
    fn new() -> Self {
        // Wrong passwords are part of the table.
        let server = TestServer::start_with("[limits]\nfailed_logins = 0\n");
        let anonymous = Registry::anonymous(&server.url());
        let image = sha256(&image(None));
        Self { server, anonymous, image }
    }

    fn repository(&self, name: &str, kind: &str) -> String {
        let (namespace, short) = name.split_once('/').expect("two parts");
        let id = build::repository(&self.server, namespace, short);
        set_type(&self.server, &id, kind);
        push(&self.server.registry(), name, "v1");
        id
    }

    fn send(&self, caller: &Caller, method: &str, path: &str, body: Option<Vec<u8>>) -> Answer {
        let mut request = self.anonymous.request(method, path);
        if method == "GET" && path.contains("/blobs/sha256") {
            request = request.header("Range", "bytes=2-7");
        }
        if path.contains("/manifests/") {
            request = request.header("Content-Type", MANIFEST);
        }
        request = match caller {
            Caller::Nothing => request,
            Caller::Basic(user, password) => request.basic_auth(user, Some(password)),
            Caller::Bearer(token) => request.bearer_auth(token),
        };
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().expect("an answer");
        let challenge = answer.headers().get("www-authenticate");
        Answer {
            status: answer.status().as_u16(),
            challenge: challenge.map(|value| value.to_str().expect("text").to_owned()),
            body: answer.text().expect("text"),
        }
    }

    /// Every operation on a repository, reads first, deletes last: its kind, its name, its answer.
    fn all(&self, caller: &Caller, name: &str) -> Vec<(Kind, String, Answer)> {
        let (image_digest, layer, config) = (&self.image, sha256(LAYER), sha256(CONFIG));
        let other = image(Some(image_digest));
        let upload = format!("/v2/{name}/blobs/uploads/00000000-0000-0000-0000-000000000000");
        let table = [
            (Kind::Read, "HEAD", format!("/v2/{name}/manifests/v1"), None),
            (Kind::Read, "GET", format!("/v2/{name}/manifests/v1"), None),
            (Kind::Read, "HEAD", format!("/v2/{name}/manifests/{image_digest}"), None),
            (Kind::Read, "GET", format!("/v2/{name}/manifests/{image_digest}"), None),
            (Kind::Read, "HEAD", format!("/v2/{name}/blobs/{layer}"), None),
            (Kind::Read, "GET", format!("/v2/{name}/blobs/{layer}"), None),
            (Kind::Read, "GET", format!("/v2/{name}/tags/list"), None),
            (Kind::Read, "GET", format!("/v2/{name}/tags/list?n=1&last=a"), None),
            (Kind::Read, "GET", format!("/v2/{name}/referrers/{image_digest}"), None),
            (Kind::Lookup, "GET", upload.clone(), None),
            (Kind::Lookup, "PATCH", upload.clone(), Some(LAYER.to_vec())),
            (Kind::Lookup, "PUT", format!("{upload}?digest={layer}"), Some(LAYER.to_vec())),
            (Kind::Lookup, "DELETE", upload, None),
            (Kind::Write, "POST", format!("/v2/{name}/blobs/uploads/"), Some(Vec::new())),
            (
                Kind::Write,
                "POST",
                format!("/v2/{name}/blobs/uploads/?digest={config}"),
                Some(CONFIG.to_vec()),
            ),
            (Kind::Write, "PUT", format!("/v2/{name}/manifests/v2"), Some(other)),
            (Kind::Delete, "DELETE", format!("/v2/{name}/manifests/v2"), None),
        ];
        table
            .into_iter()
            .map(|(kind, method, path, body)| {
                (kind, format!("{method} {path}"), self.send(caller, method, &path, body))
            })
            .collect()
    }
}

/// What an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Read,
    /// Of an upload that does not exist.
    Lookup,
    Write,
    Delete,
}

/// What a caller meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    Served,
    /// 404, with the reason.
    Missing,
    /// 401 with a challenge.
    Challenged,
}

fn check(met: Met, kind: Kind, row: &str, answer: &Answer) {
    let text = format!("{row}: {answer:?}");
    match met {
        Met::Served if kind == Kind::Lookup => {
            assert_eq!(answer.status, 404, "{text}");
            assert!(answer.body.contains("BLOB_UPLOAD_UNKNOWN"), "{text}");
        }
        Met::Served => assert!((200..300).contains(&answer.status), "{text}"),
        Met::Missing => assert_eq!(answer.status, 404, "{text}"),
        Met::Challenged => {
            assert_eq!(answer.status, 401, "{text}");
            let challenge = answer.challenge.as_deref().unwrap_or_default();
            assert!(challenge.starts_with("Bearer realm=\"http://"), "{text}");
            // Not a word about what is or is not there.
            for word in ["UNKNOWN", "DENIED", "exist"] {
                assert!(!answer.body.contains(word), "{text}");
            }
        }
    }
}

#[test]
fn every_caller_meets_what_it_should_in_every_repository() {
    let world = World::new();
    let private = world.repository("team/closed", "PRIVATE");
    world.repository("team/open", "PUBLIC");
    let login = world.server.registry();
    let (user, secret) = {
        let credentials = world.server.credentials();
        (credentials.access_key_id.clone(), credentials.access_key_secret.clone())
    };
    for (name, public, there) in
        [("team/closed", false, true), ("team/open", true, true), ("team/none", false, false)]
    {
        let scope = |actions: &str| format!("repository:{name}:{actions}");
        let anonymous = |actions| Caller::Bearer(token(&world.anonymous, &scope(actions)));
        let of_root = |scope: &str| Caller::Bearer(token(&login, scope));
        let forged = token(&login, &scope("pull,push,delete")) + "x";
        let read = if public { Met::Served } else { Met::Challenged };
        let there = if there { Met::Served } else { Met::Missing };
        use Met::Challenged;
        // A caller, and what it meets when it reads, writes and deletes.
        let mut table: Vec<(&str, Caller, Met, Met, Met)> = vec![
            ("nobody", Caller::Nothing, Challenged, Challenged, Challenged),
            ("anonymous", anonymous("pull,push,delete"), read, Challenged, Challenged),
            ("anonymous, everything", anonymous("*"), read, Challenged, Challenged),
            (
                "wrong password",
                Caller::Basic(user.clone(), "wrong".to_owned()),
                Challenged,
                Challenged,
                Challenged,
            ),
            (
                "unknown user",
                Caller::Basic("nobody".to_owned(), secret.clone()),
                Challenged,
                Challenged,
                Challenged,
            ),
            ("forged token", Caller::Bearer(forged), Challenged, Challenged, Challenged),
            (
                "token for another repository",
                of_root("repository:team/other:pull,push,delete"),
                Challenged,
                Challenged,
                Challenged,
            ),
            ("token for nothing", of_root(""), Challenged, Challenged, Challenged),
            ("token to pull", of_root(&scope("pull")), there, Challenged, Challenged),
        ];
        if there == Met::Served {
            let all = of_root(&scope("pull,push,delete"));
            table.push(("token for all", all, Met::Served, Met::Served, Met::Served));
            let basic = Caller::Basic(user.clone(), secret.clone());
            table.push(("root", basic, Met::Served, Met::Served, Met::Served));
        }
        for (who, caller, reads, writes, deletes) in &table {
            for (kind, operation, answer) in world.all(caller, name) {
                let met = match kind {
                    Kind::Read => *reads,
                    Kind::Write | Kind::Lookup => *writes,
                    Kind::Delete => *deletes,
                };
                // Referrers of what is not there are none.
                let met = match met {
                    Met::Missing if operation.contains("/referrers/") => Met::Served,
                    met => met,
                };
                check(met, kind, &format!("{who}, {operation}"), &answer);
            }
        }
    }
    // Nothing was changed by those who may not.
    assert_eq!(login.tags("team/closed"), ["v1"]);
    assert_eq!(login.tags("team/open"), ["v1"]);
    assert!(!private.is_empty());
}

#[test]
fn a_repository_that_becomes_private_is_closed_at_once() {
    let world = World::new();
    let id = world.repository("team/app", "PUBLIC");
    let caller = Caller::Bearer(token(&world.anonymous, "repository:team/app:pull"));
    let reads = || {
        let all = world.all(&caller, "team/app").into_iter();
        all.filter(|(kind, ..)| *kind == Kind::Read).collect::<Vec<_>>()
    };
    for _ in 0..10 {
        // Whatever may be remembered of the repository is.
        for (kind, operation, answer) in reads() {
            check(Met::Served, kind, &operation, &answer);
        }
        set_type(&world.server, &id, "PRIVATE");
        for (_, operation, answer) in reads() {
            assert!([401, 403].contains(&answer.status), "{operation}: {answer:?}");
            assert!(!answer.body.contains("UNKNOWN"), "{operation}: {answer:?}");
        }
        let fresh = Caller::Bearer(token(&world.anonymous, "repository:team/app:pull"));
        for (kind, operation, answer) in world.all(&fresh, "team/app") {
            check(Met::Challenged, kind, &operation, &answer);
        }
        set_type(&world.server, &id, "PUBLIC");
    }
    // A deleted repository looks like a private one.
    let instance = &world.server.credentials().instance_id;
    let _ = world
        .server
        .api()
        .call("DeleteRepository", &[("InstanceId", instance.as_str()), ("RepoId", &id)]);
    for (_, operation, answer) in reads() {
        assert!([401, 403].contains(&answer.status), "{operation}: {answer:?}");
        assert!(!answer.body.contains("UNKNOWN"), "{operation}: {answer:?}");
    }
}

#[test]
fn a_mount_takes_nothing_that_its_caller_may_not_read() {
    let world = World::new();
    world.repository("team/secret", "PRIVATE");
    world.repository("team/open", "PUBLIC");
    let login = world.server.registry();
    let target = "team/target";
    login.push_blob(target, b"something").expect("the target is made");
    let layer = sha256(LAYER);
    let mount = |caller: &Caller, from: &str| {
        let path = format!("/v2/{target}/blobs/uploads/?mount={layer}&from={from}");
        world.send(caller, "POST", &path, Some(Vec::new()))
    };
    let with = |source: &str| {
        let scope = format!("repository:{target}:pull,push%20{source}");
        Caller::Bearer(token(&login, &scope))
    };
    let absent = || assert!(login.blob(target, &layer).is_none());
    // Asked for, and not granted to read.
    let answer = mount(&with("repository:team/secret:push"), "team/secret");
    assert_eq!(answer.status, 202, "{answer:?}");
    absent();
    // A source that is not there, or no name at all, looks the same.
    for from in ["team/none", "team", "UPPER/case", ""] {
        let caller = with("repository:team/none:push%20registry:catalog:x");
        let answer = mount(&caller, from);
        assert!([202, 401].contains(&answer.status), "{from}: {answer:?}");
        absent();
    }
    // What no name can hold is no name anywhere.
    assert_eq!(mount(&with("repository:team/none:push"), "%00").status, 400);
    absent();
    // Not asked for: the client is told to ask, and gets nothing before.
    let unasked = Caller::Bearer(token(&login, &format!("repository:{target}:pull,push")));
    let answer = mount(&unasked, "team/secret");
    assert!([202, 401].contains(&answer.status), "{answer:?}");
    absent();
    // Strangers mount nothing, not even what is public.
    let anonymous = token(&world.anonymous, &format!("repository:{target}:pull,push"));
    for caller in [Caller::Nothing, Caller::Bearer(anonymous)] {
        assert_eq!(mount(&caller, "team/open").status, 401);
    }
    absent();
    let answer = mount(&with("repository:team/secret:pull"), "team/secret");
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(login.blob(target, &layer).as_deref(), Some(LAYER));
}

#[test]
fn immutable_tags_do_not_move() {
    let world = World::new();
    let id = world.repository("team/app", "PRIVATE");
    let login = world.server.registry();
    let instance = world.server.credentials().instance_id.clone();
    let set = |immutable: &str| {
        let mut parameters = BTreeMap::from([("InstanceId", instance.as_str()), ("RepoId", &id)]);
        parameters.extend([("RepoType", "PRIVATE"), ("Summary", "x")]);
        parameters.insert("TagImmutability", immutable);
        let parameters: Vec<(&str, &str)> = parameters.into_iter().collect();
        let _ = world.server.api().call("UpdateRepository", &parameters);
    };
    set("true");
    let (first, second) = (image(None), image(Some(&world.image)));
    let put = |tag: &str, body: &[u8]| {
        let path = format!("/v2/team/app/manifests/{tag}");
        let request = login.request("PUT", &path).header("Content-Type", MANIFEST);
        let answer = request.body(body.to_vec()).send().expect("an answer");
        let status = answer.status().as_u16();
        let text = answer.text().expect("text");
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        (status, body["errors"][0].clone())
    };
    assert_eq!(put("v1", &first).0, 201, "the same again");
    let (status, error) = put("v1", &second);
    assert_eq!((status, error["code"].as_str()), (403, Some("DENIED")));
    let words = error["message"].as_str().expect("words");
    assert!(words.contains("`v1`") && words.contains("cannot be overwritten"), "{words}");
    // Neither by another way: a push by digest with the tag beside it changes nothing at all.
    let by_digest = format!("{}?tag=v9&tag=v1", sha256(&second));
    assert_eq!(put(&by_digest, &second).0, 403);
    assert!(login.manifest("team/app", "v9").is_none());
    assert!(login.manifest("team/app", &sha256(&second)).is_none());
    assert_eq!(login.manifest("team/app", "v1").expect("v1").digest, world.image);
    // New tags are made, `latest` moves, and a delete is no overwriting.
    assert_eq!(put("v2", &second).0, 201);
    assert_eq!((put("latest", &first).0, put("latest", &second).0), (201, 201));
    let delete = login.request("DELETE", "/v2/team/app/manifests/v2").send().expect("an answer");
    assert_eq!(delete.status().as_u16(), 202);
    assert!(login.manifest("team/app", "v2").is_none());
    set("false");
    assert_eq!(put("v1", &second).0, 201);
}
