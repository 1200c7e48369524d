//! Request signatures: which scheme a request uses, and whether its signature holds.
//!
//! [`parse`] reads the scheme and everything it demands; [`Claimed::check`] recomputes the
//! signature with the secret of the key. The two are apart so that the key can be looked up between
//! them. Freshness of the date is part of [`Claimed`]; nonces are not looked at here.

pub mod acs3;
pub mod rpc_v1;
mod timestamp;

use std::borrow::Cow;

use berth_types::{Millis, Secret};
use hmac::digest::Output;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

use crate::error::AuthError;

pub use timestamp::{format_timestamp, parse_timestamp};

/// How far the date of a request may be from the server's clock, either way.
pub const MAX_SKEW: Millis = 15 * 60_000;

/// A request as it came over the wire. Query and form are decoded pairs in their order; the body is
/// the decoded (not chunked) body.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a [(String, String)],
    /// The pairs of an `application/x-www-form-urlencoded` body, else empty.
    pub form: &'a [(String, String)],
    /// Names in lower case, values as raw bytes (a Host may be `http://host:port`).
    pub headers: &'a [(String, Vec<u8>)],
    pub body: &'a [u8],
}

impl SignedRequest<'_> {
    /// The first value of a header, trimmed.
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        let value = self.headers.iter().find(|(header, _)| header == name)?;
        Some(String::from_utf8_lossy(value.1.trim_ascii()))
    }
}

/// How a request says who it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `Authorization: ACS3-…`: action and version are the signed headers.
    Acs3,
    /// A `Signature` parameter: action and version are parameters.
    RpcV1,
    /// `Authorization: acs …`, of the older ROA services; not accepted.
    Roa,
    /// A bearer token; not accepted.
    Bearer,
    Anonymous,
}

impl Scheme {
    pub fn of(request: &SignedRequest<'_>) -> Self {
        if let Some(authorization) = request.header("authorization") {
            if authorization.starts_with("ACS3-") {
                return Self::Acs3;
            }
            if authorization.starts_with("acs ") {
                return Self::Roa;
            }
        }
        let parameter = |name: &str| {
            request
                .form
                .iter()
                .chain(request.query)
                .any(|(parameter, value)| parameter == name && !value.is_empty())
        };
        if request.header("x-acs-bearer-token").is_some() || parameter("BearerToken") {
            return Self::Bearer;
        }
        if parameter("Signature") { Self::RpcV1 } else { Self::Anonymous }
    }
}

/// What a request claims, before its signature was checked.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub scheme: Scheme,
    pub access_key_id: String,
    /// `None` when absent or empty.
    pub security_token: Option<String>,
    pub nonce: String,
    pub timestamp: Millis,
    signature: String,
    /// The accepted strings to sign, the usual one first.
    strings_to_sign: Vec<String>,
    /// What an error shows instead of the usual string, when secrets had to be left out of it.
    shown: Option<String>,
    /// Whether the body has the hash that the request says.
    body_matches: bool,
}

/// Reads the signature of a request.
///
/// # Errors
/// What is missing or malformed; an unsigned request is [`AuthError::Missing`] `AccessKeyId`.
pub fn parse(request: &SignedRequest<'_>) -> Result<Claimed, AuthError> {
    match Scheme::of(request) {
        Scheme::Acs3 => acs3::parse(request),
        Scheme::RpcV1 => rpc_v1::parse(request),
        Scheme::Roa => Err(AuthError::Incomplete(
            "Sign with ACS3-HMAC-SHA256 or, as RPC, with HMAC-SHA1.".to_owned(),
        )),
        Scheme::Bearer => {
            Err(AuthError::Incomplete("Bearer tokens are not accepted here.".to_owned()))
        }
        Scheme::Anonymous => Err(AuthError::Missing("AccessKeyId")),
    }
}

impl Claimed {
    /// Whether the date is within fifteen minutes of `now`.
    ///
    /// # Errors
    /// [`AuthError::TimestampExpired`], for dates of the past and of the future alike.
    pub fn check_freshness(&self, now: Millis) -> Result<(), AuthError> {
        if now.abs_diff(self.timestamp) > MAX_SKEW.unsigned_abs() {
            return Err(AuthError::TimestampExpired);
        }
        Ok(())
    }

    /// Recomputes the signature under the secret and compares in constant time.
    ///
    /// # Errors
    /// [`AuthError::Mismatch`] with the string that the server signed.
    pub fn check(&self, secret: &Secret) -> Result<(), AuthError> {
        let sign = |string: &String| match self.scheme {
            Scheme::RpcV1 => rpc_v1::signature(string, secret),
            _ => acs3::signature(string, secret),
        };
        let claimed = Secret::new(self.signature.as_str());
        let matches =
            self.strings_to_sign.iter().any(|string| Secret::new(sign(string)) == claimed);
        if matches && self.body_matches {
            return Ok(());
        }
        let shown = self.shown.as_ref().or(self.strings_to_sign.first());
        Err(AuthError::Mismatch { string_to_sign: shown.cloned().unwrap_or_default() })
    }
}

pub(crate) fn hmac_sha256(key: &[u8], text: &[u8]) -> [u8; 32] {
    mac::<Hmac<Sha256>>(key, text).into()
}

fn hmac_sha1(key: &[u8], text: &[u8]) -> [u8; 20] {
    mac::<Hmac<Sha1>>(key, text).into()
}

fn mac<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Output<M> {
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else {
        unreachable!("HMAC takes keys of any length")
    };
    mac.update(text);
    mac.finalize().into_bytes()
}
