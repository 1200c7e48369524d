//! A proxy before the S3 server that refuses what Alibaba Cloud OSS refuses, lists multipart uploads
//! in pages as it does, and is busy at times when it is told to be.

use super::{MultipartUpload, S3Config, Uploads, fresh_bucket, read};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// Multipart uploads in one page of their list.
const PAGE: usize = 2;

/// The proxy, before a bucket of its own. It stops when it is dropped.
#[derive(Debug)]
pub struct OssQuirks {
    config: S3Config,
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    /// The bucket behind the proxy.
    behind: S3Config,
    http: reqwest::Client,
    requests: AtomicU64,
    /// Every so many requests one is answered with `SlowDown`; 0 for none.
    busy_every: AtomicU64,
    refused: Mutex<Vec<String>>,
}

impl OssQuirks {
    /// Starts the proxy before a fresh bucket.
    ///
    /// # Panics
    /// When there is no S3 server or no port.
    #[must_use]
    pub fn start() -> OssQuirks {
        let behind = fresh_bucket();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("an HTTP client can be made");
        let shared = Arc::new(Shared {
            behind: behind.clone(),
            http,
            requests: AtomicU64::new(0),
            busy_every: AtomicU64::new(0),
            refused: Mutex::default(),
        });
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        listener.set_nonblocking(true).expect("a listener can be made asynchronous");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let (stop, stopped) = oneshot::channel::<()>();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        // A thread of its own: the proxy serves tests with and without a runtime.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    served = axum::serve(listener, router).into_future() => served.expect("serving"),
                    _ = stopped => {}
                }
            });
        });
        OssQuirks { config: S3Config { endpoint, ..behind }, shared, _stop: stop }
    }

    /// The bucket, through the proxy.
    #[must_use]
    pub fn bucket(&self) -> &S3Config {
        &self.config
    }

    /// The bucket, past the proxy.
    #[must_use]
    pub fn behind(&self) -> &S3Config {
        &self.shared.behind
    }

    /// From now on every `count`th request is answered with 503 `SlowDown`; none for 0.
    pub fn busy_every(&self, count: u64) {
        self.shared.busy_every.store(count, Ordering::Relaxed);
    }

    /// What was asked for that OSS refuses.
    ///
    /// # Panics
    /// When the proxy has panicked.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        self.shared.refused.lock().expect("no panic before").clone()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response<Body> {
    let count = shared.requests.fetch_add(1, Ordering::Relaxed) + 1;
    let busy_every = shared.busy_every.load(Ordering::Relaxed);
    if busy_every > 0 && count.is_multiple_of(busy_every) {
        return error(StatusCode::SERVICE_UNAVAILABLE, "SlowDown");
    }
    if let Some((status, code)) =
        refusal(request.method(), request.uri().query(), request.headers())
    {
        let what = format!("{} {}", request.method(), request.uri());
        shared.refused.lock().expect("no panic before").push(what);
        return error(status, code);
    }
    let query = request.uri().query().unwrap_or_default();
    if request.method() == Method::GET && query.split('&').any(|pair| pair == "uploads=") {
        return multipart_uploads(&shared, query).await;
    }
    forward(&shared, request).await
}

/// OSS answers 501 to conditional puts and 400 to chunked signatures; deleting many objects at once
/// takes a header there that not every client sends.
fn refusal(
    method: &Method,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Option<(StatusCode, &'static str)> {
    let writes = method == Method::PUT || method == Method::POST;
    if writes && (headers.contains_key("if-match") || headers.contains_key("if-none-match")) {
        return Some((StatusCode::NOT_IMPLEMENTED, "NotImplemented"));
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let chunked = text("content-encoding").contains("aws-chunked")
        || text("x-amz-content-sha256").starts_with("STREAMING");
    if chunked {
        return Some((StatusCode::BAD_REQUEST, "InvalidArgument"));
    }
    let bulk_delete =
        method == Method::POST && query.is_some_and(|query| query.starts_with("delete"));
    bulk_delete.then_some((StatusCode::BAD_REQUEST, "MissingArgument"))
}

fn error(status: StatusCode, code: &str) -> Response<Body> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
    let answer = Response::builder().status(status).header(CONTENT_TYPE, "application/xml");
    answer.body(Body::from(body)).expect("an answer")
}

/// Passes a request on as it came, so that its signature stays true, and the answer back.
async fn forward(shared: &Shared, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = format!("{}{path}", shared.behind.endpoint);
    let has_body = parts.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    let mut forwarded = shared.http.request(parts.method, url).headers(parts.headers);
    if has_body {
        forwarded = forwarded.body(reqwest::Body::wrap_stream(body.into_data_stream()));
    }
    let answer = match forwarded.send().await {
        Ok(answer) => answer,
        Err(failed) => return error(StatusCode::BAD_GATEWAY, &failed.to_string()),
    };
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if name != TRANSFER_ENCODING {
            response = response.header(name, value);
        }
    }
    response.body(Body::from_stream(answer.bytes_stream())).expect("an answer")
}

/// The list of multipart uploads by prefix and in pages, which MinIO does not do.
async fn multipart_uploads(shared: &Shared, query: &str) -> Response<Body> {
    let asked: HashMap<String, String> =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let asked = |name: &str| asked.get(name).cloned().unwrap_or_default();
    let listing = shared.http.get(shared.behind.presigned("GET", "", &[("uploads", "")]));
    let listing = match listing.send().await {
        Ok(listing) => listing.text().await,
        Err(failed) => Err(failed),
    };
    let Ok(listing) = listing else { return error(StatusCode::BAD_GATEWAY, "BadGateway") };
    let mut uploads = read::<Uploads>(&listing).uploads;
    let marker = (asked("key-marker"), asked("upload-id-marker"));
    uploads.retain(|upload| {
        upload.key.starts_with(&asked("prefix"))
            && (&upload.key, &upload.id) > (&marker.0, &marker.1)
    });
    uploads.sort();
    let truncated = uploads.len() > PAGE;
    uploads.truncate(PAGE);
    let mut body = format!("<ListMultipartUploadsResult><IsTruncated>{truncated}</IsTruncated>");
    for MultipartUpload { key, id, initiated } in &uploads {
        body += &format!(
            "<Upload><Key>{key}</Key><UploadId>{id}</UploadId>\
             <Initiated>{initiated}</Initiated></Upload>"
        );
    }
    if let Some(last) = uploads.last() {
        body += &format!(
            "<NextKeyMarker>{}</NextKeyMarker><NextUploadIdMarker>{}</NextUploadIdMarker>",
            last.key, last.id
        );
    }
    body += "</ListMultipartUploadsResult>";
    Response::new(Body::from(body))
}
