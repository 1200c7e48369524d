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

/// Whether the operator's credentials for the rule's source are for this rule. They are the
/// operator's: a rule of somebody else would read with them what it may not.
pub(crate) fn has_credentials(config: &SubscriptionConfig, rule: &SubscriptionRule) -> bool {
    let provider = Provider::parse(&rule.source_provider);
    let settings = provider.and_then(|one| one.settings(config, &rule.source_domain));
    let Some(settings) = settings.filter(|settings| settings.username.is_some()) else {
        return false;
    };
    let at_home = config.home_instance.as_ref().is_none_or(|home| *home == rule.instance_id);
    let names = |target: &str| match target.split_once('/') {
        _ if target == "*" => true,
        None => target == rule.namespace_name,
        Some((namespace, repository)) => {
            namespace == rule.namespace_name && repository == rule.repo_name
        }
    };
    if settings.credentials_for.is_empty() {
        return at_home;
    }
    settings.credentials_for.iter().any(|entry| match entry.strip_prefix(&rule.instance_id) {
        Some(rest) if rest.starts_with('/') => names(rest.trim_start_matches('/')),
        _ => at_home && names(entry),
    })
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
        let username = settings.username.clone().filter(|_| has_credentials(config, rule));
        client.credentials = username.map(|username| Credentials {
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
    fn credentials_are_for_the_rules_that_the_operator_names() {
        let rule = |instance: &str, namespace: &str, repository: &str| SubscriptionRule {
            rule_id: "crasr-1".to_owned(),
            instance_id: instance.to_owned(),
            namespace_name: namespace.to_owned(),
            repo_name: repository.to_owned(),
            source_provider: "QUAY".to_owned(),
            source_domain: String::new(),
            source_namespace_name: "a".to_owned(),
            source_repo_name: "b".to_owned(),
            platforms: Vec::new(),
            tag_regexp: ".*".to_owned(),
            tag_count: 1,
            override_tags: false,
            accelerate: false,
            index_mode: crate::artifact_subscription_rule::IndexMode::Keep,
            referrers: true,
            created_at: 0,
            modified_at: 0,
        };
        let serves = |list: &[&str], instance: &str, namespace: &str, repository: &str| {
            let settings = ProviderConfig {
                username: Some("robot".to_owned()),
                credentials_for: list.iter().map(|entry| (*entry).to_owned()).collect(),
                ..ProviderConfig::default()
            };
            let mut config = SubscriptionConfig {
                home_instance: Some("cri-home".to_owned()),
                ..SubscriptionConfig::default()
            };
            let without = has_credentials(&config, &rule(instance, namespace, repository));
            assert!(!without, "there are none");
            config.providers.insert("QUAY".to_owned(), settings);
            has_credentials(&config, &rule(instance, namespace, repository))
        };
        // Without a list: the operator's own instance.
        assert!(serves(&[], "cri-home", "team", "app"));
        assert!(!serves(&[], "cri-other", "team", "app"));
        assert!(serves(&["*"], "cri-home", "team", "app"));
        assert!(!serves(&["*"], "cri-other", "team", "app"));
        let list = ["team", "shared/app", "cri-other/guest", "cri-third/*"];
        for (instance, namespace, repository, expected) in [
            ("cri-home", "team", "anything", true),
            ("cri-home", "shared", "app", true),
            ("cri-home", "shared", "other", false),
            ("cri-home", "guest", "app", false),
            ("cri-other", "guest", "app", true),
            ("cri-other", "team", "app", false),
            ("cri-third", "team", "app", true),
        ] {
            let found = serves(&list, instance, namespace, repository);
            assert_eq!(found, expected, "{instance} {namespace}/{repository}");
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
