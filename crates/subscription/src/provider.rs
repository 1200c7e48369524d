//! Where a rule's images come from.

use berth_oci::client::{ClientConfig, ClientError, Credentials, RegistryClient};

use crate::artifact_subscription_rule::SubscriptionRule;
use crate::config::{ProviderConfig, SubscriptionConfig};

/// Docker Hub keeps its official images there.
const DOCKER_HUB_NAMESPACE: &str = "library";

/// The values of `SourceProvider`. GHCR and CUSTOM are extensions of ACR's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provider {
    DockerHub,
    Quay,
    Gcr,
    Ghcr,
    /// Any registry, by `SourceDomain`.
    Custom,
}

impl Provider {
    const ALL: [Self; 5] = [Self::DockerHub, Self::Quay, Self::Gcr, Self::Ghcr, Self::Custom];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DockerHub => "DOCKER_HUB",
            Self::Quay => "QUAY",
            Self::Gcr => "GCR",
            Self::Ghcr => "GHCR",
            Self::Custom => "CUSTOM",
        }
    }

    /// Every name, for messages.
    pub(crate) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    fn endpoint(self) -> Option<&'static str> {
        match self {
            Self::DockerHub => Some("https://registry-1.docker.io"),
            Self::Quay => Some("https://quay.io"),
            Self::Gcr => Some("https://gcr.io"),
            Self::Ghcr => Some("https://ghcr.io"),
            Self::Custom => None,
        }
    }

    pub(crate) fn default_namespace(self) -> Option<&'static str> {
        (self == Self::DockerHub).then_some(DOCKER_HUB_NAMESPACE)
    }

    /// Whether repositories of this provider always have a namespace.
    pub(crate) fn needs_namespace(self) -> bool {
        self != Self::Custom
    }

    /// The endpoint that is contacted; `domain` is a CUSTOM rule's.
    pub(crate) fn contacted(self, config: &SubscriptionConfig, domain: &str) -> String {
        let settings = self.settings(config, domain);
        let configured = settings.and_then(|settings| settings.endpoint.clone());
        configured.unwrap_or_else(|| self.endpoint().unwrap_or(domain).to_owned())
    }

    /// Where an operator writes settings of this source.
    fn section(self, domain: &str) -> String {
        match self {
            Self::Custom => format!("upstream.providers.\"{domain}\""),
            named => format!("upstream.providers.{}", named.name()),
        }
    }

    fn settings<'a>(
        self,
        config: &'a SubscriptionConfig,
        domain: &str,
    ) -> Option<&'a ProviderConfig> {
        match self {
            Self::Custom => config.providers.get(domain),
            named => config.providers.get(named.name()),
        }
    }
}

/// An endpoint as `SourceDomain` shows it: `host[:port]`, with `http://` only for plain HTTP.
///
/// # Errors
/// When it is not an endpoint.
pub(crate) fn domain_of(endpoint: &str) -> Result<String, ClientError> {
    let config = ClientConfig::for_endpoint(endpoint.trim())?;
    let scheme = if config.plain_http { "http://" } else { "" };
    Ok(format!("{scheme}{}", config.host))
}

/// The client for a rule's source.
///
/// # Errors
/// When the rule or the operator's settings name no usable endpoint.
pub(crate) fn client(
    config: &SubscriptionConfig,
    rule: &SubscriptionRule,
) -> Result<RegistryClient, ClientError> {
    let provider = Provider::parse(&rule.source_provider).ok_or_else(|| {
        ClientError::Config(format!("unknown source provider `{}`", rule.source_provider))
    })?;
    let endpoint = provider.contacted(config, &rule.source_domain);
    let mut client = ClientConfig::for_endpoint(&endpoint)?;
    client.allow.clone_from(&config.allow);
    client.retry = config.retry;
    client.bounds.clone_from(&config.bounds);
    client.settings = Some(provider.section(&rule.source_domain));
    if let Some(settings) = provider.settings(config, &rule.source_domain) {
        client.ca.clone_from(&settings.ca);
        client.proxy.clone_from(&settings.proxy);
        client.realms.clone_from(&settings.realms);
        client.credentials = settings.username.clone().map(|username| Credentials {
            username,
            password: settings.password.clone().unwrap_or_default(),
        });
    }
    RegistryClient::new(client)
}

/// Which registry a rule's images come from, as [`domain_of`] shows it: by the endpoint that is
/// contacted, not by the name that the rule knew.
///
/// # Errors
/// When the rule or the operator's settings name no usable endpoint.
pub(crate) fn origin(
    config: &SubscriptionConfig,
    rule: &SubscriptionRule,
) -> Result<String, ClientError> {
    let contacted = Provider::parse(&rule.source_provider)
        .map(|provider| provider.contacted(config, &rule.source_domain));
    domain_of(contacted.as_ref().unwrap_or(&rule.source_domain))
}

/// The repository's name at the source.
pub(crate) fn source_repository(rule: &SubscriptionRule) -> String {
    if rule.source_namespace_name.is_empty() {
        rule.source_repo_name.clone()
    } else {
        format!("{}/{}", rule.source_namespace_name, rule.source_repo_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains() {
        for (endpoint, domain) in [
            ("https://quay.io", "quay.io"),
            ("quay.io", "quay.io"),
            ("registry.example.com:5000", "registry.example.com:5000"),
            ("http://127.0.0.1:5000/", "http://127.0.0.1:5000"),
        ] {
            assert_eq!(domain_of(endpoint).as_deref(), Ok(domain));
        }
        for bad in ["", "ftp://x", "host/path", "user@host"] {
            assert!(domain_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_operator_may_name_another_endpoint() {
        let mut config = SubscriptionConfig::default();
        let hub = Provider::DockerHub;
        assert_eq!(hub.contacted(&config, ""), "https://registry-1.docker.io");
        let settings = ProviderConfig {
            endpoint: Some("http://127.0.0.1:5000".to_owned()),
            ..ProviderConfig::default()
        };
        config.providers.insert("DOCKER_HUB".to_owned(), settings);
        assert_eq!(hub.contacted(&config, ""), "http://127.0.0.1:5000");
        assert_eq!(Provider::Custom.contacted(&config, "a.example"), "a.example");
        assert_eq!(Provider::parse("docker_hub"), None);
    }
}
