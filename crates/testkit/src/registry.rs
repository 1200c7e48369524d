//! A plain client of the OCI distribution API that sends and keeps bytes exactly as they are.

use anyhow::{Result, bail};
use base64::Engine;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::Duration;

/// One registry, with or without a user.
#[derive(Debug, Clone)]
pub struct Registry {
    url: String,
    user: Option<(String, String)>,
    http: reqwest::blocking::Client,
}

/// A manifest as it was received.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// `Content-Type`.
    pub media_type: String,
    /// `sha256:…` of the body, computed here.
    pub digest: String,
    /// The document, byte for byte.
    pub body: Vec<u8>,
}

impl Manifest {
    /// The document as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a manifest is JSON")
    }
}

impl Registry {
    /// A client without credentials.
    #[must_use]
    pub fn anonymous(url: &str) -> Registry {
        Registry { url: url.to_owned(), user: None, http: http_client(None) }
    }

    /// A client that sends Basic credentials with every request.
    #[must_use]
    pub fn with_basic(url: &str, user: &str, password: &str) -> Registry {
        let user = Some((user.to_owned(), password.to_owned()));
        Registry { url: url.to_owned(), user, http: http_client(None) }
    }

    /// The same client, which trusts the certificate authority in a PEM file and no other.
    #[must_use]
    pub fn trusting(mut self, authority: &Path) -> Registry {
        self.http = http_client(Some(authority));
        self
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> &str {
        self.url.split_once("://").map_or(&*self.url, |(_, host)| host)
    }

    /// The `Authorization` header that every request has.
    pub(crate) fn authorization(&self) -> Option<String> {
        let (user, password) = self.user.as_ref()?;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        Some(format!("Basic {pair}"))
    }

    /// A request for a path below the registry's root, e.g. `/v2/`.
    ///
    /// # Panics
    /// When `method` is no method name.
    pub fn request(&self, method: &str, path: &str) -> reqwest::blocking::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let url =
            if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.url) };
        let request = self.http.request(method, url);
        match &self.user {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }

    /// Uploads a blob in one piece; an error is any answer but 201.
    ///
    /// # Errors
    /// With the server's answer.
    pub fn push_blob(&self, repository: &str, content: &[u8]) -> Result<String> {
        let digest = sha256(content);
        let begin = self.request("POST", &format!("/v2/{repository}/blobs/uploads/"));
        let answer = begin.body("").send()?;
        let location = location_of(&answer, &self.url)?;
        let separator = if location.contains('?') { '&' } else { '?' };
        let put = self
            .request("PUT", &format!("{location}{separator}digest={digest}"))
            .header("Content-Type", "application/octet-stream")
            .body(content.to_vec());
        expect_created(put, "blob").map(|()| digest)
    }

    /// Puts a manifest under a tag or digest and returns its digest.
    ///
    /// # Errors
    /// With the server's answer.
    pub fn push_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        body: &[u8],
    ) -> Result<String> {
        let put = self
            .request("PUT", &format!("/v2/{repository}/manifests/{reference}"))
            .header("Content-Type", media_type)
            .body(body.to_vec());
        expect_created(put, "manifest").map(|()| sha256(body))
    }

    /// Fetches a manifest; `None` when there is none.
    ///
    /// # Panics
    /// When the answer is neither 200 nor 404.
    #[must_use]
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Manifest> {
        let accept = [
            "application/vnd.oci.image.index.v1+json",
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.docker.distribution.manifest.list.v2+json",
            "application/vnd.docker.distribution.manifest.v2+json",
        ];
        let answer = self
            .request("GET", &format!("/v2/{repository}/manifests/{reference}"))
            .header("Accept", accept.join(", "))
            .send()
            .unwrap_or_else(|error| panic!("manifest {repository}:{reference}: {error:?}"));
        if answer.status().as_u16() == 404 {
            return None;
        }
        assert!(answer.status().is_success(), "manifest {repository}:{reference}: {answer:?}");
        let media_type = answer
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let body = answer.bytes().expect("a manifest arrives whole").to_vec();
        Some(Manifest { media_type, digest: sha256(&body), body })
    }

    /// Fetches a blob and verifies its digest; `None` when there is none.
    ///
    /// # Panics
    /// When the answer is neither 200 nor 404, or the bytes are not those of the digest.
    #[must_use]
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Vec<u8>> {
        let answer = self
            .request("GET", &format!("/v2/{repository}/blobs/{digest}"))
            .send()
            .unwrap_or_else(|error| panic!("blob {digest}: {error:?}"));
        if answer.status().as_u16() == 404 {
            return None;
        }
        assert!(answer.status().is_success(), "blob {digest}: {answer:?}");
        let body = answer.bytes().expect("a blob arrives whole").to_vec();
        assert_eq!(sha256(&body), digest, "blob of {repository}");
        Some(body)
    }

    /// All tags of a repository.
    ///
    /// # Panics
    /// When the answer is not a list of tags.
    #[must_use]
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let answer = self
            .request("GET", &format!("/v2/{repository}/tags/list"))
            .send()
            .unwrap_or_else(|error| panic!("tags of {repository}: {error:?}"));
        let text = answer.text().expect("a list of tags arrives whole");
        let list: serde_json::Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let tags = list["tags"].as_array().cloned().unwrap_or_default();
        tags.iter().filter_map(|tag| tag.as_str().map(str::to_owned)).collect()
    }
}

/// `sha256:` and 64 hexadecimal digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// A client that trusts the certificate authority in a PEM file, or the usual ones.
pub(crate) fn http_client(authority: Option<&Path>) -> reqwest::blocking::Client {
    let mut builder =
        reqwest::blocking::Client::builder().timeout(Duration::from_secs(120)).no_proxy();
    if let Some(path) = authority {
        let pem = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let certificate = reqwest::Certificate::from_pem(&pem).expect("a certificate in PEM");
        builder = builder.tls_certs_only([certificate]);
    }
    builder.build().expect("an HTTP client can be made")
}

/// Whether a page answers with success. A certificate authority that is not there yet is no answer.
pub(crate) fn answers(url: &str, authority: Option<&Path>) -> bool {
    authority.is_none_or(Path::exists)
        && http_client(authority).get(url).send().is_ok_and(|answer| answer.status().is_success())
}

fn location_of(answer: &reqwest::blocking::Response, root: &str) -> Result<String> {
    let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
    match (answer.status().as_u16(), location) {
        (202, Some(location)) if location.starts_with('/') => Ok(format!("{root}{location}")),
        (202, Some(location)) => Ok(location.to_owned()),
        _ => bail!("an upload could not be started: {answer:?}"),
    }
}

fn expect_created(request: reqwest::blocking::RequestBuilder, what: &str) -> Result<()> {
    let answer = request.send()?;
    let status = answer.status().as_u16();
    if status == 201 {
        return Ok(());
    }
    bail!("{what}: {status} {}", answer.text().unwrap_or_default())
}
