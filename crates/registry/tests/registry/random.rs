//! Requests that no client would send: whatever comes, the answer is a right one or a refusal in the
//! words of the specification, never a fault of the server.

use axum::body::Body;
use http::{HeaderName, HeaderValue, Method, Request};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::harness::{MANIFEST, TestRegistry, image};

/// As many as a few seconds take.
const CASES: usize = 3000;

/// The words that the specification and docker's token API have for errors.
const CODES: &[&str] = &[
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "TAG_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
];

/// A request before it is one.
#[derive(Debug, Clone)]
struct Case {
    method: String,
    path: String,
    query: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
    /// Which of the callers sends it.
    caller: usize,
}

/// What is there, for requests that come near it.
struct Known {
    digests: Vec<String>,
    uploads: Vec<String>,
    manifests: Vec<Vec<u8>>,
}

fn words(list: &[&str]) -> impl Strategy<Value = String> + use<> {
    select(list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
}

/// Text as it may stand in a path or query: mostly plain, some of it encoded, some of it wrongly.
fn odd_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9._/-]{0,20}",
        "[!-~]{0,20}",
        "(%[0-9a-fA-F]{2}|%|[a-z/:]){0,12}",
        "[a-z]{200,300}",
        words(&[
            ".",
            "..",
            "...",
            "%2e%2e",
            "%2F",
            "%00",
            "%ff%fe",
            "a%3Ab",
            "%E2%98%83",
            "//",
            ""
        ]),
    ]
}

fn digest(known: &Known) -> impl Strategy<Value = String> + use<> {
    prop_oneof![
        3 => select(known.digests.clone()),
        1 => "sha256:[0-9a-f]{64}",
        1 => "sha512:[0-9a-f]{128}",
        1 => "(sha256|sha384|sha512|md5|SHA256|x+y.z|):[0-9a-fA-F]{0,140}",
        1 => odd_text(),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => words(&["team/app", "team/open", "team/none", "a/b/c", "blobs/uploads", "v2/manifests"]),
        1 => "[a-z0-9]{1,8}(/[a-z0-9._-]{1,12}){0,4}",
        1 => odd_text(),
    ]
}

fn reference(known: &Known) -> impl Strategy<Value = String> + use<> {
    prop_oneof![
        3 => words(&["v1", "v2", "latest", "sha256-abc"]),
        2 => digest(known),
        1 => "[A-Za-z0-9_][A-Za-z0-9._-]{0,130}",
        1 => odd_text(),
    ]
}

fn path(known: &Known) -> impl Strategy<Value = String> + use<> {
    let uploads = prop_oneof![select(known.uploads.clone()), odd_text()];
    prop_oneof![
        4 => (name(), reference(known)).prop_map(|(name, last)| format!("/v2/{name}/manifests/{last}")),
        4 => (name(), digest(known)).prop_map(|(name, last)| format!("/v2/{name}/blobs/{last}")),
        2 => name().prop_map(|name| format!("/v2/{name}/blobs/uploads/")),
        4 => (name(), uploads).prop_map(|(name, last)| format!("/v2/{name}/blobs/uploads/{last}")),
        2 => name().prop_map(|name| format!("/v2/{name}/tags/list")),
        2 => (name(), digest(known)).prop_map(|(name, last)| format!("/v2/{name}/referrers/{last}")),
        1 => words(&["/v2", "/v2/", "/v2/_catalog", "/v2//", "/v2/team/app", "/auth", "/auth/token"]),
        1 => odd_text().prop_map(|text| format!("/v2/{text}")),
    ]
}

fn query(known: &Known) -> impl Strategy<Value = String> + use<> {
    let names = words(&[
        "digest",
        "mount",
        "from",
        "n",
        "last",
        "tag",
        "artifactType",
        "digest-algorithm",
        "scope",
        "service",
        "access_type",
        "grant_type",
        "x",
    ]);
    let values = prop_oneof![
        2 => digest(known),
        1 => name(),
        1 => words(&["0", "1", "-1", "99999999999999999999", "v1", "sha256", "sha512", "offline"]),
        1 => words(&["repository:team/app:pull,push", "repository:*:*", "repository::", ":::", " "])
            .prop_map(|scope| scope.replace(' ', "%20")),
        1 => odd_text(),
    ];
    let pair = (names, values).prop_map(|(name, value)| format!("{name}={value}"));
    prop_oneof![
        4 => Just(String::new()),
        3 => vec(pair, 1..5).prop_map(|pairs| pairs.join("&")),
        1 => odd_text(),
    ]
}

fn headers(known: &Known) -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> + use<> {
    let names = select(vec![
        "range",
        "content-range",
        "content-length",
        "content-type",
        "accept",
        "if-none-match",
        "if-match",
        "if-range",
        "if-modified-since",
        "x-request-id",
        "x-forwarded-host",
        "origin",
        "oci-chunk-min-length",
    ]);
    let plain = prop_oneof![
        "bytes=[0-9]{0,3}-[0-9]{0,3}(,[0-9]{0,3}-[0-9]{0,3}){0,3}",
        "bytes=(-|[0-9]{0,25}|,| ){0,6}",
        "[0-9]{1,3}-[0-9]{1,22}",
        words(&["0-4", "5-9", "bytes=0-", "bytes=-1", "*", "W/\"x\"", "\"", "application/json"]),
        words(&[
            MANIFEST,
            "application/vnd.oci.image.index.v1+json",
            "application/x; charset=\"é\""
        ]),
        digest(known).prop_map(|digest| format!("\"{digest}\"")),
    ];
    let values = prop_oneof![
        6 => plain.prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..30),
    ];
    vec((names, values), 0..5)
}

fn body(known: &Known) -> impl Strategy<Value = Vec<u8>> + use<> {
    let broken = (select(known.manifests.clone()), any::<usize>(), any::<u8>()).prop_map(
        |(mut manifest, at, byte)| {
            let at = at % manifest.len();
            manifest[at] = byte;
            manifest
        },
    );
    prop_oneof![
        2 => Just(Vec::new()),
        2 => vec(any::<u8>(), 0..40),
        3 => select(known.manifests.clone()),
        2 => broken,
        1 => (1..3000usize).prop_map(|depth| b"[".repeat(depth)),
        1 => words(&[
            "{}",
            "null",
            "[]",
            "{\"schemaVersion\":2}",
            "{\"schemaVersion\":2,\"layers\":[],\"manifests\":[]}",
            "{\"schemaVersion\":2,\"config\":null,\"layers\":{}}",
            "{\"schemaVersion\":99999999999999999999}",
            "grant_type=password&username=%00&password=x",
            "grant_type=refresh_token&refresh_token=a.b.c",
        ])
        .prop_map(String::into_bytes),
    ]
}

fn case(known: &Known) -> impl Strategy<Value = Case> + use<> {
    let methods = prop_oneof![
        8 => words(&["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"]),
        1 => words(&["OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "X"]),
    ];
    (methods, path(known), query(known), headers(known), body(known), 0..4usize).prop_map(
        |(method, path, query, headers, body, caller)| Case {
            method,
            path,
            query,
            headers,
            body,
            caller,
        },
    )
}

impl Case {
    /// `None` when no HTTP parser would let it pass.
    fn request(&self, callers: &[Option<String>]) -> Option<Request<Body>> {
        let uri = match self.query.as_str() {
            "" => self.path.clone(),
            query => format!("{}?{query}", self.path),
        };
        let method: Method = self.method.parse().ok()?;
        let mut request = Request::builder().method(method).uri(uri);
        request = request.header("host", "registry.test");
        for (name, value) in &self.headers {
            let value = HeaderValue::from_bytes(value).ok()?;
            request = request.header(HeaderName::from_static(name), value);
        }
        if let Some(Some(authorization)) = callers.get(self.caller) {
            request = request.header("authorization", authorization);
        }
        request.body(Body::from(self.body.clone())).ok()
    }
}

async fn known(registry: &TestRegistry) -> Known {
    let mut digests = Vec::new();
    for name in ["team/app", "team/open"] {
        digests.push(registry.push_image(name, "v1").await.to_string());
    }
    registry.publish("team/open").await;
    let config = registry.push_blob("team/app", br#"{"architecture":"amd64","os":"linux"}"#).await;
    let layer = registry.push_blob("team/app", b"layer").await;
    let manifests = vec![image(&config, 37, &layer, 5, None), image(&layer, 5, &layer, 6, None)];
    digests.extend([config.to_string(), layer.to_string()]);
    let mut uploads = Vec::new();
    for _ in 0..8 {
        let path = "/v2/team/app/blobs/uploads/";
        let answer = registry.call(Method::POST, path, &[], Body::empty()).await.expect(202);
        let id = answer.header("location").rsplit('/').next().expect("an id").to_owned();
        uploads.push(id);
    }
    Known { digests, uploads, manifests }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_a_fault_of_the_server() {
    let registry = TestRegistry::start().await;
    let known = known(&registry).await;
    let callers = [
        Some(registry.basic()),
        Some(registry.basic()),
        Some("Bearer eyJhbGciOiJub25lIn0.e30.".to_owned()),
        None,
    ];
    let cases = case(&known);
    let mut runner = TestRunner::new(Config::default());
    let (mut sent, mut served) = (0, 0);
    for _ in 0..CASES {
        let case = cases.new_tree(&mut runner).expect("a case").current();
        let Some(request) = case.request(&callers) else { continue };
        sent += 1;
        let answer = registry.send(request).await;
        let status = answer.status.as_u16();
        assert!((200..500).contains(&status), "{case:?}: {answer}");
        if status < 400 {
            served += 1;
            continue;
        }
        let ours = case.path == "/v2" || case.path.starts_with("/v2/");
        if !ours || case.method == "HEAD" {
            continue;
        }
        let body: Value = serde_json::from_slice(&answer.body)
            .unwrap_or_else(|error| panic!("{error}: {case:?}: {answer}"));
        let code = body["errors"][0]["code"].as_str().unwrap_or_default();
        assert!(CODES.contains(&code), "{case:?}: {answer}");
        assert!(body["errors"][0]["message"].as_str().is_some_and(|text| !text.is_empty()));
    }
    // Else the cases have become too odd to say anything.
    assert!(sent > CASES / 2 && served > CASES / 50, "{sent} were sent, {served} were served");
    // And it is all still there.
    registry.get("/v2/team/app/tags/list").await.expect(200);
}
