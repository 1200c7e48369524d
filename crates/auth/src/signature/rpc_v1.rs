//! The RPC signature with HMAC-SHA1, of older SDKs, Terraform and the CLI.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_types::Secret;

use super::{Claimed, Scheme, SignedRequest, hmac_sha1, parse_timestamp};
use crate::encoding::{merge, strict_encode_into};
use crate::error::AuthError;

/// Reads a request with a `Signature` parameter. Every parameter of query and form is signed; a
/// body that is not a form is not, so its content must not be trusted.
///
/// # Errors
/// `Missing…` for an absent common parameter, `InvalidSignatureMethod`, `InvalidSignatureVersion`,
/// `InvalidTimeStamp.Format`.
pub fn parse(request: &SignedRequest<'_>) -> Result<Claimed, AuthError> {
    let parameters = merge(request.query, request.form);
    let parameter = |name: &'static str| {
        parameters
            .get(name)
            .filter(|value| !value.is_empty())
            .cloned()
            .ok_or(AuthError::Missing(name))
    };
    let access_key_id = parameter("AccessKeyId")?;
    if parameter("SignatureMethod")? != "HMAC-SHA1" {
        return Err(AuthError::SignatureMethod);
    }
    if parameter("SignatureVersion")? != "1.0" {
        return Err(AuthError::SignatureVersion);
    }
    if parameters.get("SignatureType").is_some_and(|kind| !kind.is_empty()) {
        return Err(AuthError::SignatureMethod);
    }
    let timestamp = parse_timestamp(&parameter("Timestamp")?).ok_or(AuthError::TimestampFormat)?;
    Ok(Claimed {
        scheme: Scheme::RpcV1,
        access_key_id,
        security_token: parameter("SecurityToken").ok(),
        nonce: parameter("SignatureNonce")?,
        timestamp,
        signature: parameter("Signature")?,
        strings_to_sign: vec![string_to_sign(request.method, request.path, &parameters)],
        shown: parameters
            .keys()
            .any(|name| is_secret(name))
            .then(|| string_to_sign(request.method, request.path, &without_secrets(&parameters))),
        body_matches: true,
    })
}

/// `METHOD&path&parameters`, the last two encoded.
pub fn string_to_sign(method: &str, path: &str, parameters: &BTreeMap<String, String>) -> String {
    let mut canonical = String::new();
    for (name, value) in parameters.iter().filter(|(name, _)| *name != "Signature") {
        if !canonical.is_empty() {
            canonical.push('&');
        }
        strict_encode_into(name, &mut canonical);
        canonical.push('=');
        strict_encode_into(value, &mut canonical);
    }
    let mut text = format!("{method}&");
    strict_encode_into(path, &mut text);
    text.push('&');
    strict_encode_into(&canonical, &mut text);
    text
}

/// `base64(hmac_sha1(secret + "&", string to sign))`.
pub fn signature(string_to_sign: &str, secret: &Secret) -> String {
    let key = format!("{}&", secret.expose());
    STANDARD.encode(hmac_sha1(key.as_bytes(), string_to_sign.as_bytes()))
}

/// Error messages repeat the string to sign; passwords and tokens in it are struck out.
fn without_secrets(parameters: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    parameters
        .iter()
        .map(|(name, value)| {
            let value = if is_secret(name) { "***".to_owned() } else { value.clone() };
            (name.clone(), value)
        })
        .collect()
}

/// Whether the value of a parameter of this name is no one's to see.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "securitytoken", "credential"].iter().any(|word| name.contains(word))
}
