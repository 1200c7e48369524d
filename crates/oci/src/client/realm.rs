//! Which token server a registry may name.
//!
//! An upstream, or somebody between, can name any `realm` and would be sent the stored password
//! (CVE-2026-33540). With a password a realm is therefore taken only on the upstream's own host, in
//! its registrable domain, or where the provider or the operator says so. A request without one
//! tells nobody anything: it may go wherever the address rules allow.

use std::net::IpAddr;

use http::uri::Authority;
use url::{Host, Url};

use super::{ClientConfig, ClientError};

/// Registries whose token server has another registrable domain.
const KNOWN: &[(&str, &str)] = &[
    ("registry-1.docker.io", "auth.docker.io"),
    ("lscr.io", "ghcr.io"),
    ("docker.elastic.co", "docker-auth.elastic.co"),
];

/// Checks the realm that `registry` named; `with_password` when it would be sent the upstream's.
///
/// # Errors
/// [`ClientError::Realm`] with the reason.
pub(crate) fn check(
    realm: &str,
    registry: &Url,
    config: &ClientConfig,
    with_password: bool,
) -> Result<Url, ClientError> {
    let refuse = |reason: &str| ClientError::Realm {
        host: registry.host_str().unwrap_or_default().to_owned(),
        realm: realm.chars().filter(|one| !one.is_control()).take(200).collect(),
        reason: reason.to_owned(),
    };
    let mut url = Url::parse(realm).map_err(|_| refuse("it is not a URL"))?;
    url.set_fragment(None);
    match url.scheme() {
        "https" => {}
        "http" if registry.scheme() == "http" => {}
        _ => return Err(refuse("it is not an https:// address")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it carries credentials"));
    }
    if !with_password || bound(&url, registry, config) {
        return Ok(url);
    }
    let key = config.settings.as_deref().map(|settings| {
        let host = super::dialer::host_of(&url);
        format!("; if the password may go there, add `{host}` to {settings}.realms")
    });
    let reason = "the password goes to the registry's own host and domain only";
    Err(refuse(&format!("{reason}{}", key.unwrap_or_default())))
}

fn bound(realm: &Url, registry: &Url, config: &ClientConfig) -> bool {
    if realm.host() == registry.host() || config.realms.iter().any(|entry| names(entry, realm)) {
        return true;
    }
    let (Some(Host::Domain(realm)), Some(Host::Domain(base))) = (realm.host(), registry.host())
    else {
        return false;
    };
    let known = KNOWN.iter().any(|(registry, server)| (*registry, *server) == (base, realm));
    let domain = |host| psl::domain_str(host);
    known || domain(realm).is_some_and(|one| Some(one) == domain(base))
}

/// Whether an entry of `realms` is the host of the URL: a name or an address, with a port when only
/// that one is meant.
fn names(entry: &str, realm: &Url) -> bool {
    let (host, port) = match (entry.parse::<IpAddr>(), entry.parse::<Authority>()) {
        (Ok(IpAddr::V4(address)), _) => (Ok(Host::Ipv4(address)), None),
        (Ok(IpAddr::V6(address)), _) => (Ok(Host::Ipv6(address)), None),
        (_, Ok(authority)) => (Host::parse(authority.host()), authority.port_u16()),
        _ => return false,
    };
    let same_host = host.is_ok_and(|host| realm.host().is_some_and(|one| one.to_owned() == host));
    same_host && (port.is_none() || port == realm.port_or_known_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(upstream: &str, realm: &str, with_password: bool) -> Result<Url, ClientError> {
        let mut config = ClientConfig::for_endpoint(upstream).expect(upstream);
        config.realms = ["login.partner.example", "10.1.2.3", "[fd00::7]:5001", "fd00::8"]
            .map(str::to_owned)
            .to_vec();
        config.settings = Some("upstream.providers.QUAY".to_owned());
        check(realm, &config.base().expect("base"), &config, with_password)
    }

    #[test]
    fn realms_that_get_the_password() {
        for (upstream, realm, expected) in [
            ("docker.io", "https://auth.docker.io/token", true),
            ("docker.io", "http://auth.docker.io/token", false),
            ("quay.io", "https://quay.io/v2/auth", true),
            ("registry.gitlab.com", "https://gitlab.com/jwt/auth", true),
            ("registry.example.com", "https://auth.example.com/token", true),
            ("registry.example.com", "https://example.com.evil.net/token", false),
            ("registry.example.com", "https://evil.net/token", false),
            ("registry.example.com", "https://u:p@registry.example.com/", false),
            ("registry.example.com", "https://login.partner.example/t", true),
            ("registry.example.com", "https://LOGIN.partner.example:444/t", true),
            // Public suffixes are not one owner's domain.
            ("a.co.uk", "https://b.co.uk/token", false),
            ("a.github.io", "https://b.github.io/token", false),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", true),
            ("http://127.0.0.1:5000", "http://127.0.0.2:5000/token", false),
            ("http://127.0.0.1:5000", "http://169.254.169.254/latest", false),
            // Listed addresses, whatever the registry's own host is.
            ("http://127.0.0.1:5000", "http://10.1.2.3/token", true),
            ("10.9.9.9:5000", "https://10.1.2.3:8443/token", true),
            ("quay.io", "https://[fd00::8]/token", true),
            ("quay.io", "https://[fd00:0::7]:5001/token", true),
            ("quay.io", "https://[fd00::7]/token", false),
            ("127.0.0.1:5000", "http://127.0.0.1:5000/token", false),
            ("quay.io", "file:///etc/passwd", false),
            ("quay.io", "/token", false),
        ] {
            assert_eq!(taken(upstream, realm, true).is_ok(), expected, "{upstream} names {realm}");
        }
    }

    #[test]
    fn without_a_password_any_host_may_be_asked() {
        for (upstream, realm, expected) in [
            ("registry.example.com", "https://login.elsewhere.net/token", true),
            ("registry.example.com", "http://login.elsewhere.net/token", false),
            ("registry.example.com", "https://u:p@login.elsewhere.net/token", false),
            ("http://127.0.0.1:5000", "http://127.0.0.2:5000/token", true),
        ] {
            assert_eq!(taken(upstream, realm, false).is_ok(), expected, "{upstream} names {realm}");
        }
    }

    #[test]
    fn the_refusal_names_the_key_to_set() {
        let refused = taken("quay.io", "https://sso.example:8443/token?x=1", true);
        let text = refused.expect_err("elsewhere").to_string();
        assert!(
            text.contains("add `sso.example:8443` to upstream.providers.QUAY.realms"),
            "{text}"
        );
    }
}
