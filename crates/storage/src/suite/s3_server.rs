//! An S3 server in this process that refuses what Alibaba Cloud OSS refuses.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Request, Response, StatusCode};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) struct S3Server {
    pub(crate) endpoint: String,
    serving: JoinHandle<()>,
    _folder: TempDir,
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl S3Server {
    pub(crate) const BUCKET: &str = "images";
    pub(crate) const ACCESS_KEY_ID: &str = "suite";
    pub(crate) const SECRET_ACCESS_KEY: &str = "of the suite";

    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join(Self::BUCKET)).expect("a bucket");
        let file_system = FileSystem::new(folder.path()).expect("a file system");
        let mut builder = S3ServiceBuilder::new(file_system);
        builder.set_auth(SimpleAuth::from_single(Self::ACCESS_KEY_ID, Self::SECRET_ACCESS_KEY));
        let router = Router::new().fallback(answer).with_state(builder.build());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("serving");
        });
        Self { endpoint, serving, _folder: folder }
    }
}

async fn answer(State(service): State<S3Service>, request: Request<Body>) -> Response<Body> {
    if let Some(status) = refusal(&request) {
        let mut refused = Response::new(Body::empty());
        *refused.status_mut() = status;
        return refused;
    }
    let aborts = request.method() == Method::DELETE
        && request.uri().query().is_some_and(|query| query.contains("uploadId="));
    let answer = service.call(request.map(s3s::Body::http_body_unsync)).await;
    let mut answer = answer.expect("the S3 service answers").map(Body::new);
    // S3 and OSS answer NoSuchUpload for an upload that is over; s3s-fs says that it is not yours.
    if aborts && answer.status() == StatusCode::FORBIDDEN {
        *answer.status_mut() = StatusCode::NOT_FOUND;
    }
    answer
}

/// OSS answers 501 to conditional puts and 400 to chunked signatures.
fn refusal(request: &Request<Body>) -> Option<StatusCode> {
    let headers = request.headers();
    let writes = request.method() == Method::PUT || request.method() == Method::POST;
    if writes && (headers.contains_key("if-match") || headers.contains_key("if-none-match")) {
        return Some(StatusCode::NOT_IMPLEMENTED);
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let chunked = text("content-encoding").contains("aws-chunked")
        || text("x-amz-content-sha256").starts_with("STREAMING");
    let bulk_delete = request.method() == Method::POST
        && request.uri().query().is_some_and(|query| query.starts_with("delete"));
    (chunked || bulk_delete).then_some(StatusCode::BAD_REQUEST)
}
