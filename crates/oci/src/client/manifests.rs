//! Reading tags and manifests of an upstream.

use berth_types::{Digest, Reference};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, LINK};
use http::{HeaderValue, Method, StatusCode};
use serde::Deserialize;
use url::Url;

use super::transport::Exchange;
use super::{ClientError, RegistryClient};
use crate::{MAX_MANIFEST_BYTES, ManifestView, media_type};

/// Largest page of a tags list, bytes.
const MAX_TAGS_PAGE: u64 = 32 * 1024 * 1024;
/// Most tags of one repository that are read.
const MAX_TAGS: usize = 1_000_000;
/// Most pages of one tags list.
const MAX_PAGES: usize = 10_000;

const DOCKER_CONTENT_DIGEST: &str = "docker-content-digest";

/// A manifest as an upstream serves it; its digest was verified.
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
    /// `None` when the upstream does not say it.
    pub digest: Option<Digest>,
}

#[derive(Deserialize)]
struct TagsPage {
    tags: Option<Vec<String>>,
}

impl RegistryClient {
    /// All tags of a repository, in the upstream's order, over all pages.
    ///
    /// # Errors
    /// [`ClientError`]; `NotFound` when there is no such repository.
    pub async fn tags(&self, repository: &str) -> Result<Vec<String>, ClientError> {
        let mut next = Some(self.url(repository, "tags/list")?);
        if let Some(url) = &mut next {
            url.set_query(Some("n=1000"));
        }
        let what = format!("tags of repository `{repository}`");
        let mut tags = Vec::new();
        let mut pages = 0;
        while let Some(url) = next {
            pages += 1;
            if tags.len() > MAX_TAGS || pages > MAX_PAGES {
                return Err(ClientError::TooLarge { what, limit: MAX_TAGS as u64 });
            }
            let (page, following) = self.tags_page(repository, &url, &what).await?;
            tags.extend(page);
            if following.as_ref() == Some(&url) {
                let reason = "its pages lead in a circle".to_owned();
                return Err(ClientError::Protocol { what, reason });
            }
            next = following;
        }
        Ok(tags)
    }

    async fn tags_page(
        &self,
        repository: &str,
        url: &Url,
        what: &str,
    ) -> Result<(Vec<String>, Option<Url>), ClientError> {
        let scope = &pull_scope(repository);
        let (body, next) = self
            .retrying(|| async move {
                let exchange = Exchange::new(Method::GET, url.clone(), what);
                let reply = self.send(exchange, scope).await?;
                let links = reply.response.headers().get_all(LINK);
                let links = links.iter().filter_map(|value| value.to_str().ok());
                let next = links.filter_map(next_link).next().map(str::to_owned);
                Ok((reply.bytes(MAX_TAGS_PAGE).await?, next))
            })
            .await?;
        let page: TagsPage = serde_json::from_slice(&body).map_err(|error| {
            ClientError::Protocol { what: what.to_owned(), reason: error.to_string() }
        })?;
        let next = next.map(|link| self.on_base(url, &link, what)).transpose()?;
        Ok((page.tags.unwrap_or_default(), next))
    }

    /// A manifest or index, with the digest of its bytes.
    ///
    /// # Errors
    /// [`ClientError`]; `Digest` when the bytes are not those that were named, `Protocol` when
    /// they are no manifest that Berth takes.
    pub async fn manifest(
        &self,
        repository: &str,
        reference: &Reference,
    ) -> Result<FetchedManifest, ClientError> {
        let url = &self.url(repository, &format!("manifests/{reference}"))?;
        let what = &what_of(reference);
        let scope = &pull_scope(repository);
        self.retrying(|| async move {
            let mut exchange = Exchange::new(Method::GET, url.clone(), what);
            exchange.headers.insert(ACCEPT, accept());
            let reply = self.send(exchange, scope).await?;
            let declared = declared_digest(reply.header(DOCKER_CONTENT_DIGEST), what)?;
            let content_type = reply.header(CONTENT_TYPE).map(str::to_owned);
            let body = reply.bytes(MAX_MANIFEST_BYTES as u64).await?;
            let expected = match reference {
                Reference::Digest(digest) => Some(digest.clone()),
                Reference::Tag(_) => declared,
            };
            verified(what, content_type.as_deref(), body, expected)
        })
        .await
    }

    /// The digest behind a reference, without the manifest itself.
    ///
    /// # Errors
    /// [`ClientError`]; `NotFound` when there is no such manifest.
    pub async fn head_manifest(
        &self,
        repository: &str,
        reference: &Reference,
    ) -> Result<ManifestHead, ClientError> {
        let url = &self.url(repository, &format!("manifests/{reference}"))?;
        let what = &what_of(reference);
        let scope = &pull_scope(repository);
        let outcome = self
            .retrying(|| async move {
                let mut exchange = Exchange::new(Method::HEAD, url.clone(), what);
                exchange.headers.insert(ACCEPT, accept());
                let reply = self.send(exchange, scope).await?;
                declared_digest(reply.header(DOCKER_CONTENT_DIGEST), what)
            })
            .await;
        match outcome {
            Ok(digest) => Ok(ManifestHead { digest }),
            Err(ClientError::Status { status, .. })
                if status == StatusCode::METHOD_NOT_ALLOWED.as_u16() =>
            {
                Ok(ManifestHead { digest: None })
            }
            Err(error) => Err(error),
        }
    }

    /// A reference that the upstream gave, relative to `from`: it stays on the upstream's origin.
    /// Servers behind a proxy often name their own scheme or port; the upstream's are kept.
    pub(crate) fn on_base(&self, from: &Url, link: &str, what: &str) -> Result<Url, ClientError> {
        let refuse = |target: String, reason| ClientError::Redirect {
            what: what.to_owned(),
            target,
            reason,
        };
        let Ok(target) = from.join(link) else {
            return Err(refuse(String::new(), "it is not a URL"));
        };
        if target.host() != self.base().host() || !matches!(target.scheme(), "http" | "https") {
            let shown = target.origin().ascii_serialization();
            return Err(refuse(shown, "it leaves the upstream's host"));
        }
        let mut url = self.base().clone();
        url.set_path(target.path());
        url.set_query(target.query());
        Ok(url)
    }
}

pub(crate) fn pull_scope(repository: &str) -> String {
    format!("repository:{repository}:pull")
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

fn declared_digest(header: Option<&str>, what: &str) -> Result<Option<Digest>, ClientError> {
    header.map(str::parse).transpose().map_err(|error: berth_types::DigestError| {
        ClientError::Protocol { what: what.to_owned(), reason: error.to_string() }
    })
}

fn verified(
    what: &str,
    content_type: Option<&str>,
    body: Bytes,
    expected: Option<Digest>,
) -> Result<FetchedManifest, ClientError> {
    let digest = match expected {
        None => Digest::sha256(&body),
        Some(expected) => {
            let actual = Digest::of(expected.algorithm(), &body);
            if actual != expected {
                return Err(ClientError::Digest {
                    what: what.to_owned(),
                    expected: expected.to_string(),
                    actual: actual.to_string(),
                });
            }
            expected
        }
    };
    let view = ManifestView::parse(content_type, &body).map_err(|error| ClientError::Protocol {
        what: what.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(FetchedManifest { media_type: view.media_type.clone(), digest, body, view })
}

/// The target of `rel="next"` in one `Link` header (RFC 8288).
fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, parameters) = after.split_once('>')?;
        let (parameters, following) = match parameters.find('<') {
            Some(end) => parameters.split_at_checked(end)?,
            None => (parameters, ""),
        };
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            let value = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel") && value.split(' ').any(|one| one == "next")
        });
        if is_next {
            return Some(target);
        }
        rest = following;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        assert_eq!(
            next_link(r#"</v2/a/tags/list?last=x&n=2>; rel="next""#),
            Some("/v2/a/tags/list?last=x&n=2")
        );
        assert_eq!(next_link("</a>; rel=prev, </b>; rel=next"), Some("/b"));
        assert_eq!(next_link("</a>; rel=prev"), None);
        assert_eq!(next_link("<"), None);
        assert_eq!(next_link(""), None);
    }

    #[test]
    fn links_stay_on_the_upstream() {
        let config = crate::client::ClientConfig::new("quay.io");
        let client = RegistryClient::new(config).expect("client");
        let from = client.url("a/b", "tags/list").expect("url");
        let follow = |link: &str| client.on_base(&from, link, "tags").map(|url| url.to_string());
        let page = "https://quay.io/v2/a/b/tags/list?last=x";
        for link in
            ["/v2/a/b/tags/list?last=x", "list?last=x", "http://quay.io:80/v2/a/b/tags/list?last=x"]
        {
            assert_eq!(follow(link).as_deref(), Ok(page), "{link}");
        }
        for link in [
            "//evil.example/x",
            "http://169.254.169.254/",
            "https://quay.io.evil.net/",
            "file:///etc",
        ] {
            assert!(follow(link).is_err(), "{link}");
        }
    }
}
