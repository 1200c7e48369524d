//! A registry's inside, an upstream, and what tests do with both.

use std::sync::Arc;
use std::time::Duration;

use berth_artifacts::{Artifacts, NewNamespace, NewRepository, RepoType, Repository};
use berth_metadata::{Db, Page};
use berth_oci::client::RetryPolicy;
use berth_oci::media_type;
use berth_subscription::{
    NewSubscriptionRule, ResultRow, Subscription, SubscriptionConfig, SubscriptionTaskView,
};
use berth_tasks::{Runner, RunnerConfig};
pub(crate) use berth_testbed::INSTANCE;
use berth_testbed::{Furnish, House, Place};
use berth_testkit::registry::{Registry, sha256};
use berth_testkit::upstream::DockerRegistry;
use berth_types::{Ctx, Digest, Reference, SystemClock};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// One instance with the repository `team/app`.
pub(crate) struct Target {
    pub(crate) artifacts: Artifacts,
    pub(crate) db: Db,
    pub(crate) ctx: Ctx,
    pub(crate) target: Repository,
    _place: Place,
}

impl Furnish for Target {
    async fn furnish(place: Place) -> Self {
        let House { artifacts, db, .. } = place.artifacts.clone();
        let ctx = Ctx::system("1");
        let namespace = NewNamespace {
            name: "team".to_owned(),
            auto_create_repo: false,
            default_repo_type: RepoType::Private,
            default_tag_immutability: false,
            build_rule_parameters: None,
        };
        artifacts.namespaces().create(&ctx, INSTANCE, namespace).await.expect("namespace");
        let target = create_repository(&artifacts, &ctx, "app").await;
        Self { artifacts, db, ctx, target, _place: place }
    }
}

impl Target {
    pub(crate) async fn repository(&self, name: &str) -> Repository {
        create_repository(&self.artifacts, &self.ctx, name).await
    }

    pub(crate) fn subscription(&self, allow: &[&str]) -> Subscription {
        self.subscription_of(allow, 3)
    }

    pub(crate) fn subscription_of(&self, allow: &[&str], max_attempts: i64) -> Subscription {
        self.subscription_where(allow, |config| config.max_attempts = max_attempts)
    }

    pub(crate) fn subscription_where(
        &self,
        allow: &[&str],
        change: impl FnOnce(&mut SubscriptionConfig),
    ) -> Subscription {
        let mut config = SubscriptionConfig {
            allow: allow.iter().map(|net| net.parse().expect("net")).collect(),
            retry: RetryPolicy {
                retries: 1,
                base: Duration::from_millis(10),
                longest: Duration::from_secs(1),
            },
            ..SubscriptionConfig::default()
        };
        change(&mut config);
        self.subscription_with(config)
    }

    pub(crate) fn subscription_with(&self, config: SubscriptionConfig) -> Subscription {
        let (artifacts, db) = (self.artifacts.clone(), self.db.clone());
        Subscription::new(artifacts, db, Arc::new(SystemClock), config)
    }

    /// A worker with short pauses.
    pub(crate) fn worker(&self, subscription: &Subscription) -> Worker {
        self.worker_with_lease(subscription, Duration::from_secs(15))
    }

    /// A worker whose task is soon taken up by another when it dies.
    pub(crate) fn worker_with_lease(&self, subscription: &Subscription, lease: Duration) -> Worker {
        let mut config = RunnerConfig::new(Subscription::QUEUE, 2);
        config.lease = lease;
        config.backoff_base = Duration::from_millis(20);
        config.poll = Duration::from_millis(50);
        let clock = Arc::new(SystemClock);
        let runner = Runner::new(self.db.clone(), clock, config, subscription.handlers());
        Worker(tokio::spawn(runner.run(CancellationToken::new())))
    }

    /// Creates a task and waits for its end.
    pub(crate) async fn run(&self, subscription: &Subscription, rule_id: &str) -> Ended {
        let task_id = subscription.create_task(&self.ctx, INSTANCE, rule_id).await.expect("task");
        self.end_of(subscription, &task_id).await
    }

    pub(crate) async fn end_of(&self, subscription: &Subscription, task_id: &str) -> Ended {
        self.end_in(subscription, INSTANCE, task_id).await
    }

    pub(crate) async fn end_in(
        &self,
        subscription: &Subscription,
        instance_id: &str,
        task_id: &str,
    ) -> Ended {
        for _ in 0..1200 {
            let task = subscription.get_task(&self.ctx, instance_id, task_id).await.expect("task");
            if task.status.is_finished() {
                let page = Page::new(1, 100);
                let results = subscription.task_results(&self.ctx, instance_id, task_id, page);
                let log =
                    subscription.task_log(&self.ctx, instance_id, task_id, Page::new(1, 1000));
                let (rows, total) = results.await.expect("results");
                assert_eq!(i64::try_from(rows.len()), Ok(total));
                let log = log.await.expect("log").0.into_iter().map(|line| line.message).collect();
                return Ended { task, rows, log };
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("task {task_id} does not end");
    }

    /// The digest behind a tag of the target, after every blob below it was read back and found
    /// to be the bytes of its digest.
    pub(crate) async fn pulled(&self, repository: &Repository, tag: &str) -> Option<Digest> {
        let reference: Reference = tag.parse().expect(tag);
        let manifests = self.artifacts.manifests();
        let top = manifests.get(&repository.repo_id, &reference).await.ok()?;
        let mut open = vec![(top.media_type.clone(), top.content.clone())];
        while let Some((media_type, content)) = open.pop() {
            let view =
                berth_oci::ManifestView::parse(Some(&media_type), &content).expect("manifest");
            for blob in view.blobs() {
                self.read_back(repository, &blob.digest).await;
            }
            for child in view.manifests {
                let reference = Reference::Digest(child.digest);
                let child = manifests.get(&repository.repo_id, &reference).await.expect("child");
                open.push((child.media_type, child.content));
            }
        }
        Some(top.digest)
    }

    async fn read_back(&self, repository: &Repository, digest: &Digest) {
        use futures::TryStreamExt as _;
        let blobs = self.artifacts.blobs();
        let blob = blobs.stat(&repository.repo_id, digest).await.expect("stat").expect("blob");
        let size = u64::try_from(blob.size).expect("size");
        let stream = blobs.read(&blob, 0..size).await.expect("read");
        let chunks: Vec<bytes::Bytes> = stream.try_collect().await.expect("bytes");
        assert_eq!(Digest::sha256(&chunks.concat()), *digest);
    }
}

async fn create_repository(artifacts: &Artifacts, ctx: &Ctx, name: &str) -> Repository {
    let new = NewRepository {
        namespace_name: "team".to_owned(),
        name: name.to_owned(),
        ..NewRepository::default()
    };
    artifacts.repositories().create(ctx, INSTANCE, new).await.expect("repository")
}

/// Dies with its handle, in the middle of whatever it does.
pub(crate) struct Worker(JoinHandle<()>);

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A task that is over.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) task: SubscriptionTaskView,
    pub(crate) rows: Vec<ResultRow>,
    pub(crate) log: Vec<String>,
}

impl Ended {
    pub(crate) fn row(&self, tag: &str) -> &ResultRow {
        self.rows.iter().find(|row| row.tag == tag).expect(tag)
    }

    pub(crate) fn tags(&self) -> Vec<&str> {
        self.rows.iter().map(|row| row.tag.as_str()).collect()
    }

    /// Result and message of the run.
    pub(crate) fn said(&self) -> (&str, &str) {
        (self.task.result.as_deref().unwrap_or(""), self.task.message.as_deref().unwrap_or(""))
    }

    pub(crate) fn logged(&self, part: &str) -> bool {
        self.log.iter().any(|line| line.contains(part))
    }
}

/// An upstream with the repository `source/app`.
#[derive(Clone)]
pub(crate) struct Upstream(Arc<DockerRegistry>);

impl Upstream {
    pub(crate) const REPOSITORY: &'static str = "source/app";

    pub(crate) async fn start() -> Self {
        let start = tokio::task::spawn_blocking(DockerRegistry::start);
        Self(Arc::new(start.await.expect("docker-registry")))
    }

    pub(crate) fn host(&self) -> String {
        self.0.host()
    }

    /// A rule that takes the `count` newest tags of this upstream into `team/app`.
    pub(crate) fn rule(&self, pattern: &str, count: i64) -> NewSubscriptionRule {
        rule_from(&format!("http://{}", self.host()), pattern, count)
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Registry) -> T + Send + 'static,
    ) -> T {
        let upstream = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&upstream.registry())).await.expect("upstream")
    }

    /// Pushes an image whose layers are the given bytes; gives the digest of its manifest.
    pub(crate) async fn image(&self, tag: &str, created: &str, layers: &[Vec<u8>]) -> String {
        let (tag, created, layers) = (tag.to_owned(), created.to_owned(), layers.to_vec());
        self.with(move |registry| push_image(registry, &tag, &created, &layers)).await
    }

    /// Pushes an index with an image per platform, and an attestation for each.
    pub(crate) async fn index(&self, tag: &str, platforms: &[&str]) -> String {
        let tag = tag.to_owned();
        let platforms: Vec<String> = platforms.iter().map(|one| (*one).to_owned()).collect();
        self.with(move |registry| push_index(registry, &tag, &platforms)).await
    }

    pub(crate) async fn lose(&self, content: &[u8]) {
        let (upstream, digest) = (Arc::clone(&self.0), sha256(content));
        let lose = tokio::task::spawn_blocking(move || upstream.lose_blob(&digest));
        lose.await.expect("lost");
    }
}

pub(crate) fn rule_from(domain: &str, pattern: &str, count: i64) -> NewSubscriptionRule {
    NewSubscriptionRule {
        namespace_name: "team".to_owned(),
        repo_name: "app".to_owned(),
        source_provider: "CUSTOM".to_owned(),
        source_domain: Some(domain.to_owned()),
        source_namespace_name: Some("source".to_owned()),
        source_repo_name: "app".to_owned(),
        platforms: vec!["*/*".to_owned()],
        tag_regexp: pattern.to_owned(),
        tag_count: count,
        override_tags: true,
        accelerate: false,
        index_mode: None,
        referrers: None,
    }
}

fn push_image(registry: &Registry, tag: &str, created: &str, layers: &[Vec<u8>]) -> String {
    let repository = Upstream::REPOSITORY;
    let config = format!(r#"{{"os":"linux","architecture":"amd64","created":"{created}"}}"#);
    let descriptor = |media_type: &str, content: &[u8]| {
        let digest = registry.push_blob(repository, content).expect("blob");
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}}}"#, content.len())
    };
    let config = descriptor(media_type::OCI_CONFIG, config.as_bytes());
    let layers: Vec<String> =
        layers.iter().map(|layer| descriptor(media_type::OCI_LAYER_GZIP, layer)).collect();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{config},"layers":[{}]}}"#,
        media_type::OCI_MANIFEST,
        layers.join(",")
    );
    let reference = if tag.is_empty() { sha256(manifest.as_bytes()) } else { tag.to_owned() };
    registry
        .push_manifest(repository, &reference, media_type::OCI_MANIFEST, manifest.as_bytes())
        .expect("manifest")
}

fn push_index(registry: &Registry, tag: &str, platforms: &[String]) -> String {
    let mut children = Vec::new();
    for platform in platforms {
        let (os, architecture) = platform.split_once('/').expect(platform);
        let layer = format!("{tag} for {platform}").into_bytes();
        let image = push_image(registry, "", "2024-01-01T00:00:00Z", &[layer]);
        let proof = format!("attestation of {platform}").into_bytes();
        let attestation = push_image(registry, "", "2024-01-01T00:00:00Z", &[proof]);
        let size = |digest: &str| {
            registry.manifest(Upstream::REPOSITORY, digest).expect("child").body.len()
        };
        children.push(format!(
            r#"{{"mediaType":"{}","digest":"{image}","size":{},
            "platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#,
            media_type::OCI_MANIFEST,
            size(&image)
        ));
        children.push(format!(
            r#"{{"mediaType":"{}","digest":"{attestation}","size":{},
            "annotations":{{"vnd.docker.reference.type":"attestation-manifest",
            "vnd.docker.reference.digest":"{image}"}},
            "platform":{{"os":"unknown","architecture":"unknown"}}}}"#,
            media_type::OCI_MANIFEST,
            size(&attestation)
        ));
    }
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#,
        media_type::OCI_INDEX,
        children.join(",")
    );
    registry
        .push_manifest(Upstream::REPOSITORY, tag, media_type::OCI_INDEX, index.as_bytes())
        .expect("index")
}
