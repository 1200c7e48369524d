//! A control plane on SQLite and memory, and a client that signs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use berth_artifacts::{Artifacts, ManifestPush, PushOptions};
use berth_auth::bootstrap::bootstrap;
use berth_auth::encoding::strict_encode;
use berth_auth::signature::acs3::{Outgoing, sign};
use berth_auth::{Auth, AuthConfig, BootstrapConfig, MasterKey};
use berth_builder::{BuildConfig, Builder};
use berth_control::{Control, ControlConfig, router};
use berth_maintenance::Maintenance;
use berth_metadata::Db;
use berth_storage::StorageConfig;
use berth_subscription::{Subscription, SubscriptionConfig};
use berth_types::{Clock as _, Ctx, Digest, ManualClock, Secret};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

pub(crate) const HOST: &str = "127.0.0.1:5000";
pub(crate) const VERSION: &str = "2018-12-01";
pub(crate) const KEY_ID: &str = "operator";
pub(crate) const SECRET: &str = "the-secret";

pub(crate) struct Fixture {
    _folder: TempDir,
    pub(crate) router: Router,
    pub(crate) auth: Auth,
    pub(crate) instance_id: String,
    pub(crate) clock: Arc<ManualClock>,
    artifacts: Artifacts,
    nonce: AtomicU64,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) request_id: String,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

pub(crate) struct PushedManifest {
    pub(crate) digest: Digest,
    pub(crate) config: Digest,
    pub(crate) size: i64,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite:{}", folder.path().join("berth.db").display());
        let db = Db::open(&url).await.expect("database");
        let clock = Arc::new(ManualClock::at(1_767_323_045_000));
        let master = MasterKey::generate();
        let config = BootstrapConfig {
            access_key: Some((KEY_ID.to_owned(), Secret::new(SECRET))),
            ..BootstrapConfig::default()
        };
        let started = bootstrap(&db, &master, &*clock, &config).await.expect("started");
        let storage = StorageConfig { url: "memory:".to_owned(), ..StorageConfig::default() };
        let store = berth_storage::open(&storage).await.expect("storage");
        let artifacts = Artifacts::new(db.clone(), Arc::clone(&store), clock.clone());
        let scratch = BuildConfig::new(folder.path().join("scratch"));
        let builder =
            Builder::new(artifacts.clone(), db.clone(), clock.clone(), scratch).expect("builder");
        let artifacts = artifacts.with_listener(Arc::new(builder.clone()));
        let subscription = Subscription::new(
            artifacts.clone(),
            db.clone(),
            clock.clone(),
            SubscriptionConfig::default(),
        );
        let maintenance = Maintenance::new(artifacts.clone(), db.clone(), store, clock.clone());
        let auth = Auth::new(db, master, clock.clone(), AuthConfig::default());
        let control = Control::new(
            artifacts.clone(),
            builder,
            subscription,
            maintenance,
            auth.clone(),
            ControlConfig::default(),
        );
        Self {
            _folder: folder,
            router: router(Arc::new(control)),
            auth,
            instance_id: started.instance_id,
            clock,
            artifacts,
            nonce: AtomicU64::new(0),
        }
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now()
    }

    pub(crate) fn nonce(&self) -> String {
        format!("nonce-{}", self.nonce.fetch_add(1, Ordering::SeqCst))
    }

    /// As the new Python SDK calls: POST, everything in the query.
    pub(crate) async fn call(&self, action: &str, parameters: &[(&str, &str)]) -> Answer {
        self.send(self.signed("POST", action, parameters, b"", None)).await
    }

    /// A request signed with ACS3.
    pub(crate) fn signed(
        &self,
        method: &str,
        action: &str,
        parameters: &[(&str, &str)],
        body: &[u8],
        content_type: Option<&str>,
    ) -> Request<Body> {
        let query: Vec<(String, String)> =
            parameters.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let outgoing = Outgoing {
            method,
            host: HOST,
            action,
            version: VERSION,
            query: &query,
            body,
            content_type,
            nonce: &self.nonce(),
            now: self.now(),
        };
        let mut request = Request::builder().method(method).uri(format!("/?{}", encoded(&query)));
        for (name, value) in sign(&outgoing, KEY_ID, &Secret::new(SECRET)) {
            request = request.header(name, value);
        }
        request.body(Body::from(body.to_vec())).expect("a request")
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let text = |name: &str| {
            let value = response.headers().get(name).map(|value| value.to_str().expect("text"));
            value.unwrap_or_default().to_owned()
        };
        let (status, request_id) = (response.status().as_u16(), text("x-acs-request-id"));
        let content_type = text(header::CONTENT_TYPE.as_str());
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let body = serde_json::from_slice(&body).expect("JSON");
        Answer { status, request_id, content_type, body }
    }

    /// Makes namespace and repository; gives the repository's id.
    pub(crate) async fn repository(&self, namespace: &str, name: &str) -> String {
        let id = self.instance_id.as_str();
        self.call("CreateNamespace", &[("InstanceId", id), ("NamespaceName", namespace)]).await;
        let parameters = [
            ("InstanceId", id),
            ("RepoNamespaceName", namespace),
            ("RepoName", name),
            ("RepoType", "PRIVATE"),
            ("Summary", "s"),
        ];
        let answer = self.call("CreateRepository", &parameters).await;
        answer.body["RepoId"].as_str().expect("an id").to_owned()
    }

    /// Pushes an image of one small layer.
    pub(crate) async fn push(&self, repo_id: &str, tag: &str) -> PushedManifest {
        let ctx = Ctx::system("test");
        let repositories = self.artifacts.repositories();
        let repository =
            repositories.find_by_id(&self.instance_id, repo_id).await.expect("a repository");
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [Digest::sha256(b"layer").as_str()]},
        });
        let mut descriptors = Vec::new();
        for bytes in [config.to_string().into_bytes(), b"layer".to_vec()] {
            let digest = Digest::sha256(&bytes);
            let size = bytes.len();
            let body = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(bytes))]);
            let blobs = self.artifacts.blobs();
            blobs.put(&ctx, &repository, &digest, None, body).await.expect("a blob");
            descriptors.push((digest, size));
        }
        let [(config, config_size), (layer, layer_size)] = &descriptors[..] else {
            panic!("two blobs")
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config.as_str(), "size": config_size,
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": layer.as_str(), "size": layer_size,
            }],
        });
        let reference = tag.parse().expect("a tag");
        let pushed = self
            .artifacts
            .manifests()
            .push(
                &ctx,
                ManifestPush {
                    repository: &repository,
                    reference: &reference,
                    content_type: Some("application/vnd.oci.image.manifest.v1+json"),
                    body: Bytes::from(manifest.to_string()),
                    options: PushOptions::default(),
                },
            )
            .await
            .expect("pushed");
        PushedManifest {
            digest: pushed.digest,
            config: config.clone(),
            size: i64::try_from(config_size + layer_size).expect("small"),
        }
    }
}

/// A query string, strictly encoded.
pub(crate) fn encoded(query: &[(String, String)]) -> String {
    let pairs: Vec<String> = query
        .iter()
        .map(|(name, value)| format!("{}={}", strict_encode(name), strict_encode(value)))
        .collect();
    pairs.join("&")
}
