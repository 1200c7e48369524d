//! A place with database, store and instance.

use std::path::PathBuf;
use std::sync::Arc;

use berth_artifacts::{ArtifactError, ManifestPush, PushOptions, Pushed, Repository};
use berth_metadata::tables::{account, instance, setting};
use berth_metadata::{Access, Db, DbOptions, args};
use berth_storage::StorageConfig;
use berth_testkit::s3::S3Config;
use berth_types::{Ctx, Digest, Identity, Reference, Secret};
use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStoreExt as _, PutPayload};
use tempfile::TempDir;

use crate::{House, chunks};

/// The instance of every place.
pub const INSTANCE: &str = "cri-0000000000000000";

/// An instance with nothing in it, and its services.
pub struct Place {
    pub artifacts: House,
    pub ctx: Ctx,
    url: String,
    folder: TempDir,
    /// Where the blobs are, when not in the folder.
    bucket: Option<S3Config>,
}

impl Place {
    /// SQLite and a folder.
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let url = format!("sqlite:{}", folder.path().join("berth.db").display());
        Self::new(url, folder, None).await
    }

    /// SQLite and a bucket.
    pub async fn sqlite_and_bucket() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let url = format!("sqlite:{}", folder.path().join("berth.db").display());
        Self::new(url, folder, Some(berth_testkit::s3::fresh_bucket())).await
    }

    /// PostgreSQL and a bucket.
    pub async fn postgres_and_bucket() -> Self {
        let url = tokio::task::spawn_blocking(berth_testkit::postgres::fresh_database)
            .await
            .expect("PostgreSQL");
        let bucket = Some(berth_testkit::s3::fresh_bucket());
        Self::new(url, tempfile::tempdir().expect("folder"), bucket).await
    }

    /// PostgreSQL and a folder.
    pub async fn postgres() -> Self {
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
    pub async fn alone(mut self) -> Self {
        self.artifacts.db.close().await;
        let options = DbOptions { access: Access::SoleWriter, ..DbOptions::default() };
        let db = Db::open_with(&self.url, options).await.expect("nobody else has it open");
        let store = Arc::clone(&self.artifacts.store);
        self.artifacts = House::new(db, store);
        self
    }

    /// The database's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What a restarted process sees.
    pub async fn restarted(&self) -> House {
        open(&self.url, &self.folder, self.bucket.as_ref()).await
    }

    /// Writes other bytes into an object behind the store's back.
    pub async fn overwrite(&self, key: &str, bytes: &[u8]) {
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
    pub fn objects_folder(&self) -> Option<PathBuf> {
        self.bucket.is_none().then(|| self.path("blobs").join("objects"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub async fn repository(&self, name: &str) -> Repository {
        let name = name.parse().expect("name");
        self.artifacts
            .repositories()
            .resolve_for_push(&self.ctx, INSTANCE, &name)
            .await
            .expect("repository")
    }

    pub async fn put(&self, repository: &Repository, bytes: &'static [u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let blobs = self.artifacts.blobs();
        let size = Some(bytes.len() as u64);
        blobs.put(&self.ctx, repository, &digest, size, chunks(&[bytes])).await.expect("put");
        digest
    }

    pub async fn push(
        &self,
        repository: &Repository,
        reference: &str,
        body: &str,
    ) -> Result<Pushed, ArtifactError> {
        self.push_with(repository, reference, None, body, PushOptions::default()).await
    }

    pub async fn push_with(
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
        let reference = &reference;
        let push = ManifestPush { repository, reference, content_type, body, options };
        manifests.push(&self.ctx, push).await
    }

    /// The bytes of a blob as the repository serves them.
    pub async fn bytes(&self, repository: &Repository, digest: &Digest) -> Option<Vec<u8>> {
        let blobs = self.artifacts.blobs();
        let blob = blobs.stat(&repository.repo_id, digest).await.expect("stat")?;
        let size = u64::try_from(blob.size).expect("size");
        let stream = blobs.read(&blob, 0..size).await.expect("read");
        let chunks: Vec<Bytes> = stream.try_collect().await.expect("bytes");
        Some(chunks.concat())
    }

    /// The keys of all objects in the store.
    pub async fn objects(&self) -> Vec<String> {
        let list = self.artifacts.store.list().await.expect("list");
        list.map_ok(|object| object.key).try_collect().await.expect("objects")
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        let mut session = self.artifacts.db.read().await.expect("read");
        session.fetch_one(sql, args![]).await.expect(sql).int("n").expect("n")
    }
}

async fn open(url: &str, folder: &TempDir, bucket: Option<&S3Config>) -> House {
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
    House::new(db, berth_storage::open(&config).await.expect("store"))
}
