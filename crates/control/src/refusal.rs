//! Answers to requests that the server does not let in.

use axum::response::Response;
use berth_auth::Throttled;

use crate::codes;
use crate::error::ApiError;
use crate::http::{Answer, render};

/// Why the server does not let a request in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Too many requests are being answered.
    Busy,
    /// The caller asks too often.
    Throttled(Throttled),
    HeaderSize,
    UriLength,
}

impl Refusal {
    /// The answer, in the form of every error of the API.
    pub fn response(self, request_id: &str, host: &str) -> Response {
        let error = match self {
            Self::Busy => ApiError::plain(codes::UNAVAILABLE),
            Self::Throttled(throttled) => throttled.into(),
            Self::HeaderSize => ApiError::plain(codes::HEADER_TOO_LARGE),
            Self::UriLength => ApiError::plain(codes::URI_TOO_LONG),
        };
        render(&Answer::error(&error, request_id, host))
    }
}
