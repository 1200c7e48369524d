//! Errors as the distribution specification writes them:
//! `{"errors":[{"code","message","detail"}]}`, with the right status.

use axum::response::{IntoResponse, Response};
use berth_auth::{LoginError, Throttled};
use berth_types::Digest;
use http::header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::range::received_range;
use crate::route::RouteError;

/// What can be wrong with a request. The words are those of the specification, which allows no
/// others (and `TAG_INVALID`); the status tells apart what has the same word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    BlobTooLarge,
    /// A chunk that does not continue its upload.
    ChunkRange,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    NotFound,
    /// A range without a byte of the blob.
    RangeInvalid,
    SizeInvalid,
    TagInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    MethodNotAllowed,
    TooManyRequests,
    Unavailable,
    /// The server has no space left.
    Full,
    Internal,
}

/// After how many seconds a client may try again when the server cannot do it now.
const TRY_AGAIN_AFTER: &str = "5";

impl Code {
    /// The word in the answer.
    pub fn name(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid | Self::ChunkRange => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid | Self::ManifestTooLarge => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::Internal => "UNKNOWN",
            Self::SizeInvalid | Self::BlobTooLarge | Self::RangeInvalid => "SIZE_INVALID",
            Self::TagInvalid => "TAG_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported | Self::MethodNotAllowed | Self::NotFound => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::Unavailable | Self::Full => "UNAVAILABLE",
        }
    }

    /// The limit that was exceeded, as metrics name it.
    fn limit(self) -> Option<&'static str> {
        match self {
            Self::BlobTooLarge => Some("blob_size"),
            Self::ManifestTooLarge => Some("manifest_size"),
            _ => None,
        }
    }

    /// The status that goes with it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BlobUnknown
            | Self::BlobUploadUnknown
            | Self::ManifestUnknown
            | Self::NameUnknown
            | Self::NotFound => StatusCode::NOT_FOUND,
            Self::BlobUploadInvalid
            | Self::DigestInvalid
            | Self::ManifestBlobUnknown
            | Self::ManifestInvalid
            | Self::NameInvalid
            | Self::SizeInvalid
            | Self::TagInvalid => StatusCode::BAD_REQUEST,
            Self::ManifestTooLarge | Self::BlobTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RangeInvalid | Self::ChunkRange => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Unsupported | Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Full => StatusCode::INSUFFICIENT_STORAGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// An error on its way to the client.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", code.name())]
pub struct OciError {
    code: Code,
    /// Instead of the code's own.
    status: Option<StatusCode>,
    message: String,
    detail: Option<Box<Value>>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl OciError {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, status: None, message: message.into(), detail: None, headers: Vec::new() }
    }

    /// 400 for a text that cannot be stored.
    pub(crate) fn nul(what: &str) -> Self {
        Self::new(Code::Unsupported, format!("{what} holds a NUL character"))
            .with_status(StatusCode::BAD_REQUEST)
    }

    /// A fault of the server: logged here in full, told to the client without its inside.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let inner = error.to_string();
            if !text.contains(&inner) {
                text.push_str(": ");
                text.push_str(&inner);
            }
            source = error.source();
        }
        tracing::error!(error = %text, "request failed");
        Self::new(Code::Internal, "internal error; the server's log has its cause")
    }

    /// The server cannot answer now: 503, with the time after which to try again. The cause is
    /// logged here.
    pub fn unavailable(error: &dyn std::error::Error) -> Self {
        tracing::warn!(%error, "cannot answer a request now");
        let message = "the server cannot do this now; try again later";
        Self::new(Code::Unavailable, message).with_header(RETRY_AFTER, TRY_AGAIN_AFTER)
    }

    /// The server has no space for it: 507, with the time after which to try again. The cause is
    /// logged here.
    pub fn full(error: &dyn std::error::Error) -> Self {
        tracing::warn!(%error, "no space for what a request brings");
        let message = "the server has no space left; what it acknowledged is safe";
        Self::new(Code::Full, message).with_header(RETRY_AFTER, TRY_AGAIN_AFTER)
    }

    /// An error of authentication that is not the caller's doing.
    pub(crate) fn authentication(error: &LoginError) -> Self {
        match error {
            LoginError::Internal(cause) if cause.is_full() => Self::full(error),
            LoginError::Internal(cause) if cause.is_unavailable() => Self::unavailable(error),
            _ => Self::internal(error),
        }
    }

    pub fn code(&self) -> Code {
        self.code
    }

    /// Another status than the code's own.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// Adds a detail for the client to read.
    #[must_use]
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.detail = Some(Box::new(detail));
        self
    }

    /// Adds a header; a value that no header can carry is left out.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// 401 with the challenge that tells where tokens come from.
    pub fn unauthorized(message: impl Into<String>, challenge: &str) -> Self {
        Self::new(Code::Unauthorized, message).with_header(WWW_AUTHENTICATE, challenge)
    }

    /// 416 of a blob read.
    pub fn unsatisfiable(size: u64) -> Self {
        Self::new(Code::RangeInvalid, "the range holds no byte of the blob")
            .with_header(CONTENT_RANGE, &format!("bytes */{size}"))
    }

    /// 416 of an upload chunk that does not start where the upload stands.
    pub fn wrong_offset(received: u64) -> Self {
        Self::new(
            Code::ChunkRange,
            format!("the chunk does not start at byte {received}, where this upload stands"),
        )
        .with_header(RANGE, &received_range(received))
    }

    pub fn blob_unknown(digest: &Digest) -> Self {
        Self::new(Code::BlobUnknown, "blob unknown to this repository")
            .with_detail(json!({ "digest": digest }))
    }
}

impl OciError {
    /// 429 in place of the answer to one more wrong password.
    pub(crate) fn guessing(throttled: Throttled) -> Self {
        let message = "too many wrong passwords from this address; log in again later";
        Self::new(Code::TooManyRequests, message)
            .with_header(RETRY_AFTER, &throttled.seconds().to_string())
    }
}

impl From<Throttled> for OciError {
    fn from(throttled: Throttled) -> Self {
        Self::new(Code::TooManyRequests, "too many requests with this access key; ask again later")
            .with_header(RETRY_AFTER, &throttled.seconds().to_string())
    }
}

impl From<RouteError> for OciError {
    fn from(error: RouteError) -> Self {
        let message = error.to_string();
        match error {
            RouteError::NotFound => Self::new(Code::NotFound, message),
            RouteError::Method { allow } => {
                Self::new(Code::MethodNotAllowed, message).with_header(ALLOW, allow)
            }
            RouteError::Name(_) => Self::new(Code::NameInvalid, message),
            RouteError::Reference(_) => Self::new(Code::TagInvalid, message),
            RouteError::Digest(_) => Self::new(Code::DigestInvalid, message),
        }
    }
}

impl IntoResponse for OciError {
    fn into_response(self) -> Response {
        let mut entry = json!({ "code": self.code.name(), "message": self.message });
        if let Some(detail) = self.detail {
            entry["detail"] = *detail;
        }
        let body = json!({ "errors": [entry] }).to_string();
        let status = self.status.unwrap_or_else(|| self.code.status());
        if let Some(reason) = self.code.limit() {
            metrics::counter!("berth_refused_total", "reason" => reason).increment(1);
        }
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        response
    }
}
