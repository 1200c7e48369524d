//! A place with database, store and instance.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use berth_artifacts::{
    ArtifactError, Artifacts, Namespace, PushListener, PushOptions, Pushed, Repository, TagPush,
};
use berth_metadata::tables::{account, instance, setting};
use berth_metadata::{Access, Db, DbOptions, Session, args};
use berth_storage::StorageConfig;
use berth_testkit::s3::S3Config;
use berth_types::{Ctx, Digest, Identity, Reference, Secret, SystemClock};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStoreExt as _, PutPayload};
use tempfile::TempDir;

pub(crate) const INSTANCE: &str = "cri-0000000000000000";

/// Runs each test function on both engines.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::support::Place::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::support::Place::postgres().await).await;
            })*
        }
    };
}
pub(crate) use on_both_engines;

/// Runs each test function on both engines, with a folder of blobs and with a bucket of them.
macro_rules! on_every_store {
    ($($name:ident),* $(,)?) => {
        crate::support::on_both_engines!($($name),*);
        mod sqlite_and_bucket {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::support::Place::sqlite_and_bucket().await).await;
            })*
        }
        mod postgres_and_bucket {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::support::Place::postgres_and_bucket().await).await;
            })*
        }
    };
}
pub(crate) use on_every_store;

pub(crate) struct Place {
    pub(crate) artifacts: Artifacts,
    pub(crate) ctx: Ctx,
    url: String,
    folder: TempDir,
    /// Where the blobs are, when not in the folder.
    bucket: Option<S3Config>,
}

impl Place {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let url = format!("sqlite:{}", folder.path().join("berth.db").display());
        Self::new(url, folder, None).await
    }

    pub(crate) async fn sqlite_and_bucket() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let url = format!("sqlite:{}", folder.path().join("berth.db").display());
        Self::new(url, folder, Some(berth_testkit::s3::fresh_bucket())).await
    }

    pub(crate) async fn postgres_and_bucket() -> Self {
        let url = tokio::task::spawn_blocking(berth_testkit::postgres::fresh_database)
            .await
            .expect("PostgreSQL");
        let bucket = Some(berth_testkit::s3::fresh_bucket());
        Self::new(url, tempfile::tempdir().expect("folder"), bucket).await
    }

    pub(crate) async fn postgres() -> Self {
        let url = tokio::task::spawn_blocking(berth_testkit::postgres::fresh_database)
            .await
            .expect("PostgreSQL");
        Self::new(url, tempfile::tempdir().expect("folder"), None).await
    }

    async fn new(url: String, folder: TempDir, bucket: Option<S3Config>) -> Self {
        let artifacts = open(&url, &folder, bucket.as_ref()).await;
        let mut session = artifacts.db.begin().await.expect("begin");
        let account =
            account::Account { account_id: "1".to_owned(), name: "root".to_owned(), created_at: 1 };
        account::insert(&mut session, &account).await.expect("account");
        for (id, name) in [(INSTANCE, "default"), ("cri-1111111111111111", "second")] {
            let row = instance::Instance {
                instance_id: id.to_owned(),
                account_id: "1".to_owned(),
                name: name.to_owned(),
                region: "local".to_owned(),
                specification: String::new(),
                status: "RUNNING".to_owned(),
                created_at: 1,
                modified_at: 1,
            };
            instance::insert(&mut session, &row).await.expect("instance");
        }
        setting::put(&mut session, "default_instance_id", INSTANCE).await.expect("setting");
        session.commit().await.expect("commit");
        let identity = Identity::root("1", "key");
        Self { artifacts, ctx: Ctx::new(identity, "REQUEST".to_owned()), url, folder, bucket }
    }

    /// As a server has it: on SQLite, where nobody else may write.
    pub(crate) async fn alone(mut self) -> Self {
        self.artifacts.db.close().await;
        let options = DbOptions { access: Access::SoleWriter, ..DbOptions::default() };
        let db = Db::open_with(&self.url, options).await.expect("nobody else has it open");
        let store = Arc::clone(&self.artifacts.store);
        self.artifacts = Artifacts::new(db, store, Arc::new(SystemClock));
        self
    }

    /// What a restarted process sees.
    pub(crate) async fn restarted(&self) -> Artifacts {
        open(&self.url, &self.folder, self.bucket.as_ref()).await
    }

    /// Writes other bytes into an object behind the store's back.
    pub(crate) async fn overwrite(&self, key: &str, bytes: &[u8]) {
        let Some(bucket) = &self.bucket else {
            let folder = self.objects_folder().expect("the folder of objects");
            let path = folder.join(&key[..4]).join(&key[4..6]).join(key);
            return std::fs::write(path, bytes).expect("overwrite");
        };
        let s3 = AmazonS3Builder::new()
            .with_endpoint(&bucket.endpoint)
            .with_allow_http(true)
            .with_bucket_name(&bucket.bucket)
            .with_region(&bucket.region)
            .with_access_key_id(&bucket.access_key_id)
            .with_secret_access_key(&bucket.secret_access_key)
            .build();
        let path = ObjectPath::from(format!("objects/{key}"));
        let bytes = PutPayload::from(bytes.to_vec());
        s3.expect("a client").put(&path, bytes).await.expect("overwrite");
    }

    /// Where the files of the objects are, when they are files.
    pub(crate) fn objects_folder(&self) -> Option<PathBuf> {
        self.bucket.is_none().then(|| self.path("blobs").join("objects"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) async fn repository(&self, name: &str) -> Repository {
        let name = name.parse().expect("name");
        self.artifacts
            .repositories()
            .resolve_for_push(&self.ctx, INSTANCE, &name)
            .await
            .expect("repository")
    }

    pub(crate) async fn put(&self, repository: &Repository, bytes: &'static [u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let blobs = self.artifacts.blobs();
        let size = Some(bytes.len() as u64);
        blobs.put(&self.ctx, repository, &digest, size, chunks(&[bytes])).await.expect("put");
        digest
    }

    pub(crate) async fn push(
        &self,
        repository: &Repository,
        reference: &str,
        body: &str,
    ) -> Result<Pushed, ArtifactError> {
        self.push_with(repository, reference, None, body, PushOptions::default()).await
    }

    pub(crate) async fn push_with(
        &self,
        repository: &Repository,
        reference: &str,
        content_type: Option<&str>,
        body: &str,
        options: PushOptions,
    ) -> Result<Pushed, ArtifactError> {
        let reference: Reference = reference.parse().expect("reference");
        let body = Bytes::from(body.to_owned());
        let manifests = self.artifacts.manifests();
        manifests.push(&self.ctx, repository, &reference, content_type, body, options).await
    }

    /// The bytes of a blob as the repository serves them.
    pub(crate) async fn bytes(&self, repository: &Repository, digest: &Digest) -> Option<Vec<u8>> {
        let blobs = self.artifacts.blobs();
        let blob = blobs.stat(&repository.repo_id, digest).await.expect("stat")?;
        let size = u64::try_from(blob.size).expect("size");
        let stream = blobs.read(&blob, 0..size).await.expect("read");
        let chunks: Vec<Bytes> = stream.try_collect().await.expect("bytes");
        Some(chunks.concat())
    }

    /// The keys of all objects in the store.
    pub(crate) async fn objects(&self) -> Vec<String> {
        let list = self.artifacts.store.list().await.expect("list");
        list.map_ok(|object| object.key).try_collect().await.expect("objects")
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        let mut session = self.artifacts.db.read().await.expect("read");
        session.fetch_one(sql, args![]).await.expect(sql).int("n").expect("n")
    }
}

async fn open(url: &str, folder: &TempDir, bucket: Option<&S3Config>) -> Artifacts {
    let db = Db::open_with(url, DbOptions { max_connections: 8, ..DbOptions::default() })
        .await
        .expect("database");
    let config = match bucket {
        None => StorageConfig {
            url: format!("file:{}", folder.path().join("blobs").display()),
            ..StorageConfig::default()
        },
        Some(bucket) => StorageConfig {
            url: format!("s3://{}", bucket.bucket),
            endpoint: Some(bucket.endpoint.clone()),
            region: Some(bucket.region.clone()),
            access_key_id: Some(bucket.access_key_id.clone()),
            secret_access_key: Some(Secret::new(bucket.secret_access_key.clone())),
            allow_http: true,
            path_style: true,
        },
    };
    let store = berth_storage::open(&config).await.expect("store");
    Artifacts::new(db, store, Arc::new(SystemClock))
}

/// A client that sends all of it.
pub(crate) fn chunks(
    parts: &[&'static [u8]],
) -> impl Stream<Item = Result<Bytes, String>> + Send + Unpin + 'static {
    let parts: Vec<_> = parts.iter().map(|part| Ok(Bytes::from_static(part))).collect();
    futures::stream::iter(parts)
}

/// A client that goes away after these.
pub(crate) fn broken(
    parts: &[&'static [u8]],
) -> impl Stream<Item = Result<Bytes, String>> + Send + Unpin + 'static {
    chunks(parts).chain(futures::stream::iter([Err("connection reset".to_owned())]))
}

/// Remembers what it hears and fails on request.
#[derive(Default)]
pub(crate) struct Listener {
    pub(crate) pushes: Mutex<Vec<TagPush>>,
    pub(crate) born: Mutex<Vec<String>>,
    pub(crate) gone: Mutex<Vec<String>>,
    pub(crate) refuses: Mutex<Option<String>>,
}

#[async_trait]
impl PushListener for Listener {
    async fn tag_pushed(&self, session: &mut Session, push: &TagPush) -> Result<(), ArtifactError> {
        // Sees what the push wrote, and writes in the same transaction.
        let values = args![&push.repository.repo_id, &push.tag];
        let sql = "SELECT digest FROM tag WHERE repo_id = $1 AND name = $2";
        let row = session.fetch_one(sql, values).await?;
        assert_eq!(row.text("digest")?, push.digest.as_str());
        let values = args![format!("heard {}", push.tag)];
        session.execute("INSERT INTO setting (name, value) VALUES ($1, '')", values).await?;
        if let Some(reason) = self.refuses.lock().expect("lock").clone() {
            return Err(ArtifactError::Listener(reason));
        }
        self.pushes.lock().expect("lock").push(push.clone());
        Ok(())
    }

    async fn repository_created(
        &self,
        _: &mut Session,
        namespace: &Namespace,
        repository: &Repository,
    ) -> Result<(), ArtifactError> {
        if let Some(reason) = self.refuses.lock().expect("lock").clone() {
            return Err(ArtifactError::Listener(reason));
        }
        self.born.lock().expect("lock").push(format!("{}/{}", namespace.name, repository.name));
        Ok(())
    }

    async fn repository_deleted(
        &self,
        _: &mut Session,
        repository: &Repository,
    ) -> Result<(), ArtifactError> {
        self.gone.lock().expect("lock").push(repository.name.clone());
        Ok(())
    }
}
