//! A client of the control plane, signed with RPC signature version 1.

use crate::registry::http_client;
use crate::server::Credentials;
use anyhow::Context;
use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Calls operations of one server with one key pair.
#[derive(Debug, Clone)]
pub struct Api {
    endpoint: String,
    access_key_id: String,
    access_key_secret: String,
    http: reqwest::blocking::Client,
}

/// What the server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON document.
    pub body: Value,
}

impl Api {
    /// A client of `endpoint` (`http://host:port`), which trusts the certificate authority in a PEM
    /// file when one is given.
    ///
    /// # Panics
    /// When no HTTP client can be made.
    #[must_use]
    pub fn new(endpoint: &str, credentials: &Credentials, authority: Option<&Path>) -> Api {
        let http = http_client(authority);
        Api {
            endpoint: endpoint.to_owned(),
            access_key_id: credentials.access_key_id.clone(),
            access_key_secret: credentials.access_key_secret.clone(),
            http,
        }
    }

    /// Calls `action` and returns whatever the server answers.
    ///
    /// # Errors
    /// When no answer arrives, or one that is not JSON.
    pub fn try_call(&self, action: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let method = if action.starts_with("Get") || action.starts_with("List") {
            reqwest::Method::GET
        } else {
            reqwest::Method::POST
        };
        let query = self.signed_query(method.as_str(), action, parameters);
        let url = format!("{}/?{query}", self.endpoint);
        let answer = self.http.request(method, url).send()?;
        let status = answer.status().as_u16();
        let text = answer.text()?;
        let body = serde_json::from_str(&text).with_context(|| text)?;
        Ok(Answer { status, body })
    }

    /// Calls `action`, which has to succeed, and returns its document.
    ///
    /// # Panics
    /// When the answer is not 200 with `IsSuccess`.
    #[must_use]
    pub fn call(&self, action: &str, parameters: &[(&str, &str)]) -> Value {
        let answer = self
            .try_call(action, parameters)
            .unwrap_or_else(|error| panic!("{action} {parameters:?}: {error}"));
        assert!(
            answer.status == 200 && answer.body["IsSuccess"] == true,
            "{action} {parameters:?} answered {} {}",
            answer.status,
            answer.body
        );
        answer.body
    }

    /// The address of a `GET` of `action`, signed now: whoever knows it can send it.
    #[must_use]
    pub fn signed_url(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        format!("{}/?{}", self.endpoint, self.signed_query("GET", action, parameters))
    }

    fn signed_query(&self, method: &str, action: &str, parameters: &[(&str, &str)]) -> String {
        let timestamp = httpdate(std::time::SystemTime::now());
        let nonce = uuid::Uuid::new_v4().to_string();
        let mut all: BTreeMap<String, String> = [
            ("Action", action),
            ("Version", "2018-12-01"),
            ("Format", "JSON"),
            ("AccessKeyId", &self.access_key_id),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("SignatureNonce", &nonce),
            ("Timestamp", &timestamp),
        ]
        .iter()
        .chain(parameters)
        .map(|(name, value)| (percent_encode(name), percent_encode(value)))
        .collect();
        let join = |all: &BTreeMap<String, String>| {
            all.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
        };
        let to_sign = format!("{method}&%2F&{}", percent_encode(&join(&all)));
        let key = format!("{}&", self.access_key_secret);
        let mut mac = Hmac::<sha1::Sha1>::new_from_slice(key.as_bytes())
            .expect("HMAC takes a key of any length");
        mac.update(to_sign.as_bytes());
        let signature =
            base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
        all.insert("Signature".to_owned(), percent_encode(&signature));
        join(&all)
    }
}

/// RFC 3986: everything but letters, digits, `-`, `.`, `_` and `~`.
pub(crate) fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// `YYYY-MM-DDThh:mm:ssZ` of a moment after 1970 (civil date from days, proleptic Gregorian).
pub(crate) fn httpdate(moment: std::time::SystemTime) -> String {
    let seconds = moment.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from 0000-03-01, so that leap days come last in their year.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest % 3_600 / 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn moments_are_written_as_the_api_wants_them() {
        let text = |seconds| super::httpdate(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(text(1_798_761_599), "2026-12-31T23:59:59Z");
    }
}
