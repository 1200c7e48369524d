//! Why a request is not let in, and how that is said in the protocol of its path.

use axum::response::{IntoResponse as _, Response};
use berth_auth::Throttled;
use berth_registry::{Code, OciError};
use http::header::{CONNECTION, RETRY_AFTER};
use http::{HeaderValue, StatusCode, Version};

use crate::metrics::REFUSED;

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too many requests are being answered.
    Full,
    AddressRate(Throttled),
    HeaderSize,
    UriLength,
}

/// How long a client waits when the server is full; nobody knows.
const FULL_SECONDS: u64 = 2;

/// Counts something that was refused or cut.
pub(crate) fn count(reason: &'static str) {
    metrics::counter!(REFUSED, "reason" => reason).increment(1);
}

impl Refusal {
    fn reason(self) -> &'static str {
        match self {
            Self::Full => "requests",
            Self::AddressRate(_) => "address_rate",
            Self::HeaderSize => "header_size",
            Self::UriLength => "uri_length",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::AddressRate(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::HeaderSize => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UriLength => StatusCode::URI_TOO_LONG,
        }
    }

    fn retry_after(self) -> Option<u64> {
        match self {
            Self::Full => Some(FULL_SECONDS),
            Self::AddressRate(throttled) => Some(throttled.seconds()),
            Self::HeaderSize | Self::UriLength => None,
        }
    }

    /// The answer: ACR's error document for its API, the distribution specification's elsewhere.
    pub(crate) fn response(
        self,
        path: &str,
        version: Version,
        request_id: &str,
        host: &str,
    ) -> Response {
        count(self.reason());
        let mut response = match path {
            "/" => self.control(request_id, host),
            _ => self.distribution(),
        };
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        // A client that sends too much is not listened to any further. HTTP/2 has no such header.
        if matches!(self, Self::HeaderSize | Self::UriLength) && version < Version::HTTP_2 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn distribution(self) -> Response {
        let (code, message) = match self {
            Self::Full => (Code::Unavailable, "the server is busy; ask again in a moment"),
            Self::AddressRate(_) => {
                (Code::TooManyRequests, "too many requests from this address; ask again later")
            }
            Self::HeaderSize => (Code::Unsupported, "the header of the request is too large"),
            Self::UriLength => (Code::Unsupported, "the address of the request is too long"),
        };
        OciError::new(code, message).with_status(self.status()).into_response()
    }

    fn control(self, request_id: &str, host: &str) -> Response {
        let refusal = match self {
            Self::Full => berth_control::Refusal::Busy,
            Self::AddressRate(throttled) => berth_control::Refusal::Throttled(throttled),
            Self::HeaderSize => berth_control::Refusal::HeaderSize,
            Self::UriLength => berth_control::Refusal::UriLength,
        };
        refusal.response(request_id, host)
    }
}
