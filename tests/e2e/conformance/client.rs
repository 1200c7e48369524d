//! An HTTP client that sends exactly what a case says and keeps exactly what comes back.

use std::fmt;
use std::io::Cursor;
use std::time::Duration;

use berth_testkit::server::TestServer;
use reqwest::blocking::{Body, Client as Http};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, redirect};
use serde_json::Value;

/// Why a case failed, in words.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Fails with the words unless the condition holds.
pub(crate) fn ensure(condition: bool, words: impl FnOnce() -> String) -> Outcome {
    if condition { Ok(()) } else { Err(Failure(words())) }
}

/// The codes that an error document may have (distribution-spec, "Error Codes").
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
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
    // Docker's, allowed by "Legacy Docker support error codes".
    "TAG_INVALID",
];

/// One server, as one caller.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    url: String,
    user: String,
    password: String,
    http: Http,
}

impl Client {
    /// The server's root key, sent as Basic credentials with each request.
    pub(crate) fn new(server: &TestServer) -> Self {
        let http = Http::builder()
            .timeout(Duration::from_secs(60))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("an HTTP client can be made");
        let credentials = server.credentials();
        Self {
            url: server.url(),
            user: credentials.access_key_id.clone(),
            password: credentials.access_key_secret.clone(),
            http,
        }
    }

    /// A request for a path, or for a URL as a `Location` gives it.
    pub(crate) fn call(&self, method: &str, target: &str) -> Call<'_> {
        let url = if target.starts_with('/') {
            format!("{}{target}", self.url)
        } else {
            target.to_owned()
        };
        Call {
            client: self,
            method: method.to_owned(),
            url,
            headers: Vec::new(),
            body: None,
            streamed: false,
            authorization: Authorization::Basic,
        }
    }

    pub(crate) fn get(&self, target: &str) -> Outcome<Answer> {
        self.call("GET", target).send()
    }

    pub(crate) fn head(&self, target: &str) -> Outcome<Answer> {
        self.call("HEAD", target).send()
    }

    pub(crate) fn delete(&self, target: &str) -> Outcome<Answer> {
        self.call("DELETE", target).send()
    }

    pub(crate) fn post(&self, target: &str) -> Outcome<Answer> {
        self.call("POST", target).body(&[]).send()
    }

    /// A bearer token for the scopes, each of which may hold several.
    pub(crate) fn token(&self, scopes: &[&str]) -> Outcome<String> {
        let mut url = url::Url::parse(&self.url).expect("a URL");
        url.set_path("/auth/token");
        url.query_pairs_mut().extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
        let answer = self.get(url.as_str())?;
        answer.expect(200)?;
        let token = answer.json()?["token"].as_str().map(str::to_owned);
        token.ok_or_else(|| answer.failure("no token"))
    }
}

#[derive(Debug)]
enum Authorization {
    Basic,
    Nobody,
    Bearer(String),
}

/// A request in the making.
#[derive(Debug)]
#[must_use]
pub(crate) struct Call<'a> {
    client: &'a Client,
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    streamed: bool,
    authorization: Authorization,
}

impl Call<'_> {
    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: &[u8]) -> Self {
        self.body = Some(body.to_vec());
        self
    }

    /// The body in a transfer without Content-Length.
    pub(crate) fn streamed(mut self, body: &[u8]) -> Self {
        self.streamed = true;
        self.body(body)
    }

    pub(crate) fn nobody(mut self) -> Self {
        self.authorization = Authorization::Nobody;
        self
    }

    pub(crate) fn bearer(mut self, token: &str) -> Self {
        self.authorization = Authorization::Bearer(token.to_owned());
        self
    }

    pub(crate) fn send(self) -> Outcome<Answer> {
        let Call { client, method, url, headers, body, streamed, authorization } = self;
        let words = format!("{method} {url} {headers:?}");
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = client.http.request(method, &url);
        request = match authorization {
            Authorization::Basic => request.basic_auth(&client.user, Some(&client.password)),
            Authorization::Bearer(token) => request.bearer_auth(token),
            Authorization::Nobody => request,
        };
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request = match body {
            Some(body) if streamed => request.body(Body::new(Cursor::new(body))),
            Some(body) => request.body(body),
            None => request,
        };
        let failed = |error: reqwest::Error| Failure(format!("{words}: {error:?}"));
        let answer = request.send().map_err(failed)?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().map_err(failed)?.to_vec();
        Ok(Answer { request: words, status, headers, body })
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    request: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A failure of this exchange.
    pub(crate) fn failure(&self, words: impl fmt::Display) -> Failure {
        let start = self.body.get(..400).unwrap_or(&self.body);
        let body = String::from_utf8_lossy(start);
        let Self { request, status, headers, .. } = self;
        Failure(format!("{words}\n    {request}\n    {status} {headers:?}\n    {body}"))
    }

    pub(crate) fn ensure(&self, condition: bool, words: impl fmt::Display) -> Outcome {
        if condition { Ok(()) } else { Err(self.failure(words)) }
    }

    pub(crate) fn expect(&self, status: u16) -> Outcome {
        self.ensure(self.status == status, format!("status {status} expected"))
    }

    /// A header's value; of a repeated one, the first.
    pub(crate) fn header(&self, name: &str) -> Outcome<&str> {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.ok_or_else(|| self.failure(format!("no header {name}")))
    }

    pub(crate) fn has(&self, name: &str, expected: &str) -> Outcome {
        let actual = self.header(name)?;
        self.ensure(actual == expected, format!("{name}: {expected} expected"))
    }

    pub(crate) fn lacks(&self, name: &str) -> Outcome {
        self.ensure(!self.headers.contains_key(name), format!("no {name} expected"))
    }

    pub(crate) fn is(&self, body: &[u8]) -> Outcome {
        let words = || format!("{} bytes came, not the {} expected", self.body.len(), body.len());
        if self.body == body { Ok(()) } else { Err(self.failure(words())) }
    }

    pub(crate) fn json(&self) -> Outcome<Value> {
        serde_json::from_slice(&self.body).map_err(|error| self.failure(error))
    }

    /// An error document of the specification's shape with this status and first code.
    pub(crate) fn error(&self, status: u16, code: &str) -> Outcome {
        self.expect(status)?;
        self.has(CONTENT_TYPE.as_str(), "application/json")?;
        let document = self.json()?;
        let keys: Vec<&String> =
            document.as_object().into_iter().flat_map(|map| map.keys()).collect();
        self.ensure(keys == ["errors"], "an error document has `errors` and nothing else")?;
        let errors = document["errors"].as_array().cloned().unwrap_or_default();
        self.ensure(!errors.is_empty(), "an error document has an error")?;
        for error in &errors {
            let known = error["code"].as_str().is_some_and(|code| CODES.contains(&code));
            self.ensure(known, "the code is one of the specification's")?;
            let words = error["message"].as_str().is_some_and(|text| !text.is_empty());
            self.ensure(words, "an error has words")?;
        }
        self.ensure(errors[0]["code"] == code, format!("code {code} expected"))
    }
}
