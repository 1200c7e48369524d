//! HTTP on both sides of dispatch: what a request says, and how an answer is written.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use berth_auth::encoding::{merge, parse_form};
use berth_auth::signature::{Scheme, SignedRequest};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};

use crate::codes;
use crate::error::ApiError;
use crate::parameters::Parameters;

/// A request with its body read.
#[derive(Debug)]
pub(crate) struct Incoming {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    form: Vec<(String, String)>,
    headers: Vec<(String, Vec<u8>)>,
    body: Bytes,
    is_json: bool,
}

impl Incoming {
    /// Reads the body, chunked or not.
    ///
    /// # Errors
    /// `RequestTooLarge` above the limit, `ContentLengthDoesNotMatch` when the body breaks off.
    pub(crate) async fn read(request: Request, max_body_bytes: usize) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, max_body_bytes).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                let message = format!("The body is larger than {max_body_bytes} bytes.");
                ApiError::new(codes::BODY_TOO_LARGE, message)
            } else {
                ApiError::plain(codes::CONTENT_LENGTH)
            }
        })?;
        let body = body.to_bytes();
        let content_type = media_type(&parts.headers);
        let is_form = content_type == "application/x-www-form-urlencoded";
        let mut headers: Vec<(String, Vec<u8>)> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect();
        if !parts.headers.contains_key(HOST)
            && let Some(authority) = parts.uri.authority()
        {
            headers.push(("host".to_owned(), authority.as_str().as_bytes().to_vec()));
        }
        Ok(Self {
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            query: parse_form(parts.uri.query().unwrap_or_default().as_bytes()),
            form: if is_form { parse_form(&body) } else { Vec::new() },
            headers,
            is_json: content_type == "application/json",
            body,
        })
    }

    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    pub(crate) fn signed(&self) -> SignedRequest<'_> {
        SignedRequest {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            form: &self.form,
            headers: &self.headers,
            body: &self.body,
        }
    }

    /// Query and form merged.
    pub(crate) fn parameters(&self) -> Parameters {
        Parameters::new(merge(&self.query, &self.form))
    }

    /// The members of a JSON body; none under a signature that does not cover it.
    ///
    /// # Errors
    /// `InvalidParameter.Format` when a body that says it is JSON is not an object.
    pub(crate) fn json(&self, scheme: Scheme) -> Result<Map<String, Value>, ApiError> {
        if !self.is_json || self.body.is_empty() || scheme != Scheme::Acs3 {
            return Ok(Map::new());
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            let message = format!("The body is not a JSON object: {error}.");
            ApiError::new(codes::BODY_FORMAT, message)
        })
    }

    /// Version and action. Under ACS3 they are the signed headers, otherwise parameters, since
    /// the headers of RPC requests are not signed.
    pub(crate) fn operation(&self, scheme: Scheme) -> (Option<String>, Option<String>) {
        let signed = self.signed();
        let parameters = self.parameters();
        let header =
            |name: &str| signed.header(name).filter(|value| !value.is_empty()).map(Cow::into_owned);
        let parameter = |name: &str| parameters.filled(name).map(str::to_owned);
        match scheme {
            Scheme::Acs3 => (header("x-acs-version"), header("x-acs-action")),
            Scheme::RpcV1 => (parameter("Version"), parameter("Action")),
            _ => (
                header("x-acs-version").or_else(|| parameter("Version")),
                header("x-acs-action").or_else(|| parameter("Action")),
            ),
        }
    }
}

/// The Host as the caller wrote it, without a scheme that some clients put before it.
pub(crate) fn host_of(request: &Request) -> String {
    let header = request.headers().get(HOST).map(HeaderValue::as_bytes);
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let host = String::from_utf8_lossy(header.or(authority).unwrap_or(b"berth")).into_owned();
    let bare = host.split_once("://").map(|(_, bare)| bare.to_owned());
    bare.unwrap_or(host)
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default();
    media_type.trim().to_ascii_lowercase()
}

/// In how many seconds to ask again a server that cannot answer now.
const TRY_AGAIN_AFTER: u64 = 5;

/// An answer before it is written.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) request_id: String,
    pub(crate) body: Value,
    /// In how many seconds the caller may ask again, when it was refused for now.
    retry: Option<u64>,
}

impl Answer {
    pub(crate) fn success(request_id: String, body: Value) -> Self {
        Self { status: 200, request_id, body, retry: None }
    }

    pub(crate) fn error(error: &ApiError, request_id: &str, host: &str) -> Self {
        Self {
            status: error.status(),
            request_id: request_id.to_owned(),
            body: error.body(request_id, host),
            retry: match error {
                ApiError::Throttled(throttled) => Some(throttled.seconds()),
                error if matches!(error.status(), 503 | 507) => Some(TRY_AGAIN_AFTER),
                _ => None,
            },
        }
    }
}

/// Writes the answer: always JSON, never empty.
pub(crate) fn render(answer: &Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body.to_string()));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=utf-8"));
    if let Ok(request_id) = HeaderValue::from_str(&answer.request_id) {
        headers.insert("x-acs-request-id", request_id);
    }
    if let Some(seconds) = answer.retry {
        // In milliseconds; clients of Alibaba Cloud know throttling by this header.
        headers.insert("x-acs-retry-after", HeaderValue::from(seconds.saturating_mul(1000)));
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
