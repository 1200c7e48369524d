//! How one upstream registry is reached.

use std::time::Duration;

use berth_types::Secret;
use url::{Host, Url};

use super::{AllowedRange, Bounds, ClientError};

/// A user name and password for an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: Secret,
}

/// How often and how patiently a request is repeated.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Tries after the first one, for connection faults, 5xx and 429.
    pub retries: u32,
    /// The first pause; it doubles, with jitter.
    pub base: Duration,
    /// The longest pause that is waited out; a longer `Retry-After` is an error.
    pub longest: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { retries: 4, base: Duration::from_millis(300), longest: Duration::from_secs(60) }
    }
}

/// One registry and the rules for talking to it.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// `host` or `host:port`.
    pub host: String,
    /// Plain HTTP: only when the operator or user wrote `http://`, and only to addresses that
    /// `allow` lists.
    pub plain_http: bool,
    pub credentials: Option<Credentials>,
    /// Addresses that may be contacted beside public ones, and those that plain HTTP may reach.
    pub allow: Vec<AllowedRange>,
    /// PEM certificates that are trusted beside the system's.
    pub ca: Option<Vec<u8>>,
    /// `http://host:port` of a proxy that all requests take. Names are then resolved by the proxy:
    /// its own rules decide which addresses they may lead to.
    pub proxy: Option<String>,
    /// Further hosts that may be this registry's token server: names or addresses, with a port when
    /// only that one is meant.
    pub realms: Vec<String>,
    /// The section of the configuration that this upstream's settings stand in, for messages:
    /// `upstream.providers.QUAY`. `None` where it has none.
    pub settings: Option<String>,
    pub bounds: Bounds,
    pub retry: RetryPolicy,
    pub connect_timeout: Duration,
    /// The longest silence within a reply.
    pub read_timeout: Duration,
}

impl ClientConfig {
    /// HTTPS to `host[:port]`, anonymous, public addresses only.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            plain_http: false,
            credentials: None,
            allow: Vec::new(),
            ca: None,
            proxy: None,
            realms: Vec::new(),
            settings: None,
            bounds: Bounds::default(),
            retry: RetryPolicy::default(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
        }
    }

    /// From `host[:port]`, `https://host[:port]` or `http://host[:port]`.
    ///
    /// # Errors
    /// [`ClientError::Config`] when the text is none of these.
    pub fn for_endpoint(endpoint: &str) -> Result<Self, ClientError> {
        let (plain_http, host) = match endpoint.split_once("://") {
            None => (false, endpoint),
            Some(("https", host)) => (false, host),
            Some(("http", host)) => (true, host),
            Some((scheme, _)) => {
                return Err(ClientError::Config(format!("scheme `{scheme}` of `{endpoint}`")));
            }
        };
        let config = Self { plain_http, ..Self::new(host.strip_suffix('/').unwrap_or(host)) };
        config.base()?;
        Ok(config)
    }

    /// `scheme://host[:port]/`. Docker Hub's names lead to the host that serves its API.
    ///
    /// # Errors
    /// [`ClientError::Config`] when `host` is not a host with an optional port.
    pub fn base(&self) -> Result<Url, ClientError> {
        let bad = || ClientError::Config(format!("`{}` is not of the form host[:port]", self.host));
        let scheme = if self.plain_http { "http" } else { "https" };
        let host = match self.host.as_str() {
            "docker.io" | "index.docker.io" | "registry.hub.docker.com" => "registry-1.docker.io",
            other => other,
        };
        let url = Url::parse(&format!("{scheme}://{host}/")).map_err(|_| bad())?;
        let bare = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            && !host.contains(['/', '\\', '?', '#', '@']);
        let named = match url.host() {
            Some(Host::Domain(name)) => !name.is_empty(),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
            None => false,
        };
        if bare && named { Ok(url) } else { Err(bad()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let base = |text: &str| {
            ClientConfig::for_endpoint(text).and_then(|one| one.base()).map(|url| url.to_string())
        };
        assert_eq!(base("quay.io").as_deref(), Ok("https://quay.io/"));
        assert_eq!(base("docker.io").as_deref(), Ok("https://registry-1.docker.io/"));
        assert_eq!(base("http://127.0.0.1:5000/").as_deref(), Ok("http://127.0.0.1:5000/"));
        assert_eq!(
            base("https://[2001:db8::1]:5000").as_deref(),
            Ok("https://[2001:db8::1]:5000/")
        );
        for bad in
            ["", "ftp://x", "a/b", "user@host", "http://", "host?x", "a b", "http://a@b", "x:y"]
        {
            assert!(base(bad).is_err(), "{bad}");
        }
    }
}
