//! Which token server a registry may name.
//!
//! An upstream, or somebody between, can name any `realm` and would be sent the stored password
//! (CVE-2026-33540). A realm is therefore taken only on the upstream's own host, in its
//! registrable domain, or where the provider or the operator says so.

use url::{Host, Url};

use super::{ClientConfig, ClientError};

/// Registries whose token server has another registrable domain.
const KNOWN: &[(&str, &str)] = &[
    ("registry-1.docker.io", "auth.docker.io"),
    ("lscr.io", "ghcr.io"),
    ("docker.elastic.co", "docker-auth.elastic.co"),
];

/// Checks the realm that `base` named.
///
/// # Errors
/// [`ClientError::Realm`] with the reason.
pub(crate) fn check(realm: &str, base: &Url, config: &ClientConfig) -> Result<Url, ClientError> {
    let refuse = |reason| ClientError::Realm {
        host: base.host_str().unwrap_or_default().to_owned(),
        realm: realm.chars().filter(|one| !one.is_control()).take(200).collect(),
        reason,
    };
    let mut url = Url::parse(realm).map_err(|_| refuse("it is not a URL"))?;
    url.set_fragment(None);
    match url.scheme() {
        "https" => {}
        "http" if config.plain_http => {}
        _ => return Err(refuse("it is not an https:// address")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it carries credentials"));
    }
    if bound(&url, base, config) {
        Ok(url)
    } else {
        Err(refuse("it is neither on the registry's host nor in its domain"))
    }
}

fn bound(realm: &Url, base: &Url, config: &ClientConfig) -> bool {
    if realm.host() == base.host() {
        return true;
    }
    let (Some(Host::Domain(realm)), Some(Host::Domain(base))) = (realm.host(), base.host()) else {
        return false;
    };
    let listed = config.realms.iter().any(|host| host.eq_ignore_ascii_case(realm));
    let known = KNOWN.iter().any(|(registry, server)| (*registry, *server) == (base, realm));
    let domain = |host| psl::domain_str(host);
    listed || known || domain(realm).is_some_and(|one| Some(one) == domain(base))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_from(upstream: &str, realm: &str) -> bool {
        let mut config = ClientConfig::for_endpoint(upstream).expect(upstream);
        config.realms = vec!["login.partner.example".to_owned()];
        check(realm, &config.base().expect("base"), &config).is_ok()
    }

    #[test]
    fn realms() {
        for (upstream, realm, taken) in [
            ("docker.io", "https://auth.docker.io/token", true),
            ("docker.io", "http://auth.docker.io/token", false),
            ("quay.io", "https://quay.io/v2/auth", true),
            ("registry.gitlab.com", "https://gitlab.com/jwt/auth", true),
            ("registry.example.com", "https://auth.example.com/token", true),
            ("registry.example.com", "https://example.com.evil.net/token", false),
            ("registry.example.com", "https://evil.net/token", false),
            ("registry.example.com", "https://u:p@registry.example.com/", false),
            ("registry.example.com", "https://login.partner.example/t", true),
            // Public suffixes are not one owner's domain.
            ("a.co.uk", "https://b.co.uk/token", false),
            ("a.github.io", "https://b.github.io/token", false),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", true),
            ("http://127.0.0.1:5000", "http://127.0.0.2:5000/token", false),
            ("http://127.0.0.1:5000", "http://169.254.169.254/latest", false),
            ("127.0.0.1:5000", "http://127.0.0.1:5000/token", false),
            ("quay.io", "file:///etc/passwd", false),
            ("quay.io", "/token", false),
        ] {
            assert_eq!(check_from(upstream, realm), taken, "{upstream} names {realm}");
        }
    }
}
