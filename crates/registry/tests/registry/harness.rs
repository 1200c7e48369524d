//! A registry on SQLite and a folder, called without a socket.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_artifacts::Artifacts;
use berth_auth::bootstrap::bootstrap;
use berth_auth::{Auth, AuthConfig, BootstrapConfig, ClientAddress, MasterKey, RootCredentials};
use berth_metadata::{Access, Db, DbOptions};
use berth_registry::{Registry, router};
use berth_storage::StorageConfig;
use berth_types::{Clock, Digest, SystemClock};
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

pub(crate) const HOST_NAME: &str = "registry.test:5000";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub(crate) struct TestRegistry {
    router: Router,
    auth: Auth,
    pub(crate) artifacts: Artifacts,
    pub(crate) db: Db,
    pub(crate) credentials: RootCredentials,
    _folder: TempDir,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no header {name}: {self}"));
        value.to_str().expect("text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self}"))
    }

    /// The status and the code of the first error.
    pub(crate) fn error(&self) -> (u16, String) {
        let code = self.json()["errors"][0]["code"].as_str().expect("code").to_owned();
        (self.status.as_u16(), code)
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self}");
        self
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} {:?} {body}", self.status, self.headers)
    }
}

impl TestRegistry {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().display();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        // As a server has it: what is remembered is believed.
        let options = DbOptions { access: Access::SoleWriter, ..DbOptions::default() };
        let url = format!("sqlite:{path}/berth.db");
        let db = Db::open_with(&url, options).await.expect("database");
        let config =
            StorageConfig { url: format!("file:{path}/blobs"), ..StorageConfig::default() };
        let store = berth_storage::open(&config).await.expect("store");
        let master = MasterKey::generate();
        let first = bootstrap(&db, &master, clock.as_ref(), &BootstrapConfig::default())
            .await
            .expect("first start");
        let auth = Auth::new(db.clone(), master, Arc::clone(&clock), AuthConfig::default());
        let artifacts = Artifacts::new(db.clone(), store, clock);
        let registry = Registry::new(artifacts.clone(), auth.clone());
        Self {
            router: router(Arc::new(registry)),
            auth,
            artifacts,
            db,
            credentials: first.credentials,
            _folder: folder,
        }
    }

    pub(crate) fn basic(&self) -> String {
        let RootCredentials { access_key_id, access_key_secret, .. } = &self.credentials;
        let pair = format!("{access_key_id}:{}", access_key_secret.expose());
        format!("Basic {}", STANDARD.encode(pair))
    }

    /// A password as `GetAuthorizationToken` answers it.
    pub(crate) async fn temporary_password(&self, time_to_live: std::time::Duration) -> String {
        let RootCredentials { access_key_id, access_key_secret, instance_id, .. } =
            &self.credentials;
        let (secret, address) = (access_key_secret.expose(), ClientAddress::default());
        let login = self.auth.login(access_key_id, secret, instance_id, address).await;
        let issued =
            self.auth.issue_temp_password(&login.expect("login"), instance_id, time_to_live);
        issued.expect("a caller with a key").0
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("whole body").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// A request as the root account.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let basic = self.basic();
        self.call_as(Some(&basic), method, path, headers, body).await
    }

    pub(crate) async fn call_as(
        &self,
        authorization: Option<&str>,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(HOST, HOST_NAME);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).expect("request")).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], Body::empty()).await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        self.call(Method::HEAD, path, &[], Body::empty()).await
    }

    /// Pushes a blob in one request.
    pub(crate) async fn push_blob(&self, repository: &str, content: &[u8]) -> Digest {
        let digest = Digest::sha256(content);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let answer = self.call(Method::POST, &path, &[], content.to_vec()).await.expect(201);
        assert_eq!(answer.header("docker-content-digest"), digest.as_str());
        digest
    }

    /// Pushes an image of one layer under a tag.
    pub(crate) async fn push_image(&self, repository: &str, tag: &str) -> Digest {
        let config = self.push_blob(repository, br#"{"architecture":"amd64","os":"linux"}"#).await;
        let layer = self.push_blob(repository, b"layer").await;
        let body = image(&config, 37, &layer, 5, None);
        let path = format!("/v2/{repository}/manifests/{tag}");
        let answer =
            self.call(Method::PUT, &path, &[("content-type", MANIFEST)], body).await.expect(201);
        answer.header("docker-content-digest").parse().expect("digest")
    }

    /// Makes a repository public.
    pub(crate) async fn publish(&self, name: &str) {
        self.set_type(name, "PUBLIC").await;
    }

    pub(crate) async fn set_type(&self, name: &str, repo_type: &str) {
        let instance = &self.credentials.instance_id;
        let name = name.parse().expect("name");
        let found = self.artifacts.repositories().find(instance, &name).await.expect("found");
        let mut session = self.db.begin().await.expect("transaction");
        let row = berth_artifacts::Repository { repo_type: repo_type.to_owned(), ..found };
        berth_metadata::tables::repository::update(&mut session, &row).await.expect("updated");
        session.commit().await.expect("committed");
    }
}

/// The bytes of an image manifest.
pub(crate) fn image(
    config: &Digest,
    config_size: u64,
    layer: &Digest,
    layer_size: u64,
    subject: Option<Value>,
) -> Vec<u8> {
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config,
            "size": config_size,
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": layer,
            "size": layer_size,
        }],
    });
    if let Some(subject) = subject {
        manifest["subject"] = subject;
    }
    manifest.to_string().into_bytes()
}
