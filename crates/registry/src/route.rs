//! What a request under `/v2/` asks for (OCI distribution-spec, "Endpoints").
//!
//! Repository names have slashes in them, so a path is read from the right: its last parts say what
//! it is about, all that is left of them is the name.

use std::borrow::Cow;

use berth_types::{Digest, NameError, Reference, RepoName};
use http::Method;

/// A request under `/v2/`, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/v2/`: is this a registry, and am I logged in?
    Ping,
    /// `/v2/_catalog`: known, and not offered.
    Catalog,
    /// Everything that is about one repository.
    Repository { name: RepoName, endpoint: Endpoint },
}

/// An endpoint of the specification on one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    HeadBlob(Digest),
    GetBlob(Digest),
    DeleteBlob(Digest),
    StartUpload,
    UploadStatus(String),
    AppendUpload(String),
    FinishUpload(String),
    CancelUpload(String),
    HeadManifest(Reference),
    GetManifest(Reference),
    PutManifest(Reference),
    DeleteManifest(Reference),
    ListTags,
    ListReferrers(Digest),
}

/// What a caller must be allowed in a repository; the words of docker's token scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    Pull,
    Push,
    Delete,
}

impl Permission {
    /// The word in a scope and in a token's access list.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }

    /// The word as an action.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "pull" => Some(Self::Pull),
            "push" => Some(Self::Push),
            "delete" => Some(Self::Delete),
            _ => None,
        }
    }
}

impl Endpoint {
    /// What the caller must be allowed.
    pub fn action(&self) -> Permission {
        match self {
            Self::HeadBlob(_)
            | Self::GetBlob(_)
            | Self::HeadManifest(_)
            | Self::GetManifest(_)
            | Self::ListTags
            | Self::ListReferrers(_) => Permission::Pull,
            Self::StartUpload
            | Self::UploadStatus(_)
            | Self::AppendUpload(_)
            | Self::FinishUpload(_)
            | Self::CancelUpload(_)
            | Self::PutManifest(_) => Permission::Push,
            Self::DeleteBlob(_) | Self::DeleteManifest(_) => Permission::Delete,
        }
    }

    /// The name of the endpoint in metrics and logs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::HeadBlob(_) => "head_blob",
            Self::GetBlob(_) => "get_blob",
            Self::DeleteBlob(_) => "delete_blob",
            Self::StartUpload => "start_upload",
            Self::UploadStatus(_) => "upload_status",
            Self::AppendUpload(_) => "append_upload",
            Self::FinishUpload(_) => "finish_upload",
            Self::CancelUpload(_) => "cancel_upload",
            Self::HeadManifest(_) => "head_manifest",
            Self::GetManifest(_) => "get_manifest",
            Self::PutManifest(_) => "put_manifest",
            Self::DeleteManifest(_) => "delete_manifest",
            Self::ListTags => "list_tags",
            Self::ListReferrers(_) => "list_referrers",
        }
    }
}

/// Why a path or its method is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("no such endpoint")]
    NotFound,
    #[error("method not allowed here; allowed: {allow}")]
    Method { allow: &'static str },
    #[error("{0}")]
    Name(NameError),
    #[error("`{0}` is not a tag or digest")]
    Reference(String),
    #[error(
        "`{0}` is not a digest that this registry supports: sha256 or sha512 in lower-case hex"
    )]
    Digest(String),
}

/// Reads method and path (with or without percent-encoding) of a request under `/v2`.
///
/// # Errors
/// [`RouteError`] says which part is wrong.
pub fn parse_route(method: &Method, path: &str) -> Result<Route, RouteError> {
    let path = percent_decode(path).ok_or(RouteError::NotFound)?;
    let rest = match path.strip_prefix("/v2") {
        Some("" | "/") => return only_get(method, Route::Ping),
        Some(rest) => rest.strip_prefix('/').ok_or(RouteError::NotFound)?,
        None => return Err(RouteError::NotFound),
    };
    if rest == "_catalog" {
        return only_get(method, Route::Catalog);
    }
    // `…/blobs/uploads/` is the one endpoint that is written with a slash at its end.
    if let Some(name) =
        rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads"))
    {
        let endpoint = match *method {
            Method::POST => Endpoint::StartUpload,
            _ => return Err(RouteError::Method { allow: "POST" }),
        };
        return repository(name, endpoint);
    }
    let (head, last) = rest.rsplit_once('/').ok_or(RouteError::NotFound)?;
    if let Some(name) = head.strip_suffix("/blobs/uploads") {
        return repository(name, upload_endpoint(method, last)?);
    }
    let (name, noun) = head.rsplit_once('/').ok_or(RouteError::NotFound)?;
    let endpoint = match (noun, last) {
        ("tags", "list") => match *method {
            Method::GET | Method::HEAD => Endpoint::ListTags,
            _ => return Err(RouteError::Method { allow: "GET, HEAD" }),
        },
        ("manifests", reference) => manifest_operation(method, reference)?,
        ("blobs", digest) => blob_operation(method, digest)?,
        ("referrers", digest) => match *method {
            Method::GET | Method::HEAD => Endpoint::ListReferrers(parse_digest(digest)?),
            _ => return Err(RouteError::Method { allow: "GET, HEAD" }),
        },
        _ => return Err(RouteError::NotFound),
    };
    repository(name, endpoint)
}

fn only_get(method: &Method, route: Route) -> Result<Route, RouteError> {
    match *method {
        Method::GET | Method::HEAD => Ok(route),
        _ => Err(RouteError::Method { allow: "GET, HEAD" }),
    }
}

fn repository(name: &str, endpoint: Endpoint) -> Result<Route, RouteError> {
    let name = name.parse().map_err(RouteError::Name)?;
    Ok(Route::Repository { name, endpoint })
}

fn upload_endpoint(method: &Method, id: &str) -> Result<Endpoint, RouteError> {
    let id = id.to_owned();
    match *method {
        Method::GET | Method::HEAD => Ok(Endpoint::UploadStatus(id)),
        Method::PATCH => Ok(Endpoint::AppendUpload(id)),
        Method::PUT => Ok(Endpoint::FinishUpload(id)),
        Method::DELETE => Ok(Endpoint::CancelUpload(id)),
        _ => Err(RouteError::Method { allow: "GET, HEAD, PATCH, PUT, DELETE" }),
    }
}

fn manifest_operation(method: &Method, text: &str) -> Result<Endpoint, RouteError> {
    let reference = || {
        if text.contains(':') {
            parse_digest(text).map(Reference::Digest)
        } else {
            text.parse().map_err(|_| RouteError::Reference(text.to_owned()))
        }
    };
    match *method {
        Method::HEAD => reference().map(Endpoint::HeadManifest),
        Method::GET => reference().map(Endpoint::GetManifest),
        Method::PUT => reference().map(Endpoint::PutManifest),
        Method::DELETE => reference().map(Endpoint::DeleteManifest),
        _ => Err(RouteError::Method { allow: "GET, HEAD, PUT, DELETE" }),
    }
}

fn blob_operation(method: &Method, text: &str) -> Result<Endpoint, RouteError> {
    match *method {
        Method::HEAD => parse_digest(text).map(Endpoint::HeadBlob),
        Method::GET => parse_digest(text).map(Endpoint::GetBlob),
        Method::DELETE => parse_digest(text).map(Endpoint::DeleteBlob),
        _ => Err(RouteError::Method { allow: "GET, HEAD, DELETE" }),
    }
}

fn parse_digest(text: &str) -> Result<Digest, RouteError> {
    text.parse().map_err(|_| RouteError::Digest(text.to_owned()))
}

/// Decodes `%XX`; `None` when a sequence is broken or the result is not UTF-8.
fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = digit(bytes.next()?)?;
            let low = digit(bytes.next()?)?;
            decoded.push(high << 4 | low);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, proptest};
    use proptest::sample::select;

    use super::*;

    const DIGEST: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn name(text: &str) -> RepoName {
        text.parse().expect("test name")
    }

    fn route(method: &Method, path: &str) -> Route {
        parse_route(method, path).expect(path)
    }

    #[test]
    fn the_endpoints_of_the_specification() {
        let digest: Digest = DIGEST.parse().expect("digest");
        let table = [
            (Method::GET, format!("/v2/a/b/blobs/{DIGEST}"), Endpoint::GetBlob(digest.clone())),
            (Method::HEAD, format!("/v2/a/b/blobs/{DIGEST}"), Endpoint::HeadBlob(digest.clone())),
            (
                Method::DELETE,
                format!("/v2/a/b/blobs/{DIGEST}"),
                Endpoint::DeleteBlob(digest.clone()),
            ),
            (Method::POST, "/v2/a/b/blobs/uploads/".to_owned(), Endpoint::StartUpload),
            (Method::POST, "/v2/a/b/blobs/uploads".to_owned(), Endpoint::StartUpload),
            (
                Method::PATCH,
                "/v2/a/b/blobs/uploads/x1".to_owned(),
                Endpoint::AppendUpload("x1".to_owned()),
            ),
            (
                Method::PUT,
                "/v2/a/b/blobs/uploads/x1".to_owned(),
                Endpoint::FinishUpload("x1".to_owned()),
            ),
            (Method::GET, "/v2/a/b/tags/list".to_owned(), Endpoint::ListTags),
            (
                Method::GET,
                format!("/v2/a/b/referrers/{DIGEST}"),
                Endpoint::ListReferrers(digest.clone()),
            ),
            (
                Method::GET,
                format!("/v2/a/b/manifests/{}", DIGEST.replace(':', "%3A")),
                Endpoint::GetManifest(Reference::Digest(digest)),
            ),
            (
                Method::PUT,
                "/v2/a/b/manifests/v1".to_owned(),
                Endpoint::PutManifest(Reference::Tag("v1".parse().expect("tag"))),
            ),
        ];
        for (method, path, endpoint) in table {
            assert_eq!(route(&method, &path), Route::Repository { name: name("a/b"), endpoint });
        }
        assert_eq!(route(&Method::GET, "/v2/"), Route::Ping);
        assert_eq!(route(&Method::GET, "/v2"), Route::Ping);
        assert_eq!(route(&Method::GET, "/v2/_catalog"), Route::Catalog);
    }

    #[test]
    fn names_may_hold_the_words_of_the_endpoints() {
        for text in ["tags/list", "a/blobs", "a/blobs/uploads", "a/manifests", "manifests/tags"] {
            assert_eq!(
                route(&Method::GET, &format!("/v2/{text}/tags/list")),
                Route::Repository { name: name(text), endpoint: Endpoint::ListTags }
            );
        }
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        let refuse = |method: Method, path: &str| parse_route(&method, path).expect_err(path);
        assert_eq!(refuse(Method::GET, "/v2/a/b"), RouteError::NotFound);
        assert_eq!(refuse(Method::GET, "/v2x/a/b/tags/list"), RouteError::NotFound);
        assert_eq!(refuse(Method::GET, "/v2/a/b/c/%zz"), RouteError::NotFound);
        assert_eq!(refuse(Method::POST, "/v2/"), RouteError::Method { allow: "GET, HEAD" });
        assert!(matches!(refuse(Method::GET, "/v2/A/b/tags/list"), RouteError::Name(_)));
        assert!(matches!(refuse(Method::GET, "/v2/a/tags/list"), RouteError::Name(_)));
        assert!(matches!(refuse(Method::GET, "/v2/a/b/blobs/sha256:12"), RouteError::Digest(_)));
        assert!(matches!(refuse(Method::GET, "/v2/a/b/manifests/.x"), RouteError::Reference(_)));
        assert!(matches!(refuse(Method::GET, "/v2/a/b/manifests/md5:00"), RouteError::Digest(_)));
    }

    fn names() -> impl Strategy<Value = String> {
        let part = select(vec!["a", "blobs", "uploads", "manifests", "tags", "list", "v2", "x-1"]);
        proptest::collection::vec(part, 2..6).prop_map(|parts| parts.join("/"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn every_name_comes_back(text in names(), noun in 0..3usize) {
            let (suffix, endpoint) = match noun {
                0 => ("tags/list".to_owned(), Endpoint::ListTags),
                1 => (
                    "blobs/uploads/0192".to_owned(),
                    Endpoint::UploadStatus("0192".to_owned()),
                ),
                _ => (
                    format!("blobs/{DIGEST}"),
                    Endpoint::GetBlob(DIGEST.parse().expect("digest")),
                ),
            };
            prop_assert_eq!(
                route(&Method::GET, &format!("/v2/{text}/{suffix}")),
                Route::Repository { name: name(&text), endpoint }
            );
        }

        #[test]
        fn no_path_panics(path in any::<String>()) {
            for method in [Method::GET, Method::PUT, Method::PATCH] {
                let _ = parse_route(&method, &path);
                let _ = parse_route(&method, &format!("/v2/{path}"));
            }
        }
    }
}
