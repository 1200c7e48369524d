//! Odd upstreams as other clients read them: whatever one of them takes is taken here, with the same
//! result.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use berth_oci::client::{ClientConfig, ClientError, RegistryClient};
use berth_oci::{Descriptor, media_type};
use berth_testkit::process::output;
use berth_testkit::required_path;
use berth_types::{Digest, Reference};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::TryStreamExt as _;

const REPOSITORY: &str = "source/app";
const TAGS: [&str; 5] = ["v1", "v2", "v3", "v4", "v5"];
const LAYER: &[u8] = b"the bytes of a layer";

/// A client of another maker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judge {
    Skopeo,
    Crane,
    Regctl,
}
use Judge::{Crane, Regctl, Skopeo};

/// What is asked.
struct Asked {
    method: String,
    /// With the query.
    path: String,
    /// Without `Bearer `.
    token: Option<String>,
    /// Where: `127.0.0.1:port`.
    host: String,
}

/// How one answers oddly, and who reads that as its author meant it.
struct Case {
    name: &'static str,
    /// Changes what a plain registry answers.
    bend: Bend,
    lists: &'static [Judge],
    copies: &'static [Judge],
}

const ALL: &[Judge] = &[Skopeo, Crane, Regctl];
const NONE: &[Judge] = &[];

/// The digest of something else.
const FOREIGN: &str = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
const EMPTY: &str = r#"{"token":"","access_token":"good"}"#;
const NEGATIVE: &str = r#"{"token":"good","expires_in":-1}"#;
const GOOD: &str = r#"{"token":"good"}"#;

type Bend = fn(&Asked, Response) -> Response;

const fn case(
    name: &'static str,
    bend: Bend,
    lists: &'static [Judge],
    copies: &'static [Judge],
) -> Case {
    Case { name, bend, lists, copies }
}

const CASES: &[Case] = &[
    case("nothing", |_, plain| plain, ALL, ALL),
    case("pages", |asked, plain| pages(asked, plain, "<P>; rel=\"next\""), ALL, NONE),
    case(
        "pages with NEXT",
        |asked, plain| pages(asked, plain, "<P>; rel=\"NEXT\""),
        &[Skopeo, Crane],
        NONE,
    ),
    case(
        "pages without a relation",
        |asked, plain| pages(asked, plain, "<P>"),
        &[Skopeo, Crane],
        NONE,
    ),
    case(
        "pages without brackets",
        |asked, plain| pages(asked, plain, "P; rel=\"next\""),
        &[Skopeo, Regctl],
        NONE,
    ),
    case("pages with a bare target", |asked, plain| pages(asked, plain, "P"), &[Skopeo], NONE),
    case("a page size that is refused", refuse_size, &[Skopeo, Regctl], NONE),
    case("null for a list", null_list, ALL, NONE),
    case("null in a list", null_in_list, ALL, NONE),
    case("gzip", compressed, ALL, ALL),
    case("HEAD 400", |asked, plain| head(asked, plain, 400), NONE, ALL),
    case("HEAD 401", |asked, plain| head(asked, plain, 401), NONE, ALL),
    case("HEAD 403", |asked, plain| head(asked, plain, 403), NONE, ALL),
    case("HEAD 404", |asked, plain| head(asked, plain, 404), NONE, ALL),
    case("HEAD 501", |asked, plain| head(asked, plain, 501), NONE, ALL),
    case("no digest", |asked, plain| digest(asked, plain, None), NONE, ALL),
    case("an empty digest", |asked, plain| digest(asked, plain, Some("")), NONE, ALL),
    case(
        "a digest in upper case",
        |asked, plain| digest(asked, plain, Some("UPPER")),
        NONE,
        &[Skopeo, Crane],
    ),
    case(
        "a foreign digest",
        |asked, plain| digest(asked, plain, Some(FOREIGN)),
        NONE,
        &[Skopeo, Crane],
    ),
    case("an empty token", |asked, plain| token(asked, plain, EMPTY, REPOSITORY), ALL, ALL),
    case("a negative life", |asked, plain| token(asked, plain, NEGATIVE, REPOSITORY), ALL, ALL),
    case(
        "another scope",
        |asked, plain| token(asked, plain, GOOD, "mirror/app"),
        &[Crane, Regctl],
        &[Crane, Regctl],
    ),
];

fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).expect("a reply")
}

fn config() -> String {
    let layer = Digest::sha256(LAYER);
    format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
    )
}

fn manifest() -> String {
    let (config, layer) = (config(), Digest::sha256(LAYER));
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":{}}}]}}"#,
        media_type::OCI_MANIFEST,
        media_type::OCI_CONFIG,
        Digest::sha256(config.as_bytes()),
        config.len(),
        LAYER.len()
    )
}

/// The body of a plain answer, with its media type.
fn document(path: &str) -> Option<(Vec<u8>, &'static str)> {
    let json = "application/json";
    if path == "/v2/" {
        return Some((b"{}".to_vec(), json));
    }
    let rest = path.strip_prefix("/v2/")?.strip_prefix(REPOSITORY)?;
    if rest.starts_with("/tags/list") {
        let list = TAGS.map(|tag| format!("\"{tag}\"")).join(",");
        return Some((format!(r#"{{"name":"{REPOSITORY}","tags":[{list}]}}"#).into_bytes(), json));
    }
    let digest = |bytes: &[u8]| Digest::sha256(bytes).to_string();
    if let Some(name) = rest.strip_prefix("/manifests/") {
        let known = TAGS.contains(&name) || name == digest(manifest().as_bytes());
        return known.then(|| (manifest().into_bytes(), media_type::OCI_MANIFEST));
    }
    let name = rest.strip_prefix("/blobs/")?;
    [LAYER.to_vec(), config().into_bytes()]
        .into_iter()
        .find(|bytes| name == digest(bytes))
        .map(|bytes| (bytes, "application/octet-stream"))
}

fn plain(asked: &Asked) -> Response {
    let Some((body, media_type)) = document(&asked.path) else { return reply(404, &[], "") };
    let (length, digest) = (body.len().to_string(), Digest::sha256(&body).to_string());
    let headers = [
        ("content-type", media_type),
        ("content-length", &length),
        ("docker-content-digest", &digest),
    ];
    let body = if asked.method == "HEAD" { Vec::new() } else { body };
    reply(200, &headers, body)
}

fn pages(asked: &Asked, plain: Response, form: &str) -> Response {
    if !asked.path.contains("/tags/list") {
        return plain;
    }
    let after = asked.path.split(['?', '&']).find_map(|part| part.strip_prefix("last="));
    let rest: Vec<&str> =
        TAGS.into_iter().filter(|tag| after.is_none_or(|after| *tag > after)).collect();
    let page: Vec<String> = rest.iter().take(2).map(|tag| format!("\"{tag}\"")).collect();
    let next = rest.get(1).filter(|_| rest.len() > 2);
    let next = next.map(|last| format!("/v2/{REPOSITORY}/tags/list?n=2&last={last}"));
    let link = next.map(|next| form.replace('P', &next));
    let headers: Vec<(&str, &str)> = link.iter().map(|link| ("link", link.as_str())).collect();
    reply(200, &headers, format!(r#"{{"tags":[{}]}}"#, page.join(",")))
}

fn refuse_size(asked: &Asked, plain: Response) -> Response {
    if !asked.path.contains("n=") {
        return plain;
    }
    reply(400, &[], r#"{"errors":[{"code":"PAGINATION_NUMBER_INVALID","message":"too many"}]}"#)
}

fn null_list(asked: &Asked, plain: Response) -> Response {
    if asked.path.contains("/tags/") { reply(200, &[], r#"{"tags":null}"#) } else { plain }
}

fn null_in_list(asked: &Asked, plain: Response) -> Response {
    if asked.path.contains("/tags/") {
        return reply(200, &[], r#"{"tags":["v1",null,"v2"]}"#);
    }
    plain
}

fn compressed(asked: &Asked, plain: Response) -> Response {
    let Some((body, media_type)) = document(&asked.path) else { return plain };
    if asked.method == "HEAD" {
        return plain;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&body).expect("memory");
    let headers = [("content-encoding", "gzip"), ("content-type", media_type)];
    reply(200, &headers, encoder.finish().expect("memory"))
}

fn head(asked: &Asked, plain: Response, status: u16) -> Response {
    let refused = asked.method == "HEAD" && asked.path.contains("/manifests/");
    if refused { reply(status, &[], "") } else { plain }
}

fn digest(asked: &Asked, mut plain: Response, named: Option<&str>) -> Response {
    if asked.path.contains("/manifests/") {
        let headers = plain.headers_mut();
        let own = headers.remove("docker-content-digest");
        let own = own.and_then(|own| own.to_str().ok().map(str::to_uppercase));
        let named = if named == Some("UPPER") { own.as_deref() } else { named };
        if let Some(named) = named {
            headers.insert("docker-content-digest", named.parse().expect("a value"));
        }
    }
    plain
}

/// Asks for a token of a scope, which its server gives with that reply.
fn token(asked: &Asked, plain: Response, given: &'static str, named: &str) -> Response {
    let scope = format!("repository:{named}:pull");
    if asked.path.starts_with("/token") {
        let query = asked.path.replace("%3A", ":").replace("%2F", "/");
        return reply(200, &[], if query.contains(&scope) { given } else { r#"{"token":"bad"}"# });
    }
    if asked.token.as_deref() == Some("good") {
        return plain;
    }
    let challenge =
        format!("Bearer realm=\"http://{}/token\",service=\"s\",scope=\"{scope}\"", asked.host);
    reply(401, &[("www-authenticate", &challenge)], "")
}

/// Serves a case on 127.0.0.1; gives `127.0.0.1:port`.
async fn serve(bend: Bend) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let host = listener.local_addr().expect("address").to_string();
    let own = host.clone();
    let router = Router::new().fallback(move |request: Request| {
        let (method, path) = (request.method().to_string(), request.uri().to_string());
        let token = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
        let asked = Asked { method, path, token, host: own.clone() };
        let response = bend(&asked, plain(&asked));
        async move { response }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    host
}

fn ours(host: &str) -> RegistryClient {
    let mut config = ClientConfig::for_endpoint(&format!("http://{host}")).expect("endpoint");
    config.allow = vec!["127.0.0.0/8".parse().expect("net")];
    RegistryClient::new(config).expect("client")
}

impl Judge {
    fn command(self, host: &str) -> Command {
        match self {
            Skopeo => Command::new("skopeo"),
            Crane => Command::new(required_path("BERTH_TEST_CRANE")),
            Regctl => {
                let mut command = Command::new(required_path("BERTH_TEST_REGCTL"));
                command.args(["--host", &format!("reg={host},tls=disabled")]);
                command
            }
        }
    }

    /// The tags that it lists.
    fn list(self, host: &str) -> Result<BTreeSet<String>, String> {
        let (mut command, repository) = (self.command(host), format!("{host}/{REPOSITORY}"));
        match self {
            Skopeo => {
                command.args(["list-tags", "--tls-verify=false", &format!("docker://{repository}")])
            }
            Crane => command.args(["ls", &repository]),
            Regctl => command.args(["tag", "ls", &repository]),
        };
        let text = said(&mut command)?;
        let tags = match self {
            Skopeo => {
                let listed: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                let listed = listed["Tags"].as_array().expect("tags").clone();
                listed.iter().filter_map(|tag| tag.as_str()).map(str::to_owned).collect()
            }
            Crane | Regctl => text.lines().map(str::to_owned).collect::<BTreeSet<_>>(),
        };
        // Go reads null as an empty text.
        Ok(tags.into_iter().filter(|tag| !tag.is_empty()).collect())
    }

    /// Copies v1 into a folder; gives the digest of its manifest and the bytes of its layer.
    fn copy(self, host: &str) -> Result<(Digest, Vec<u8>), String> {
        let (mut command, image) = (self.command(host), format!("{host}/{REPOSITORY}:v1"));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("copy");
        let shown = path.display();
        match self {
            Skopeo => command.args([
                "--insecure-policy",
                "copy",
                "--quiet",
                "--src-tls-verify=false",
                "--preserve-digests",
                &format!("docker://{image}"),
                &format!("dir:{shown}"),
            ]),
            Crane => command.args(["pull", "--format=oci", &image, &shown.to_string()]),
            Regctl => command.args(["image", "copy", &image, &format!("ocidir://{shown}:v1")]),
        };
        said(&mut command)?;
        Ok(copied(self, &path))
    }
}

fn copied(judge: Judge, folder: &Path) -> (Digest, Vec<u8>) {
    let read = |name: &str| std::fs::read(folder.join(name)).expect(name);
    let layer = Digest::sha256(LAYER);
    if judge == Skopeo {
        return (Digest::sha256(&read("manifest.json")), read(layer.hex()));
    }
    let index: serde_json::Value = serde_json::from_slice(&read("index.json")).expect("JSON");
    let digest = index["manifests"][0]["digest"].as_str().expect("a digest").parse();
    (digest.expect("a digest"), read(&format!("blobs/sha256/{}", layer.hex())))
}

fn said(command: &mut Command) -> Result<String, String> {
    let output = output(command);
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Our list, and one of each judge, each from a server of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_lists_are_read_as_other_clients_read_them() {
    for case in CASES.iter().filter(|case| !case.lists.is_empty()) {
        let tags = ours(&serve(case.bend).await).tags(REPOSITORY).await;
        let tags = tags.map(|tags| tags.into_iter().collect::<BTreeSet<_>>());
        for judge in case.lists.iter().copied() {
            let host = serve(case.bend).await;
            let listed = tokio::task::spawn_blocking(move || judge.list(&host)).await;
            let listed = listed.expect("the judge ran");
            assert_eq!(
                tags.as_ref().map_err(ToString::to_string),
                listed.as_ref().map_err(String::clone),
                "{}: {judge:?}",
                case.name
            );
        }
    }
}

async fn copy(client: &RegistryClient) -> Result<(Digest, Vec<u8>), ClientError> {
    let reference: Reference = "v1".parse().expect("a tag");
    // As a subscription does: a comparison, then the manifest by tag.
    client.head_manifest(REPOSITORY, &reference).await?;
    let manifest = client.manifest(REPOSITORY, &reference).await?;
    let mut layers = Vec::new();
    for descriptor in manifest.view.config.iter().chain(&manifest.view.layers) {
        let descriptor: &Descriptor = descriptor;
        let bytes: Vec<Bytes> = client.blob(REPOSITORY, descriptor).await?.try_collect().await?;
        layers = bytes.concat();
        assert_eq!(Digest::sha256(&layers), descriptor.digest);
    }
    Ok((manifest.digest, layers))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_images_are_copied_as_other_clients_copy_them() {
    for case in CASES.iter().filter(|case| !case.copies.is_empty()) {
        let own = copy(&ours(&serve(case.bend).await)).await;
        for judge in case.copies.iter().copied() {
            let host = serve(case.bend).await;
            let copied = tokio::task::spawn_blocking(move || judge.copy(&host)).await;
            let copied = copied.expect("the judge ran");
            assert_eq!(
                own.as_ref().map_err(ToString::to_string),
                copied.as_ref().map_err(String::clone),
                "{}: {judge:?}",
                case.name
            );
        }
    }
}
