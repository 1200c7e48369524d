//! One exchange with an upstream: redirects followed by hand under the dialer's checks, refusals
//! put into words, faults repeated.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use berth_types::{Clock as _, SystemClock};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use rand::Rng as _;
use serde::Deserialize;
use url::Url;

use super::bounds::Body;
use super::dialer::{Dialer, chain, host_of};
use super::encoding::{self, Encoding};
use super::rate::{self, Pauses};
use super::{ClientConfig, ClientError, ClientErrorKind, file_body};

const MAX_REDIRECTS: usize = 5;
/// Bytes of an error reply that are looked at, and the time that it gets.
const MAX_ERROR_REPLY: u64 = 16 * 1024;
const ERROR_REPLY_TIME: Duration = Duration::from_secs(10);

/// How requests get to one upstream and answers come back, without its authorisation.
pub(crate) struct Wire {
    pub(crate) config: ClientConfig,
    /// `scheme://host[:port]/` of the registry.
    pub(crate) base: Url,
    dialer: Dialer,
    pauses: Pauses,
}

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
    response: reqwest::Response,
    what: String,
    time: Duration,
}

impl Reply {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers().get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH).and_then(|text| text.trim().parse().ok())
    }

    /// How the body is written.
    ///
    /// # Errors
    /// `Protocol` for an encoding that cannot be read.
    pub(crate) fn encoding(&self) -> Result<Encoding, ClientError> {
        let header = self.header(CONTENT_ENCODING);
        Encoding::of(header).ok_or_else(|| ClientError::Protocol {
            what: self.what.clone(),
            reason: format!("it comes in the encoding `{}`", header.unwrap_or_default()),
        })
    }

    /// The body as it arrives.
    pub(crate) fn body(self) -> Body {
        let what = self.what;
        let broken = move |error: reqwest::Error| ClientError::Broken {
            what: what.clone(),
            offset: 0,
            reason: chain(&error),
        };
        self.response.bytes_stream().map_err(broken).boxed()
    }

    /// The whole body, of at most `limit` bytes, within the time that documents get.
    pub(crate) async fn bytes(self, limit: u64) -> Result<Bytes, ClientError> {
        let (what, time) = (self.what.clone(), self.time);
        let mut body = match self.encoding()? {
            Encoding::Identity => self.body(),
            Encoding::Gzip => encoding::gunzip(&what, self.body()),
        };
        let reading = async {
            let mut bytes = BytesMut::new();
            while let Some(chunk) = body.try_next().await? {
                if bytes.len() as u64 + chunk.len() as u64 > limit {
                    return Err(ClientError::TooLarge { what: what.clone(), limit });
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(bytes.freeze())
        };
        tokio::time::timeout(time, reading).await.unwrap_or_else(|_| {
            let reason = format!("not there after {} s (upstream.document_time)", time.as_secs());
            Err(ClientError::TooSlow { what: what.clone(), reason })
        })
    }
}

impl Wire {
    /// # Errors
    /// [`ClientError::Config`] for a malformed host, proxy or certificate.
    pub(crate) fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let base = config.base()?;
        let dialer = Dialer::new(&config)?;
        Ok(Self { config, base, dialer, pauses: Pauses::default() })
    }

    pub(crate) fn is_ours(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Waits for the end of a pause that the upstream asked for.
    ///
    /// # Errors
    /// `RateLimited` when that is further away than is waited out.
    pub(crate) async fn keep_pause(&self, url: &Url, method: &Method) -> Result<(), ClientError> {
        let counted = (method.clone(), object_kind(url));
        let Some(left) = self.pauses.left(&counted) else { return Ok(()) };
        if left > self.config.retry.longest {
            let host = host_of(&self.base);
            return Err(ClientError::rate_limited(host, Some(left), SystemClock.now()));
        }
        tokio::time::sleep(left).await;
        Ok(())
    }

    /// Remembers the pause that a refusal asks for.
    pub(crate) fn begin_pause(&self, url: &Url, method: &Method, error: &ClientError) {
        if let ClientError::RateLimited { retry_after: Some(pause), .. } = error {
            self.pauses.begin((method.clone(), object_kind(url)), *pause);
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
                    request.headers_mut().insert(CONTENT_LENGTH, (*size).into());
                    *request.body_mut() = Some(file_body::open(path).await?);
                }
                None => {}
            }
            let response = self.dialer.execute(request).await?;
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
        self.dialer.check(&target)?;
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
            let time = self.config.bounds.document_time;
            return Ok(Reply { response, what: what.to_owned(), time });
        }
        Err(self.refusal(response, what).await)
    }

    /// The error that a status stands for.
    pub(crate) async fn refusal(&self, response: reqwest::Response, what: &str) -> ClientError {
        let (status, host) = (response.status(), host_of(response.url()));
        let now = SystemClock.now();
        let retry_after = rate::pause(response.headers(), now);
        let limited = rate::is_named(response.headers());
        let reply = Reply { response, what: what.to_owned(), time: ERROR_REPLY_TIME };
        let message = reply.bytes(MAX_ERROR_REPLY).await.map(|body| message(&body));
        let message = message.unwrap_or_default();
        let what = what.to_owned();
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => ClientError::NotFound { what, message },
            StatusCode::TOO_MANY_REQUESTS => ClientError::rate_limited(host, retry_after, now),
            // GitHub says it with 403, servers in maintenance with 503.
            StatusCode::FORBIDDEN | StatusCode::SERVICE_UNAVAILABLE
                if retry_after.is_some() && limited =>
            {
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
        let policy = self.config.retry;
        let mut tries = 0;
        let mut waited = Duration::ZERO;
        loop {
            let error = match operation().await {
                Ok(value) => return Ok(value),
                Err(error) if !error.is_repeated() || tries >= policy.retries => {
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
        let policy = self.config.retry;
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

/// What the object of a request is: `manifests`, `blobs` or `tags` of `/v2/<name>/<kind>/<which>`.
pub(crate) fn object_kind(url: &Url) -> &'static str {
    let before_last = url.path_segments().and_then(|mut segments| segments.nth_back(1));
    ["manifests", "blobs", "tags"]
        .into_iter()
        .find(|kind| Some(*kind) == before_last)
        .unwrap_or("others")
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
