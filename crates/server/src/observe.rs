//! What is done around every request: an id, a log line, metrics, and a panic becomes a 500.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use berth_registry::{FileBody, Origin, RouteLabel, clean_host, request_host};
use futures::FutureExt as _;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::{Frame, SizeHint};
use tracing::Instrument as _;

use crate::limits::{Intake, Limits, Slot};
use crate::listener::Peer;
use crate::metrics::{counters, in_flight};

/// The header that carries the request id: to the handlers on the request (a client's own value is
/// replaced), to the client on the response.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the middleware must know.
#[derive(Clone)]
pub(crate) struct Observer {
    /// Believe the forwarding headers of a proxy.
    pub(crate) trust_proxy: bool,
    pub(crate) limits: Arc<Limits>,
}

/// The middleware.
pub(crate) async fn observe(
    State(observer): State<Observer>,
    mut request: Request,
    next: Next,
) -> Response {
    let request_id = berth_types::id::request();
    let id_header = HeaderValue::from_str(&request_id).unwrap_or(HeaderValue::from_static("-"));
    let origin = observer.origin(&request);
    let mut record = Record::of(&request, request_id);
    let (admission, slot) = match observer.limits.admit(&mut request) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            record.route = "refused";
            let (path, version) = (request.uri().path(), request.version());
            let response = refusal.response(path, version, &record.request_id, &origin.host);
            return finish(response, record, id_header);
        }
    };
    record.received = admission.intake().cloned();
    record.slot = slot;
    request.extensions_mut().insert(origin);
    request.headers_mut().insert(REQUEST_ID, id_header.clone());
    let span = tracing::info_span!("request", request_id = %record.request_id);
    let answer = std::panic::AssertUnwindSafe(next.run(request)).catch_unwind();
    let response = match answer.instrument(span).await {
        Ok(response) => response,
        Err(panic) => {
            let cause = panic_text(panic.as_ref());
            tracing::error!(request_id = %record.request_id, cause, "a request handler panicked");
            internal_error(&record.request_id)
        }
    };
    finish(admission.settle(response), record, id_header)
}

/// The answer with its id, and with the record that is written when it has ended.
fn finish(mut response: Response, mut record: Record, id_header: HeaderValue) -> Response {
    response.headers_mut().insert(REQUEST_ID, id_header);
    record.status = response.status().as_u16();
    if let Some(RouteLabel(label)) = response.extensions().get::<RouteLabel>() {
        record.route = label;
    }
    record.file = response.extensions().get::<FileBody>().cloned();
    response.map(|body| {
        // A HEAD's answer has no body to be read to its end.
        record.complete = record.method == "HEAD" || body.is_end_stream();
        Body::new(Observed { body, record })
    })
}

impl Observer {
    fn origin(&self, request: &Request) -> Origin {
        let tls = request.extensions().get::<Peer>().is_some_and(|peer| peer.tls);
        let mut origin =
            Origin { scheme: if tls { "https" } else { "http" }, host: request_host(request) };
        if self.trust_proxy {
            match first_value(request.headers(), "x-forwarded-proto") {
                Some("https") => origin.scheme = "https",
                Some("http") => origin.scheme = "http",
                _ => {}
            }
            if let Some(host) = first_value(request.headers(), "x-forwarded-host") {
                origin.host = clean_host(host);
            }
        }
        origin
    }
}

/// The first entry of a header that proxies append to.
fn first_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()?.split(',').next().map(str::trim)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown")
}

fn internal_error(request_id: &str) -> Response {
    let body = serde_json::json!({
        "RequestId": request_id,
        "Code": "InternalError",
        "Message": "The request processing has failed due to some unknown error.",
        "errors": [{ "code": "UNKNOWN", "message": "internal error" }],
    });
    let mut response = (StatusCode::INTERNAL_SERVER_ERROR, body.to_string()).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What is written down when the answer has ended, however it ended.
struct Record {
    request_id: String,
    method: &'static str,
    path: String,
    route: &'static str,
    peer: Option<std::net::SocketAddr>,
    user_agent: Option<HeaderValue>,
    status: u16,
    started: Instant,
    /// The body of the request; `None` when there is none.
    received: Option<Arc<Intake>>,
    /// Held until the answer has ended.
    slot: Option<Slot>,
    sent: u64,
    complete: bool,
    /// What the connection may send in place of the body.
    file: Option<FileBody>,
}

impl Record {
    fn of(request: &Request, request_id: String) -> Self {
        in_flight().increment(1.0);
        let path = request.uri().path();
        Self {
            request_id,
            method: method_name(request.method()),
            path: path.to_owned(),
            route: route_of_path(path),
            peer: request.extensions().get::<Peer>().map(|peer| peer.address),
            user_agent: request.headers().get(USER_AGENT).cloned(),
            status: 0,
            started: Instant::now(),
            received: None,
            slot: None,
            sent: 0,
            complete: false,
            file: None,
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        if let Some(file) = self.file.take().filter(|file| file.sent() > 0) {
            self.sent = file.sent();
            self.complete = self.sent == file.range.len();
        }
        let received = self.received.as_ref().map_or(0, |intake| intake.bytes());
        drop(self.slot.take());
        let (route, method) = (self.route, self.method);
        in_flight().decrement(1.0);
        let counters = counters((route, method, self.status));
        counters.requests.increment(1);
        counters.duration.record(duration.as_secs_f64());
        counters.received.increment(received);
        counters.sent.increment(self.sent);
        if !tracing::enabled!(target: "berth::http", tracing::Level::INFO) {
            return;
        }
        let user_agent = self.user_agent.as_ref().and_then(|value| value.to_str().ok());
        // The query is left out: it holds signatures.
        tracing::info!(
            target: "berth::http",
            request_id = %self.request_id,
            peer = self.peer.map(tracing::field::display),
            method,
            path = %self.path,
            route,
            status = self.status,
            milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            received,
            sent = self.sent,
            cut = (!self.complete).then_some(true),
            user_agent,
            "request"
        );
    }
}

fn method_name(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

/// The label of a request whose handler sets none. Never the path itself: labels are few.
fn route_of_path(path: &str) -> &'static str {
    match path {
        "/" => "rpc",
        "/healthz" => "healthz",
        "/readyz" => "readyz",
        "/metrics" => "metrics",
        _ => "other",
    }
}

/// The body of an answer; carries the record to its end.
struct Observed {
    body: Body,
    record: Record,
}

impl HttpBody for Observed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.record.sent += u64::try_from(data.len()).unwrap_or(0);
                }
                self.record.complete = self.body.is_end_stream();
            }
            Poll::Ready(Some(Err(error))) => {
                let request_id = &self.record.request_id;
                tracing::error!(%request_id, %error, "an answer broke off");
            }
            Poll::Ready(None) => self.record.complete = true,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn broken() -> &'static str {
        panic!("on purpose")
    }

    #[tokio::test]
    async fn a_panic_is_a_500_with_the_request_id() {
        let limits = Arc::new(Limits::new(&crate::Config::default()));
        let observer = Observer { trust_proxy: false, limits };
        let router = Router::new()
            .route("/broken", get(broken))
            .layer(from_fn_with_state(observer, observe));
        let request = Request::builder().uri("/broken").body(Body::empty()).expect("request");
        let answer = router.oneshot(request).await.expect("infallible");
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let id = answer.headers()[REQUEST_ID].to_str().expect("text").to_owned();
        let body = answer.into_body().collect().await.expect("body").to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["RequestId"], id);
    }
}
