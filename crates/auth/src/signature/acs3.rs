//! ACS3-HMAC-SHA256, the header-style signature of current SDKs.
//!
//! The canonical request is made from decoded parameters, strictly encoded anew, and from the very
//! list of headers that the request says it signed: clients differ in both.

use berth_types::{Millis, Secret};
use sha2::{Digest as _, Sha256};

use super::{Claimed, Scheme, SignedRequest, format_timestamp, hmac_sha256, parse_timestamp};
use crate::encoding::{is_unreserved, strict_encode_into};
use crate::error::AuthError;

const ALGORITHM: &str = "ACS3-HMAC-SHA256";
const REQUIRED: [&str; 6] = [
    "host",
    "x-acs-action",
    "x-acs-content-sha256",
    "x-acs-date",
    "x-acs-signature-nonce",
    "x-acs-version",
];

/// Reads an `Authorization: ACS3-…` request.
///
/// # Errors
/// `IncompleteSignature` when the header is malformed or leaves required headers unsigned,
/// `InvalidSignatureMethod` for another algorithm, `Missing…` and `InvalidTimeStamp.Format`.
pub fn parse(request: &SignedRequest<'_>) -> Result<Claimed, AuthError> {
    let authorization = request.header("authorization").unwrap_or_default();
    let credentials = Credentials::parse(&authorization)?;
    for name in REQUIRED {
        if request.header(name).is_none_or(|value| value.is_empty()) {
            return Err(AuthError::Incomplete(format!("The header {name} is missing.")));
        }
    }
    let security_token = request.header("x-acs-security-token").filter(|token| !token.is_empty());
    let signed = |name: &str| credentials.signed.iter().any(|signed| signed == name);
    let token_header = security_token.as_ref().map(|_| "x-acs-security-token");
    if let Some(name) = REQUIRED.into_iter().chain(token_header).find(|name| !signed(name)) {
        return Err(AuthError::Incomplete(format!("The header {name} is not signed.")));
    }
    let date = request.header("x-acs-date").unwrap_or_default();
    let timestamp = parse_timestamp(&date).ok_or(AuthError::TimestampFormat)?;
    let body_hash = hex::encode(Sha256::digest(request.body));
    let said = request.header("x-acs-content-sha256").unwrap_or_default();
    let mut strings_to_sign = vec![credentials.string_to_sign(request, &body_hash, true)];
    let plain_names = request.query.iter().all(|(name, _)| name.bytes().all(is_unreserved));
    if !plain_names {
        // Several SDKs do not encode the names of parameters.
        strings_to_sign.push(credentials.string_to_sign(request, &body_hash, false));
    }
    Ok(Claimed {
        scheme: Scheme::Acs3,
        access_key_id: credentials.access_key_id.clone(),
        security_token: security_token.map(std::borrow::Cow::into_owned),
        nonce: request.header("x-acs-signature-nonce").unwrap_or_default().into_owned(),
        timestamp,
        signature: credentials.signature,
        shown: None,
        strings_to_sign,
        body_matches: said.eq_ignore_ascii_case(&body_hash),
    })
}

/// `hex(hmac_sha256(secret, string to sign))`; unlike V1 the secret has no `&`.
pub fn signature(string_to_sign: &str, secret: &Secret) -> String {
    hex::encode(hmac_sha256(secret.expose().as_bytes(), string_to_sign.as_bytes()))
}

struct Credentials {
    access_key_id: String,
    /// The list as written; it is part of the canonical request.
    signed_text: String,
    /// The names in lower case.
    signed: Vec<String>,
    signature: String,
}

impl Credentials {
    fn parse(authorization: &str) -> Result<Self, AuthError> {
        let (algorithm, rest) = authorization
            .split_once(' ')
            .ok_or_else(|| AuthError::Incomplete("The header Authorization is cut.".to_owned()))?;
        if algorithm != ALGORITHM {
            return Err(AuthError::SignatureMethod);
        }
        let part = |wanted: &str| {
            rest.split(',')
                .filter_map(|part| part.trim().split_once('='))
                .find(|(name, value)| *name == wanted && !value.is_empty())
                .map(|(_, value)| value.to_owned())
                .ok_or_else(|| {
                    AuthError::Incomplete(format!("The header Authorization has no {wanted}."))
                })
        };
        let signed_text = part("SignedHeaders")?;
        Ok(Self {
            access_key_id: part("Credential")?,
            signed: signed_text.split(';').map(str::to_ascii_lowercase).collect(),
            signed_text,
            signature: part("Signature")?.to_ascii_lowercase(),
        })
    }

    fn string_to_sign(
        &self,
        request: &SignedRequest<'_>,
        body_hash: &str,
        encode_names: bool,
    ) -> String {
        let mut canonical = Vec::with_capacity(1024);
        let query = canonical_query(request.query, encode_names);
        for line in [request.method, request.path, &query] {
            canonical.extend_from_slice(line.as_bytes());
            canonical.push(b'\n');
        }
        for name in &self.signed {
            let mut values: Vec<&[u8]> = request
                .headers
                .iter()
                .filter(|(header, _)| header == name)
                .map(|(_, value)| value.trim_ascii())
                .collect();
            values.sort_unstable();
            canonical.extend_from_slice(name.as_bytes());
            canonical.push(b':');
            canonical.extend_from_slice(&values.join(&b','));
            canonical.push(b'\n');
        }
        canonical.push(b'\n');
        canonical.extend_from_slice(self.signed_text.as_bytes());
        canonical.push(b'\n');
        canonical.extend_from_slice(body_hash.as_bytes());
        format!("{ALGORITHM}\n{}", hex::encode(Sha256::digest(&canonical)))
    }
}

fn canonical_query(query: &[(String, String)], encode_names: bool) -> String {
    let mut pairs: Vec<&(String, String)> = query.iter().collect();
    pairs.sort_unstable();
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        if encode_names {
            strict_encode_into(name, &mut text);
        } else {
            text.push_str(name);
        }
        text.push('=');
        strict_encode_into(value, &mut text);
    }
    text
}

/// A request to be signed by a client.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    pub method: &'a str,
    /// As it will stand in the Host header.
    pub host: &'a str,
    pub action: &'a str,
    pub version: &'a str,
    /// Decoded pairs.
    pub query: &'a [(String, String)],
    pub body: &'a [u8],
    /// Must be set when there is a body.
    pub content_type: Option<&'a str>,
    pub nonce: &'a str,
    pub now: Millis,
}

/// The headers that sign a request to `/`, Host and Content-Type included.
pub fn sign(
    outgoing: &Outgoing<'_>,
    access_key_id: &str,
    secret: &Secret,
) -> Vec<(&'static str, String)> {
    let body_hash = hex::encode(Sha256::digest(outgoing.body));
    let mut headers = Vec::with_capacity(8);
    if let Some(content_type) = outgoing.content_type {
        headers.push(("content-type", content_type.to_owned()));
    }
    headers.extend([
        ("host", outgoing.host.to_owned()),
        ("x-acs-action", outgoing.action.to_owned()),
        ("x-acs-content-sha256", body_hash.clone()),
        ("x-acs-date", format_timestamp(outgoing.now)),
        ("x-acs-signature-nonce", outgoing.nonce.to_owned()),
        ("x-acs-version", outgoing.version.to_owned()),
    ]);
    let signed: Vec<String> = headers.iter().map(|(name, _)| (*name).to_owned()).collect();
    let raw: Vec<(String, Vec<u8>)> = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes()))
        .collect();
    let request = SignedRequest {
        method: outgoing.method,
        path: "/",
        query: outgoing.query,
        form: &[],
        headers: &raw,
        body: outgoing.body,
    };
    let credentials = Credentials {
        access_key_id: access_key_id.to_owned(),
        signed_text: signed.join(";"),
        signed,
        signature: String::new(),
    };
    let string_to_sign = credentials.string_to_sign(&request, &body_hash, true);
    let signature = signature(&string_to_sign, secret);
    let signed = credentials.signed_text;
    let authorization = format!(
        "{ALGORITHM} Credential={access_key_id},SignedHeaders={signed},Signature={signature}"
    );
    headers.push(("authorization", authorization));
    headers
}
