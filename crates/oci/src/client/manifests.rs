//! Reading manifests of an upstream.

use berth_types::{Digest, Reference};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method};

use super::transport::Exchange;
use super::{ClientError, ClientErrorKind, RegistryClient};
use crate::{MAX_MANIFEST_BYTES, ManifestView, media_type};

const DOCKER_CONTENT_DIGEST: &str = "docker-content-digest";

/// A manifest as an upstream serves it; its digest is that of its bytes.
#[derive(Debug, Clone)]
pub struct FetchedManifest {
    pub media_type: String,
    pub digest: Digest,
    /// Exactly as received.
    pub body: Bytes,
    pub view: ManifestView,
}

/// What a HEAD of a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestHead {
    /// As the upstream names it, not verified: good for a comparison with what is here. `None` when
    /// it refuses the question or names no digest; a GET tells then.
    pub digest: Option<Digest>,
}

impl RegistryClient {
    /// A manifest or index, with the digest of its bytes; one GET. By tag the bytes say what they
    /// are, whatever the upstream's `Docker-Content-Digest` does.
    ///
    /// # Errors
    /// [`ClientError`]; `Digest` when the bytes are twice not those that were named, `Protocol` when
    /// they are no manifest that Berth takes.
    pub async fn manifest(
        &self,
        repository: &str,
        reference: &Reference,
    ) -> Result<FetchedManifest, ClientError> {
        match self.manifest_once(repository, reference).await {
            Err(ClientError::Digest { .. }) => self.manifest_once(repository, reference).await,
            other => other,
        }
    }

    async fn manifest_once(
        &self,
        repository: &str,
        reference: &Reference,
    ) -> Result<FetchedManifest, ClientError> {
        let url = &self.url(repository, &format!("manifests/{reference}"))?;
        let what = &what_of(reference);
        let scope = &pull_scope(repository);
        let reading = self.retrying(|| async move {
            let mut exchange = Exchange::new(Method::GET, url.clone(), what);
            exchange.headers.insert(ACCEPT, accept());
            let reply = self.send(exchange, scope).await?;
            let declared = declared_digest(reply.header(DOCKER_CONTENT_DIGEST));
            let content_type = reply.header(CONTENT_TYPE).map(str::to_owned);
            Ok((reply.bytes(MAX_MANIFEST_BYTES as u64).await?, declared, content_type))
        });
        let (body, declared, content_type) = reading.await?;
        let digest = match reference {
            Reference::Digest(expected) => verified(what, &body, expected)?,
            // Says at most which algorithm the upstream knows the manifest by.
            Reference::Tag(_) => declared
                .filter(|declared| Digest::of(declared.algorithm(), &body) == *declared)
                .unwrap_or_else(|| Digest::sha256(&body)),
        };
        let view = ManifestView::parse(content_type.as_deref(), &body).map_err(|error| {
            ClientError::Protocol { what: what.clone(), reason: error.to_string() }
        })?;
        Ok(FetchedManifest { media_type: view.media_type.clone(), digest, body, view })
    }

    /// The digest behind a reference, without the manifest itself: what no registry counts as a pull.
    /// Servers refuse a HEAD in many ways and serve the GET, so a refusal is no error here; only a
    /// limit or a fault of the connection says something about both. Where nothing is to be compared,
    /// [`Self::manifest`] alone costs one request less.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn head_manifest(
        &self,
        repository: &str,
        reference: &Reference,
    ) -> Result<ManifestHead, ClientError> {
        let url = &self.url(repository, &format!("manifests/{reference}"))?;
        let what = &what_of(reference);
        let scope = &pull_scope(repository);
        let asking = self.retrying(|| async move {
            let mut exchange = Exchange::new(Method::HEAD, url.clone(), what);
            exchange.headers.insert(ACCEPT, accept());
            match self.send(exchange, scope).await {
                Ok(reply) => Ok(declared_digest(reply.header(DOCKER_CONTENT_DIGEST))),
                Err(error) if is_refusal(&error) => Ok(None),
                Err(error) => Err(error),
            }
        });
        Ok(ManifestHead { digest: asking.await? })
    }
}

pub(crate) fn pull_scope(repository: &str) -> String {
    format!("repository:{repository}:pull")
}

fn is_refusal(error: &ClientError) -> bool {
    matches!(error, ClientError::Status { .. })
        || matches!(error.kind(), ClientErrorKind::NotFound | ClientErrorKind::Unauthorized)
}

fn what_of(reference: &Reference) -> String {
    match reference {
        Reference::Tag(tag) => format!("tag {tag}"),
        Reference::Digest(digest) => format!("manifest {digest}"),
    }
}

fn accept() -> HeaderValue {
    HeaderValue::from_str(&media_type::MANIFESTS.join(", "))
        .unwrap_or_else(|_| HeaderValue::from_static("*/*"))
}

/// What the header says, where it is a digest of ours.
fn declared_digest(header: Option<&str>) -> Option<Digest> {
    header?.trim().parse().ok()
}

fn verified(what: &str, body: &Bytes, expected: &Digest) -> Result<Digest, ClientError> {
    let actual = Digest::of(expected.algorithm(), body);
    if actual == *expected {
        return Ok(actual);
    }
    Err(ClientError::Digest {
        what: what.to_owned(),
        expected: expected.to_string(),
        actual: actual.to_string(),
    })
}
