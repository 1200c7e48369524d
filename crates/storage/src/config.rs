//! Which store, and where.

use std::path::Path;
use std::sync::Arc;

use berth_types::Secret;
use serde::{Deserialize, Serialize};

use crate::{BlobStore, FolderStore, MemoryStore, S3Store, StorageError, StorageErrorKind};

/// Where objects are kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// `file:/folder`, `s3://bucket/prefix` or `memory:`.
    pub url: String,
    /// Address of an S3 service that is not AWS, such as `https://oss-cn-hangzhou.aliyuncs.com`.
    pub endpoint: Option<String>,
    /// Region of the bucket.
    pub region: Option<String>,
    /// Without a key pair, the `AWS_…` variables and the machine's role are used.
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<Secret>,
    /// Lets the endpoint be `http://`.
    pub allow_http: bool,
    /// `endpoint/bucket/key` in place of `bucket.endpoint/key`, as MinIO wants it (OSS does not).
    pub path_style: bool,
}

/// Opens the store of the URL.
///
/// # Errors
/// Other for a URL or setting that makes no sense, Io when the folder cannot be made.
pub async fn open(config: &StorageConfig) -> Result<Arc<dyn BlobStore>, StorageError> {
    if let Some(folder) = config.url.strip_prefix("file:") {
        let folder = folder.strip_prefix("//").unwrap_or(folder);
        if folder.is_empty() {
            return Err(unusable(&config.url, "it names no folder"));
        }
        return Ok(Arc::new(FolderStore::open(Path::new(folder)).await?));
    }
    if config.url.starts_with("s3://") {
        return Ok(Arc::new(S3Store::open(config)?));
    }
    if config.url == "memory:" {
        return Ok(Arc::new(MemoryStore::default()));
    }
    Err(unusable(&config.url, "use file:/folder, s3://bucket/prefix or memory:"))
}

pub(crate) fn unusable(url: &str, reason: &str) -> StorageError {
    let message = format!("storage URL `{url}` cannot be used: {reason}");
    StorageError::new(StorageErrorKind::Other, message)
}
