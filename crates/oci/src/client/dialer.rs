//! The one place from which connections are opened, and where their addresses are checked.
//!
//! A name is resolved here and only addresses that passed the check are handed to the connector,
//! so there is no second resolution that could answer differently. Addresses written in a URL
//! never reach a resolver and are checked before each request instead.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::address::Allow;
use super::{ClientConfig, ClientError};

/// An HTTP client that contacts permitted addresses only and follows nothing by itself.
pub(crate) struct Dialer {
    https: Clients,
    /// For plain HTTP, when the upstream was configured with it: listed addresses only.
    http: Option<Clients>,
    allow: Arc<Allow>,
}

/// A resolver is not told to which port its addresses will be connected, so each port that the
/// rule knows by number has a client of its own.
struct Clients {
    ports: BTreeMap<u16, reqwest::Client>,
    others: reqwest::Client,
}

impl Clients {
    fn new(
        mut build: impl FnMut(u16) -> Result<reqwest::Client, ClientError>,
        allow: &Allow,
    ) -> Result<Self, ClientError> {
        let ports = allow.ports().into_iter().map(|port| Ok((port, build(port)?)));
        // Port 0 is none that anybody could list.
        Ok(Self { ports: ports.collect::<Result<_, ClientError>>()?, others: build(0)? })
    }

    fn of(&self, url: &Url) -> &reqwest::Client {
        self.ports.get(&port_of(url)).unwrap_or(&self.others)
    }
}

fn port_of(url: &Url) -> u16 {
    url.port_or_known_default().unwrap_or(0)
}

impl Dialer {
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, ClientError> {
        let allow = Arc::new(Allow::new(config.allow.clone()));
        let made = |rule, certificates| {
            let build = |port| {
                build(config, &allow, rule, port, certificates)
                    .map_err(|error| ClientError::Config(chain(&error)))
            };
            Clients::new(build, &allow)
        };
        let http = config.plain_http.then(|| made(Rule::Listed, false)).transpose()?;
        // Without any certificate on the machine only plain HTTP can work; then let it.
        let https = made(Rule::Public, true);
        let https = match &http {
            Some(_) => https.or_else(|_| made(Rule::Public, false))?,
            None => https?,
        };
        Ok(Self { https, http, allow })
    }

    /// Sends one request, after its URL was checked. Redirects come back as they are.
    pub(crate) async fn execute(
        &self,
        request: reqwest::Request,
    ) -> Result<reqwest::Response, ClientError> {
        self.check(request.url())?;
        let host = host_of(request.url());
        let client = match &self.http {
            Some(http) if request.url().scheme() == "http" => http.of(request.url()),
            _ => self.https.of(request.url()),
        };
        client.execute(request).await.map_err(|error| classify(&error, host))
    }

    /// Scheme and, when the host is an address, the address rule.
    pub(crate) fn check(&self, url: &Url) -> Result<(), ClientError> {
        let rule = match url.scheme() {
            "https" => Rule::Public,
            "http" if self.http.is_some() => Rule::Listed,
            _ => {
                return Err(ClientError::Redirect {
                    what: host_of(url),
                    target: url.origin().ascii_serialization(),
                    reason: "only https:// is used unless the upstream was configured as http://",
                });
            }
        };
        let address: IpAddr = match url.host() {
            Some(Host::Ipv4(v4)) => v4.into(),
            Some(Host::Ipv6(v6)) => v6.into(),
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err(ClientError::Config(format!("`{url}` has no host"))),
        };
        if rule.permits(&self.allow, address, port_of(url)) {
            Ok(())
        } else {
            Err(ClientError::Refused { host: host_of(url), address })
        }
    }
}

/// Which addresses a connection may lead to.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// Public ones and listed ones.
    Public,
    /// Listed ones only.
    Listed,
}

impl Rule {
    fn permits(self, allow: &Allow, address: IpAddr, port: u16) -> bool {
        match self {
            Self::Public => allow.permits(address, port),
            Self::Listed => allow.lists(address, port),
        }
    }
}

fn build(
    config: &ClientConfig,
    allow: &Arc<Allow>,
    rule: Rule,
    port: u16,
    certificates: bool,
) -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("berth/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .connect_timeout(config.connect_timeout)
        .read_timeout(config.read_timeout);
    let mut proxy_host = None;
    if let Some(proxy) = &config.proxy {
        proxy_host = Url::parse(proxy).ok().and_then(|url| url.host_str().map(str::to_owned));
        builder = builder.proxy(reqwest::Proxy::all(proxy)?);
    }
    if !certificates {
        builder = builder.tls_certs_only([]);
    } else if let Some(pem) = &config.ca {
        builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem)?);
    }
    let resolver = CheckedResolver { allow: Arc::clone(allow), rule, port, proxy_host };
    builder.dns_resolver(Arc::new(resolver)).build()
}

struct CheckedResolver {
    allow: Arc<Allow>,
    rule: Rule,
    port: u16,
    /// The operator chose the proxy: it may have a private address.
    proxy_host: Option<String>,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (allow, rule, port) = (Arc::clone(&self.allow), self.rule, self.port);
        let trusted = self.proxy_host.as_deref() == Some(name.as_str());
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            let (permitted, refused): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|one| trusted || rule.permits(&allow, one.ip(), port));
            match (permitted.is_empty(), refused.first()) {
                (true, Some(one)) => {
                    Err(RefusedAddress { host: host.to_owned(), address: one.ip() }.into())
                }
                _ => Ok(Box::new(permitted.into_iter()) as Addrs),
            }
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("address {address} of {host} is refused")]
struct RefusedAddress {
    host: String,
    address: IpAddr,
}

/// `host[:port]` for messages.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn classify(error: &reqwest::Error, host: String) -> ClientError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(one) = source {
        if let Some(refused) = one.downcast_ref::<RefusedAddress>() {
            return ClientError::Refused { host: refused.host.clone(), address: refused.address };
        }
        source = one.source();
    }
    if error.is_builder() {
        return ClientError::Config(chain(error));
    }
    ClientError::Unreachable { host, reason: chain(error) }
}

/// An error with its causes on one line, without the URL (it may carry a signed query).
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut source = Some(error);
    while let Some(one) = source {
        let text = one.to_string();
        let text = text.split(" for url (").next().unwrap_or_default().to_owned();
        if parts.last().is_none_or(|last| !last.contains(&text)) {
            parts.push(text);
        }
        source = one.source();
    }
    parts.join(": ")
}
