//! A registry as it is asked: with its authorisation, within its origin.

use std::sync::Arc;

use berth_types::RepoName;
use http::StatusCode;
use url::Url;

use super::authorization::{Authorization, Need, Ticket};
use super::transport::{Exchange, Reply, Wire, object_kind};
use super::{ClientConfig, ClientError};

/// Times that one request is answered with 401 and asked again: for a token, for a newer one, for
/// one of the scope that the challenge names, and the same at a host that it redirects to.
const MAX_CHALLENGES: usize = 6;

/// A client of one registry. Clones share connections, tokens and limits.
#[derive(Clone)]
pub struct RegistryClient {
    inner: Arc<Inner>,
}

struct Inner {
    wire: Wire,
    authorization: Authorization,
}

impl RegistryClient {
    /// Prepares a client; nothing is contacted yet.
    ///
    /// # Errors
    /// [`ClientError::Config`] for a malformed host, proxy or certificate.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let wire = Wire::new(config)?;
        let authorization = Authorization::default();
        Ok(Self { inner: Arc::new(Inner { wire, authorization }) })
    }

    /// `host[:port]` as configured.
    pub fn host(&self) -> &str {
        &self.config().host
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.wire().config
    }

    pub(crate) fn wire(&self) -> &Wire {
        &self.inner.wire
    }

    /// `/v2/<repository>/<rest>`; the name must follow the specification's grammar, where other
    /// registries also have names of a single component.
    pub(crate) fn url(&self, repository: &str, rest: &str) -> Result<Url, ClientError> {
        if format!("x/{repository}").parse::<RepoName>().is_err() {
            let reason = format!("`{repository}` is not a repository name");
            return Err(ClientError::Config(reason));
        }
        let mut url = self.wire().base.clone();
        url.set_path(&format!("/v2/{repository}/{rest}"));
        Ok(url)
    }

    /// Repeats an operation after transient faults ([`Wire::retrying`]).
    pub(crate) async fn retrying<T, F, R>(&self, operation: F) -> Result<T, ClientError>
    where
        F: FnMut() -> R,
        R: Future<Output = Result<T, ClientError>>,
    {
        self.wire().retrying(operation).await
    }

    /// A reference that the upstream gave, relative to `from`: it stays on the upstream's origin.
    /// Servers behind a proxy often name their own scheme or port; the upstream's are kept.
    pub(crate) fn on_base(&self, from: &Url, link: &str, what: &str) -> Result<Url, ClientError> {
        let base = &self.wire().base;
        let refuse = |target: String, reason| ClientError::Redirect {
            what: what.to_owned(),
            target,
            reason,
        };
        let Ok(target) = from.join(link) else {
            return Err(refuse(String::new(), "it is not a URL"));
        };
        if target.host() != base.host() || !matches!(target.scheme(), "http" | "https") {
            let shown = target.origin().ascii_serialization();
            return Err(refuse(shown, "it leaves the upstream's host"));
        }
        let mut url = base.clone();
        url.set_path(target.path());
        url.set_query(target.query());
        Ok(url)
    }

    /// Sends with the upstream's authorisation for `scope` and takes 2xx (and 416, which a caller
    /// of ranges reads) as success. Makes no second try except to authorise.
    pub(crate) async fn send(
        &self,
        mut exchange: Exchange<'_>,
        scope: &str,
    ) -> Result<Reply, ClientError> {
        let (wire, authorization) = (self.wire(), &self.inner.authorization);
        let (own, method) = (exchange.url.clone(), exchange.method.clone());
        let need = Need { scope: scope.to_owned(), kind: object_kind(&own) };
        wire.keep_pause(&own, &method).await?;
        // Of the host that the exchange goes to when that is not the upstream's own.
        let mut elsewhere: Option<Ticket> = None;
        let mut answered = 0;
        loop {
            let ours = wire.is_ours(&exchange.url);
            let ticket =
                if ours { authorization.ticket(wire, &need).await? } else { elsewhere.take() };
            exchange.authorization = ticket.as_ref().map(|ticket| ticket.header.clone());
            let response = wire.exchange(&exchange).await?;
            let from = response.url().clone();
            if response.status() != StatusCode::UNAUTHORIZED || answered == MAX_CHALLENGES {
                let checked = wire.checked(response, exchange.what).await;
                if let Err(error) = &checked
                    && wire.is_ours(&from)
                {
                    wire.begin_pause(&own, &method, error);
                }
                return checked;
            }
            let headers = response.headers().clone();
            let denied = wire.refusal(response, exchange.what).await;
            let used = ticket.filter(|_| from.origin() == exchange.url.origin());
            if wire.is_ours(&from) {
                authorization.learn(wire, &headers, &need, used.as_ref(), denied).await?;
            } else {
                let used = used.as_ref();
                let ticket = authorization.anonymous(wire, &from, &headers, used, denied).await?;
                (exchange.url, elsewhere) = (from, Some(ticket));
            }
            answered += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_on_the_upstream() {
        let config = crate::client::ClientConfig::new("quay.io");
        let client = RegistryClient::new(config).expect("client");
        let from = client.url("a/b", "tags/list").expect("url");
        let follow = |link: &str| client.on_base(&from, link, "tags").map(|url| url.to_string());
        let page = "https://quay.io/v2/a/b/tags/list?last=x";
        for link in [
            "/v2/a/b/tags/list?last=x",
            "list?last=x",
            "?last=x",
            "//quay.io/v2/a/b/tags/list?last=x",
            "http://quay.io:80/v2/a/b/tags/list?last=x",
        ] {
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
