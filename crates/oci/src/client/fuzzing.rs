//! A door for the fuzz targets (`fuzz/`): the headers of an upstream, read as an exchange reads them.

use http::header::{DATE, LINK, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::challenge::challenges;
use super::{ClientConfig, link, rate, realm};

/// Fields by which registries say how many requests are left.
const LIMITS: [&str; 2] = ["ratelimit", "ratelimit-remaining"];

/// Reads the bytes as the value of every header that is taken apart.
pub fn headers(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(WWW_AUTHENTICATE, value.clone());
    headers.insert(LINK, value.clone());
    if let Ok(Some(page)) = link::next(&headers) {
        assert!(!page.is_empty(), "a page has an address");
    }
    for names in [&[RETRY_AFTER, DATE][..], &LIMITS.map(HeaderName::from_static)[..]] {
        let limits: HeaderMap = names.iter().map(|name| (name.clone(), value.clone())).collect();
        let _ = rate::pause(&limits, 1_700_000_000_000);
    }
    let config = ClientConfig::new("registry.example");
    let Ok(base) = config.base() else { return };
    for challenge in challenges(&headers) {
        assert!(!challenge.scheme.is_empty(), "a challenge has a scheme");
        if let Some(name) = challenge.parameter("realm")
            && let Ok(realm) = realm::check(name, &base, &config, true)
        {
            assert_eq!(realm.scheme(), "https", "no password in clear text");
        }
    }
}

#[cfg(test)]
#[path = "../../../../fuzz/inputs.rs"]
mod inputs;

/// Inputs of the fuzz target, read once more by every run of the tests.
#[cfg(test)]
#[test]
fn headers_that_once_did_harm_end_well() {
    inputs::each("headers", headers);
}
