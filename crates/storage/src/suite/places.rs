//! The places that the suite runs on.

use std::sync::Arc;

use berth_types::Secret;
use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use tempfile::TempDir;

use super::s3_server::S3Server;
use crate::{BlobStore, MemoryStore, StorageConfig, open};

/// Somewhere to store, opened as often as a test likes: every store is like another process.
pub(crate) enum Place {
    Folder(TempDir),
    Memory(MemoryStore),
    S3 { config: StorageConfig, _server: Option<S3Server> },
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

pub(crate) async fn oss() -> Place {
    let server = S3Server::start().await;
    let config = StorageConfig {
        url: format!("s3://{}/some/prefix", S3Server::BUCKET),
        endpoint: Some(server.endpoint.clone()),
        region: Some("us-east-1".to_owned()),
        access_key_id: Some(S3Server::ACCESS_KEY_ID.to_owned()),
        secret_access_key: Some(Secret::new(S3Server::SECRET_ACCESS_KEY)),
        allow_http: true,
        path_style: true,
    };
    Place::S3 { config, _server: Some(server) }
}

pub(crate) fn minio() -> Place {
    let bucket = berth_testkit::s3::fresh_bucket();
    let config = StorageConfig {
        url: format!("s3://{}", bucket.bucket),
        endpoint: Some(bucket.endpoint),
        region: Some(bucket.region),
        access_key_id: Some(bucket.access_key_id),
        secret_access_key: Some(Secret::new(bucket.secret_access_key)),
        allow_http: true,
        path_style: true,
    };
    Place::S3 { config, _server: None }
}
