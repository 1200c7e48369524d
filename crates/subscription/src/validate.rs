//! What a rule must be before it is stored; errors name the ACR parameter.

use berth_types::{Platform, RepoName};

use crate::artifact_subscription_rule::SubscriptionRule;
use crate::config::SubscriptionConfig;
use crate::error::SubscriptionError;
use crate::pattern::TagPattern;
use crate::provider::{Provider, domain_of, source_repository};

/// Most platforms of one rule.
const MAX_PLATFORMS: usize = 20;

/// Checks a rule and fills what it leaves to its provider: namespace and domain.
pub(crate) fn complete(
    config: &SubscriptionConfig,
    mut rule: SubscriptionRule,
) -> Result<SubscriptionRule, SubscriptionError> {
    for (name, value) in [
        ("NamespaceName", &rule.namespace_name),
        ("RepoName", &rule.repo_name),
        ("SourceProvider", &rule.source_provider),
        ("SourceRepoName", &rule.source_repo_name),
    ] {
        if value.is_empty() {
            return Err(invalid(name, "it must be given"));
        }
    }
    RepoName::new(&rule.namespace_name, &rule.repo_name)
        .map_err(|error| invalid("RepoName", error))?;
    let provider = Provider::parse(&rule.source_provider).ok_or_else(|| {
        let reason = format!("`{}` is none of {}", rule.source_provider, Provider::names());
        invalid("SourceProvider", reason)
    })?;
    complete_source(config, provider, &mut rule)?;
    TagPattern::new(&rule.tag_regexp).map_err(|reason| invalid("TagRegexp", reason))?;
    let most = config.limits.tag_count;
    if !(1..=most).contains(&rule.tag_count) {
        let reason =
            format!("{} is not within 1 to {most} (subscription.max_tag_count)", rule.tag_count);
        return Err(invalid("TagCount", reason));
    }
    if rule.platforms.is_empty() || rule.platforms.len() > MAX_PLATFORMS {
        let reason = format!("1 to {MAX_PLATFORMS} platforms must be given; `*/*` means all");
        return Err(invalid("Platform", reason));
    }
    for text in &rule.platforms {
        text.parse::<Platform>().map_err(|error| invalid("Platform", error))?;
    }
    Ok(rule)
}

fn complete_source(
    config: &SubscriptionConfig,
    provider: Provider,
    rule: &mut SubscriptionRule,
) -> Result<(), SubscriptionError> {
    if rule.source_namespace_name.is_empty() {
        match provider.default_namespace() {
            Some(default) => default.clone_into(&mut rule.source_namespace_name),
            None if provider.needs_namespace() => {
                let reason = format!("{} sources need it", provider.name());
                return Err(invalid("SourceNamespaceName", reason));
            }
            None => {}
        }
    }
    let source = source_repository(rule);
    // Other registries also have repositories without a namespace.
    if format!("x/{source}").parse::<RepoName>().is_err() {
        return Err(invalid("SourceRepoName", format!("`{source}` is not a repository name")));
    }
    let given = (!rule.source_domain.is_empty()).then(|| domain_of(&rule.source_domain));
    let given = given.transpose().map_err(|error| invalid("SourceDomain", error))?;
    let shown =
        |endpoint: &str| domain_of(endpoint).map_err(|error| invalid("SourceDomain", error));
    rule.source_domain = match (provider, given) {
        (Provider::Custom, Some(domain)) => domain,
        (Provider::Custom, None) => {
            return Err(invalid("SourceDomain", "CUSTOM sources need it, as in `host[:port]`"));
        }
        (named, given) => {
            let own = shown(&named.contacted(config, ""))?;
            if given.is_some_and(|given| given != own) {
                let reason = format!("{} is reached at {own}; CUSTOM takes others", named.name());
                return Err(invalid("SourceDomain", reason));
            }
            own
        }
    };
    Ok(())
}

fn invalid(parameter: &'static str, reason: impl std::fmt::Display) -> SubscriptionError {
    SubscriptionError::invalid(parameter, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact_subscription_rule::IndexMode;
    use crate::error::SubscriptionErrorKind;

    fn rule() -> SubscriptionRule {
        SubscriptionRule {
            rule_id: "crasr-1".to_owned(),
            instance_id: "cri-1".to_owned(),
            namespace_name: "team".to_owned(),
            repo_name: "nginx".to_owned(),
            source_provider: "DOCKER_HUB".to_owned(),
            source_domain: String::new(),
            source_namespace_name: String::new(),
            source_repo_name: "nginx".to_owned(),
            platforms: vec!["linux/amd64".to_owned()],
            tag_regexp: ".*".to_owned(),
            tag_count: 10,
            override_tags: true,
            accelerate: false,
            index_mode: IndexMode::Keep,
            referrers: true,
            created_at: 0,
            modified_at: 0,
        }
    }

    #[test]
    fn fills_what_the_provider_knows() {
        let config = SubscriptionConfig::default();
        let hub = complete(&config, rule()).expect("hub");
        assert_eq!(hub.source_namespace_name, "library");
        assert_eq!(hub.source_domain, "registry-1.docker.io");
        let mut custom = rule();
        custom.source_provider = "CUSTOM".to_owned();
        custom.source_domain = "https://registry.example.com:5000".to_owned();
        let custom = complete(&config, custom).expect("custom");
        assert_eq!(custom.source_domain, "registry.example.com:5000");
        assert_eq!(custom.source_namespace_name, "");
        assert_eq!(complete(&config, custom.clone()).expect("again"), custom);
    }

    #[test]
    fn errors_name_the_field() {
        type Change = fn(&mut SubscriptionRule);
        let cases: [(&str, Change); 12] = [
            ("NamespaceName", |rule| rule.namespace_name.clear()),
            ("RepoName", |rule| "Bad Name".clone_into(&mut rule.repo_name)),
            ("SourceProvider", |rule| "ECR".clone_into(&mut rule.source_provider)),
            ("SourceRepoName", |rule| "../x".clone_into(&mut rule.source_repo_name)),
            ("SourceRepoName", |rule| rule.source_repo_name.clear()),
            ("SourceNamespaceName", |rule| "QUAY".clone_into(&mut rule.source_provider)),
            ("SourceDomain", |rule| "CUSTOM".clone_into(&mut rule.source_provider)),
            ("SourceDomain", |rule| "evil.example".clone_into(&mut rule.source_domain)),
            ("TagRegexp", |rule| "(".clone_into(&mut rule.tag_regexp)),
            ("TagCount", |rule| rule.tag_count = 0),
            ("TagCount", |rule| rule.tag_count = 101),
            ("Platform", |rule| rule.platforms = vec!["linux".to_owned()]),
        ];
        for (field, change) in cases {
            let mut bad = rule();
            change(&mut bad);
            let error = complete(&SubscriptionConfig::default(), bad).expect_err(field);
            assert_eq!(error.kind(), SubscriptionErrorKind::InvalidParameter(field), "{error}");
            assert!(error.to_string().starts_with(field), "{error}");
        }
        let mut none = rule();
        none.platforms.clear();
        assert!(complete(&SubscriptionConfig::default(), none).is_err());
    }
}
