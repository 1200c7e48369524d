//! An upstream in this process with the repository `source/app`: it notes every request, and may say
//! what it does not have.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use berth_oci::media_type;
use berth_subscription::NewSubscriptionRule;
use berth_types::Digest;

use crate::support::rule_from;

const BASE: &str = "/v2/source/app/";

#[derive(Default)]
struct State {
    tags: BTreeMap<String, Digest>,
    manifests: HashMap<String, (String, String)>,
    blobs: HashMap<String, Vec<u8>>,
    /// Blobs that a HEAD finds and a GET does not.
    claimed: Vec<String>,
    /// Descriptors by subject; `None` is a registry without the referrers API.
    referrers: Option<HashMap<String, Vec<String>>>,
    /// How often a part of a request is answered 429, and the seconds of its `Retry-After`.
    limit: Option<(String, usize, u32)>,
    log: Vec<String>,
}

impl State {
    fn limited(&mut self, asked: &str) -> Option<Response> {
        let (part, times, seconds) = self.limit.as_mut()?;
        if *times == 0 || !asked.contains(part.as_str()) {
            return None;
        }
        *times -= 1;
        let headers = [("retry-after", seconds.to_string())];
        Some((StatusCode::TOO_MANY_REQUESTS, headers).into_response())
    }
}

/// The upstream; clones are the same one.
#[derive(Clone)]
pub(crate) struct Odd {
    state: Arc<Mutex<State>>,
    domain: String,
}

impl Odd {
    pub(crate) async fn start() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let served = Arc::clone(&state);
        let router = Router::new().fallback(move |request: Request| {
            let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
            let mut state = served.lock().expect("state");
            state.log.push(format!("{method} {}", path.strip_prefix(BASE).unwrap_or(&path)));
            let limited = state.limited(&format!("{method} {path}"));
            let answer = limited.unwrap_or_else(|| answer(&state, &method, &path));
            async move { answer }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let domain = format!("http://{}", listener.local_addr().expect("address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { state, domain }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("state")
    }

    /// `127.0.0.1:port`.
    pub(crate) fn host(&self) -> &str {
        self.domain.trim_start_matches("http://")
    }

    /// A rule that takes the `count` newest tags of this upstream into `team/app`.
    pub(crate) fn rule(&self, pattern: &str, count: i64) -> NewSubscriptionRule {
        rule_from(&self.domain, pattern, count)
    }

    /// What was asked since the last call, without the base of the repository.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }

    /// Keeps a blob; gives its descriptor.
    pub(crate) fn blob(&self, media_type: &str, content: &[u8]) -> String {
        let digest = Digest::sha256(content);
        self.state().blobs.insert(digest.to_string(), content.to_vec());
        descriptor(media_type, &digest, content.len())
    }

    /// Says of a blob that it is there, and does not give it; gives its descriptor.
    pub(crate) fn claim(&self, media_type: &str, digest: &Digest, size: usize) -> String {
        self.state().claimed.push(digest.to_string());
        descriptor(media_type, digest, size)
    }

    /// Answers 429 to the next requests that hold this part.
    pub(crate) fn limit(&self, part: &str, times: usize, seconds: u32) {
        self.state().limit = Some((part.to_owned(), times, seconds));
    }

    pub(crate) fn lose(&self, content: &[u8]) {
        self.state().blobs.remove(Digest::sha256(content).as_str());
    }

    /// Keeps a manifest of these fields; gives its digest and its descriptor.
    pub(crate) fn manifest(&self, media_type: &str, fields: &str) -> (Digest, String) {
        let text = format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}",{fields}}}"#);
        let digest = Digest::sha256(text.as_bytes());
        let described = descriptor(media_type, &digest, text.len());
        self.state().manifests.insert(digest.to_string(), (media_type.to_owned(), text));
        (digest, described)
    }

    /// An image of one layer for a platform `os/architecture`.
    pub(crate) fn image(&self, platform: &str, layer: &[u8]) -> (Digest, String) {
        let layer = self.blob(media_type::OCI_LAYER, layer);
        self.image_of(platform, &layer)
    }

    /// An image whose layer is described.
    pub(crate) fn image_of(&self, platform: &str, layer: &str) -> (Digest, String) {
        let (os, architecture) = platform.split_once('/').expect(platform);
        let config = format!(r#"{{"os":"{os}","architecture":"{architecture}"}}"#);
        let config = self.blob(media_type::OCI_CONFIG, config.as_bytes());
        let fields = format!(r#""config":{config},"layers":[{layer}]"#);
        self.manifest(media_type::OCI_MANIFEST, &fields)
    }

    /// Something of a type that is no image, with more fields (`"subject":…`).
    pub(crate) fn artifact(&self, kind: &str, content: &[u8], more: &str) -> (Digest, String) {
        let config = self.blob(media_type::OCI_EMPTY, b"{}");
        let layer = self.blob(kind, content);
        let fields =
            format!(r#""artifactType":"{kind}","config":{config},"layers":[{layer}]{more}"#);
        self.manifest(media_type::OCI_MANIFEST, &fields)
    }

    pub(crate) fn index(&self, children: &[String]) -> (Digest, String) {
        self.manifest(media_type::OCI_INDEX, &format!(r#""manifests":[{}]"#, children.join(",")))
    }

    pub(crate) fn tag(&self, tag: &str, digest: &Digest) {
        self.state().tags.insert(tag.to_owned(), digest.clone());
    }

    /// Answers the referrers API from now on; a descriptor that is given refers to `subject`.
    pub(crate) fn refer(&self, subject: &Digest, descriptor: Option<&str>) {
        let mut state = self.state();
        let all = state.referrers.get_or_insert_default();
        let all = all.entry(subject.to_string()).or_default();
        all.extend(descriptor.map(str::to_owned));
    }
}

/// The child of an index: a descriptor with more fields.
pub(crate) fn with(descriptor: &str, more: &str) -> String {
    format!("{},{more}}}", descriptor.strip_suffix('}').expect("a descriptor"))
}

pub(crate) fn on(descriptor: &str, platform: &str) -> String {
    let (os, architecture) = platform.split_once('/').expect(platform);
    with(descriptor, &format!(r#""platform":{{"os":"{os}","architecture":"{architecture}"}}"#))
}

/// BuildKit's attestation of an image.
pub(crate) fn attesting(descriptor: &str, image: &Digest) -> String {
    let annotations = format!(
        r#""annotations":{{"vnd.docker.reference.type":"attestation-manifest",
        "vnd.docker.reference.digest":"{image}"}}"#
    );
    on(&with(descriptor, &annotations), "unknown/unknown")
}

fn descriptor(media_type: &str, digest: &Digest, size: usize) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
}

fn answer(state: &State, method: &str, path: &str) -> Response {
    let not_found = || StatusCode::NOT_FOUND.into_response();
    if path == "/v2/" {
        return StatusCode::OK.into_response();
    }
    let Some((kind, name)) = path.strip_prefix(BASE).and_then(|rest| rest.split_once('/')) else {
        return not_found();
    };
    match kind {
        "tags" => {
            let tags: Vec<String> = state.tags.keys().map(|tag| format!("\"{tag}\"")).collect();
            format!(r#"{{"tags":[{}]}}"#, tags.join(",")).into_response()
        }
        "manifests" => {
            let digest = state.tags.get(name).map_or(name, Digest::as_str);
            let Some((media_type, text)) = state.manifests.get(digest) else { return not_found() };
            let headers =
                [("content-type", media_type), ("docker-content-digest", &digest.to_owned())]
                    .map(|(name, value)| (name, value.clone()));
            (headers, text.clone()).into_response()
        }
        "blobs" => match state.blobs.get(name) {
            Some(content) => content.clone().into_response(),
            None if method == "HEAD" && state.claimed.iter().any(|one| one == name) => {
                StatusCode::OK.into_response()
            }
            None => not_found(),
        },
        "referrers" => {
            let Some(all) = &state.referrers else { return not_found() };
            let found = all.get(name).map(|found| found.join(",")).unwrap_or_default();
            let index = media_type::OCI_INDEX;
            let text =
                format!(r#"{{"schemaVersion":2,"mediaType":"{index}","manifests":[{found}]}}"#);
            ([("content-type", index)], text).into_response()
        }
        _ => not_found(),
    }
}
