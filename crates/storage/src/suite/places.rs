//! The places that the suite runs on.

use std::sync::Arc;

use berth_testkit::s3::{MultipartUpload, OssQuirks, S3Config, fresh_bucket};
use berth_types::Secret;
use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use tempfile::TempDir;

use crate::{BlobStore, MemoryStore, StorageConfig, open};

/// Somewhere to store, opened as often as a test likes: every store is like another process.
pub(crate) enum Place {
    Folder(TempDir),
    Memory(MemoryStore),
    S3 { config: Box<StorageConfig>, bucket: Box<S3Config>, proxy: Option<Box<OssQuirks>> },
}

impl Place {
    pub(crate) async fn store(&self) -> Arc<dyn BlobStore> {
        match self {
            Self::Memory(store) => Arc::new(store.clone()),
            Self::Folder(folder) => {
                let url = format!("file:{}", folder.path().join("store").display());
                open(&StorageConfig { url, ..StorageConfig::default() }).await.expect("open")
            }
            Self::S3 { config, .. } => open(config).await.expect("open"),
        }
    }

    /// OSS was asked for nothing that it does not do.
    pub(crate) fn assert_nothing_refused(&self) {
        if let Self::S3 { proxy: Some(proxy), .. } = self {
            assert_eq!(proxy.refused(), Vec::<String>::new());
        }
    }

    /// The proxy of the place, where it has one.
    pub(crate) fn proxy(&self) -> Option<&OssQuirks> {
        match self {
            Self::S3 { proxy, .. } => proxy.as_deref(),
            _ => None,
        }
    }

    /// The multipart uploads that are under way; none where there are no such.
    pub(crate) async fn multipart_uploads(&self) -> Vec<MultipartUpload> {
        let Self::S3 { bucket, .. } = self else { return Vec::new() };
        let bucket = bucket.clone();
        tokio::task::spawn_blocking(move || bucket.multipart_uploads()).await.expect("a list")
    }

    /// What lies in the store beside finished objects.
    pub(crate) async fn unfinished(&self) -> Vec<String> {
        match self {
            Self::Memory(_) => Vec::new(),
            Self::Folder(folder) => {
                let files =
                    std::fs::read_dir(folder.path().join("store/partial")).expect("a folder");
                let name =
                    |file: std::io::Result<std::fs::DirEntry>| file.expect("a file").file_name();
                files.map(|file| name(file).to_string_lossy().into_owned()).collect()
            }
            Self::S3 { config, bucket, .. } => {
                let prefix = url::Url::parse(&config.url).expect("a URL").path().to_owned();
                let prefix = format!("{}/partial/", prefix.trim_start_matches('/'));
                let (bucket, prefix) =
                    (bucket.as_ref().clone(), prefix.trim_start_matches('/').to_owned());
                let tails = tokio::task::spawn_blocking(move || bucket.objects(&prefix));
                let mut all = tails.await.expect("a list");
                let uploads = self.multipart_uploads().await;
                all.extend(uploads.into_iter().map(|upload| upload.key));
                all
            }
        }
    }

    /// Writes other bytes into an object behind the store's back.
    pub(crate) async fn overwrite(&self, key: &str, bytes: &[u8]) {
        match self {
            Self::Memory(store) => store.overwrite(key, Bytes::copy_from_slice(bytes)),
            Self::Folder(folder) => {
                let (era, rest) = key.split_at(4);
                let path = folder.path().join("store/objects").join(era).join(&rest[..2]).join(key);
                std::fs::write(path, bytes).expect("overwrite");
            }
            Self::S3 { config, .. } => {
                let url = url::Url::parse(&config.url).expect("a URL");
                let secret = config.secret_access_key.as_ref().expect("a secret");
                let s3 = AmazonS3Builder::new()
                    .with_endpoint(config.endpoint.clone().expect("an endpoint"))
                    .with_allow_http(true)
                    .with_bucket_name(url.host_str().expect("a bucket"))
                    .with_region(config.region.clone().expect("a region"))
                    .with_access_key_id(config.access_key_id.clone().expect("a key"))
                    .with_secret_access_key(secret.expose())
                    .build();
                let path = Path::from_url_path(url.path()).expect("a prefix");
                let path = path.join("objects").join(key);
                let bytes = PutPayload::from(bytes.to_vec());
                s3.expect("a client").put(&path, bytes).await.expect("overwrite");
            }
        }
    }
}

pub(crate) fn folder() -> Place {
    Place::Folder(tempfile::tempdir().expect("a temporary folder"))
}

pub(crate) fn memory() -> Place {
    Place::Memory(MemoryStore::default())
}

pub(crate) fn oss() -> Place {
    let proxy = OssQuirks::start();
    let config = config(proxy.bucket(), "some/prefix");
    Place::S3 { config, bucket: Box::new(proxy.behind().clone()), proxy: Some(Box::new(proxy)) }
}

pub(crate) fn minio() -> Place {
    let bucket = fresh_bucket();
    Place::S3 { config: config(&bucket, ""), bucket: Box::new(bucket), proxy: None }
}

fn config(bucket: &S3Config, prefix: &str) -> Box<StorageConfig> {
    Box::new(StorageConfig {
        url: format!("s3://{}/{prefix}", bucket.bucket),
        endpoint: Some(bucket.endpoint.clone()),
        region: Some(bucket.region.clone()),
        access_key_id: Some(bucket.access_key_id.clone()),
        secret_access_key: Some(Secret::new(bucket.secret_access_key.clone())),
        allow_http: true,
        path_style: true,
    })
}
