//! One exchange with an upstream: redirects followed by hand, 401 answered, faults repeated.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use berth_types::{Clock as _, SystemClock};
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use rand::Rng as _;
use serde::Deserialize;
use url::Url;

use super::dialer::{chain, host_of};
use super::{ClientError, ClientErrorKind, RegistryClient, file_body, rate};

const MAX_REDIRECTS: usize = 5;
/// Bytes of an error reply that are looked at.
const MAX_ERROR_REPLY: u64 = 16 * 1024;

/// A request body that can be sent again.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    Bytes(Bytes),
    File { path: PathBuf, size: u64 },
}

/// A request before authorisation.
#[derive(Debug, Clone)]
pub(crate) struct Exchange<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// Names the object in errors.
    pub(crate) what: &'a str,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Option<Payload>,
    /// Sent to the origin of `url` only.
    pub(crate) authorization: Option<HeaderValue>,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(method: Method, url: Url, what: &'a str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Self { method, url, what, headers, payload: None, authorization: None }
    }
}

/// A reply whose body was not read yet.
pub(crate) struct Reply {
    pub(crate) response: reqwest::Response,
    what: String,
}

impl Reply {
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// The whole body, of at most `limit` bytes.
    pub(crate) async fn bytes(mut self, limit: u64) -> Result<Bytes, ClientError> {
        let mut body = BytesMut::new();
        loop {
            let offset = body.len() as u64;
            match self.response.chunk().await {
                Ok(Some(chunk)) if offset + chunk.len() as u64 > limit => {
                    return Err(ClientError::TooLarge { what: self.what, limit });
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(body.freeze()),
                Err(error) => {
                    let reason = chain(&error);
                    return Err(ClientError::Broken { what: self.what, offset, reason });
                }
            }
        }
    }
}

impl RegistryClient {
    /// Sends with the upstream's authorisation for `scope` and takes 2xx (and 416, which a caller
    /// of ranges reads) as success. Makes no second try except to authorise.
    pub(crate) async fn send(
        &self,
        mut exchange: Exchange<'_>,
        scope: &str,
    ) -> Result<Reply, ClientError> {
        loop {
            let ticket = self.authorization().ticket(self, scope).await?;
            exchange.authorization = ticket.as_ref().map(|ticket| ticket.header.clone());
            let response = self.exchange(&exchange).await?;
            let ours = response.url().origin() == self.base().origin();
            let fresh = ticket.as_ref().is_some_and(|ticket| ticket.fresh);
            if response.status() != StatusCode::UNAUTHORIZED || !ours || fresh {
                return self.checked(response, exchange.what).await;
            }
            let headers = response.headers().clone();
            let denied = self.refusal(response, exchange.what).await;
            let used = exchange.authorization.as_ref();
            self.authorization().learn(self, &headers, scope, used, denied).await?;
        }
    }

    /// Sends and follows redirects of GET and HEAD; every hop is checked, and credentials stay on
    /// the origin that they were meant for.
    pub(crate) async fn exchange(
        &self,
        exchange: &Exchange<'_>,
    ) -> Result<reqwest::Response, ClientError> {
        let mut url = exchange.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = reqwest::Request::new(exchange.method.clone(), url.clone());
            *request.headers_mut() = exchange.headers.clone();
            if let Some(value) = &exchange.authorization
                && url.origin() == exchange.url.origin()
            {
                request.headers_mut().insert(AUTHORIZATION, value.clone());
            }
            match &exchange.payload {
                Some(Payload::Bytes(bytes)) => *request.body_mut() = Some(bytes.clone().into()),
                Some(Payload::File { path, size }) => {
                    request.headers_mut().insert(http::header::CONTENT_LENGTH, (*size).into());
                    *request.body_mut() = Some(file_body::open(path).await?);
                }
                None => {}
            }
            let response = self.dialer().execute(request).await?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            url = self.redirect(exchange, &url, response.headers())?;
        }
        Err(ClientError::Redirect {
            what: exchange.what.to_owned(),
            target: host_of(&url),
            reason: "too many redirects",
        })
    }

    fn redirect(
        &self,
        exchange: &Exchange<'_>,
        from: &Url,
        headers: &HeaderMap,
    ) -> Result<Url, ClientError> {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let refuse = |target: &str, reason| ClientError::Redirect {
            what: exchange.what.to_owned(),
            target: target.to_owned(),
            reason,
        };
        let Some(target) = location.and_then(|text| from.join(text).ok()) else {
            return Err(refuse("", "the redirect has no usable Location"));
        };
        // The query of a redirect may be a signature: it is not shown.
        let shown = target.origin().ascii_serialization();
        if exchange.method != Method::GET && exchange.method != Method::HEAD {
            return Err(refuse(&shown, "only reads are redirected"));
        }
        if !target.username().is_empty() || target.password().is_some() {
            return Err(refuse(&shown, "the target carries credentials"));
        }
        if from.scheme() == "https" && target.scheme() != "https" {
            return Err(refuse(&shown, "https:// is never left for another scheme"));
        }
        self.dialer().check(&target)?;
        Ok(target)
    }

    /// Success, or the error that the status stands for.
    pub(crate) async fn checked(
        &self,
        response: reqwest::Response,
        what: &str,
    ) -> Result<Reply, ClientError> {
        let status = response.status();
        if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(Reply { response, what: what.to_owned() });
        }
        Err(self.refusal(response, what).await)
    }

    async fn refusal(&self, response: reqwest::Response, what: &str) -> ClientError {
        let (status, host) = (response.status(), host_of(response.url()));
        let now = SystemClock.now();
        let retry_after = rate::pause(response.headers(), now);
        let reply = Reply { response, what: what.to_owned() };
        let message = reply.bytes(MAX_ERROR_REPLY).await.map(|body| message(&body));
        let message = message.unwrap_or_default();
        let what = what.to_owned();
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => ClientError::NotFound { what, message },
            StatusCode::TOO_MANY_REQUESTS => ClientError::rate_limited(host, retry_after, now),
            // GitHub says it with 403, servers in maintenance with 503.
            StatusCode::FORBIDDEN | StatusCode::SERVICE_UNAVAILABLE if retry_after.is_some() => {
                ClientError::rate_limited(host, retry_after, now)
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                ClientError::Unauthorized { host, what, message }
            }
            _ => ClientError::Status { host, what, status: status.as_u16(), message },
        }
    }

    /// Repeats an operation after transient faults, within the configured bounds: of pauses that the
    /// upstream asks for only as much as is waited out in all. Dropping the future stops it at once.
    pub(crate) async fn retrying<T, F, R>(&self, mut operation: F) -> Result<T, ClientError>
    where
        F: FnMut() -> R,
        R: Future<Output = Result<T, ClientError>>,
    {
        let policy = self.config().retry;
        let mut tries = 0;
        let mut waited = Duration::ZERO;
        loop {
            let error = match operation().await {
                Ok(value) => return Ok(value),
                Err(error) if !error.is_transient() || tries >= policy.retries => {
                    return Err(error);
                }
                Err(error) => error,
            };
            let Some(pause) = self.pause(tries, &error) else { return Err(error) };
            if error.kind() == ClientErrorKind::RateLimited {
                waited += pause;
                if waited > policy.longest {
                    return Err(error);
                }
            }
            tracing::debug!(%error, ?pause, "repeating a request to an upstream");
            tokio::time::sleep(pause).await;
            tries += 1;
        }
    }

    /// The pause before try number `tries + 1`; `None` when the upstream wants a longer one than
    /// is waited out.
    pub(crate) fn pause(&self, tries: u32, error: &ClientError) -> Option<Duration> {
        let policy = self.config().retry;
        let full = policy.base.saturating_mul(2_u32.saturating_pow(tries)).min(policy.longest);
        let own = full.mul_f64(rand::rng().random_range(0.5..=1.0));
        match error {
            ClientError::RateLimited { retry_after: Some(wait), .. } => {
                (*wait <= policy.longest).then_some(own.max(*wait))
            }
            _ => Some(own),
        }
    }
}

/// `: CODE: words` out of an error reply of the distribution specification; else nothing.
fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(errors) = serde_json::from_slice::<Errors>(body) else { return String::new() };
    let Some(first) = errors.errors.first() else { return String::new() };
    let words = format!("{} {}", first.code, first.message);
    let words: String = words.chars().filter(|one| !one.is_control()).take(200).collect();
    let words = words.trim();
    if words.is_empty() { String::new() } else { format!(" ({words})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_replies() {
        let text = message(br#"{"errors":[{"code":"BLOB_UNKNOWN","message":"un\nknown"}]}"#);
        assert_eq!(text, " (BLOB_UNKNOWN unknown)");
        assert_eq!(message(b"<html>"), "");
        assert_eq!(message(br#"{"errors":[]}"#), "");
    }
}
