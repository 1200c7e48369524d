//! Objects in a bucket of S3 or a service that speaks it (OSS, MinIO, …).
//!
//! Objects are `prefix/objects/<key>`. A partial object is a multipart upload; what is too small to
//! be a part is kept on sync as objects `prefix/partial/<group>/<name>`. No conditional requests, no
//! bulk deletes, no chunked signatures, no copies: OSS refuses them or limits their size.
//!
//! Several processes may resume one checkpoint. Each that goes on with a multipart upload is given part
//! numbers of its own, so that none writes over a part that another has stored; the numbers of the
//! parts therefore have gaps.

mod flight;
mod import;
mod parts;
mod requests;
mod sweep;
mod tails;
mod upload;

use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use http::Method;
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::client::{HttpClient, HttpConnector as _, ReqwestConnector};
use object_store::path::Path;
use object_store::signer::Signer as _;
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectMeta, ObjectStore as _, ObjectStoreExt as _,
    RetryConfig,
};
use url::Url;

use crate::config::unusable;
use crate::partial::{Live as PartialLive, State as PartialState};
use crate::{
    BlobStore, ByteStream, Object, ObjectStat, PartialObject, StorageConfig, StorageError,
    StorageErrorKind, Stored, key,
};
pub use parts::MOST_BETWEEN_SYNCS;
pub(crate) use parts::{Live, State};

/// See the module.
#[derive(Clone)]
pub struct S3Store(Arc<Bucket>);

struct Bucket {
    s3: AmazonS3,
    /// For what the client above has no method for.
    http: HttpClient,
    prefix: Path,
}

impl S3Store {
    /// A store in the bucket of an `s3://bucket/prefix` URL; nothing is sent yet.
    pub fn open(config: &StorageConfig) -> Result<Self, StorageError> {
        let refused = |reason: &str| unusable(&config.url, reason);
        let url = Url::parse(&config.url).map_err(|error| refused(&error.to_string()))?;
        let bucket = url.host_str().ok_or_else(|| refused("it names no bucket"))?;
        let prefix =
            Path::from_url_path(url.path()).map_err(|error| refused(&error.to_string()))?;
        let client = ClientOptions::new()
            .with_allow_http(config.allow_http)
            // A large object may be read for as long as its reader wants; silence may not last.
            .with_timeout_disabled()
            .with_read_timeout(Duration::from_secs(300))
            .with_connect_timeout(Duration::from_secs(10));
        let http = ReqwestConnector::default().connect(&client);
        let http = http.map_err(|error| refused(&error.to_string()))?;
        let mut builder = AmazonS3Builder::from_env()
            .with_client_options(client)
            // `SlowDown`, other answers of 5xx and 429, and lost connections, with growing pauses.
            .with_retry(RetryConfig::default())
            .with_bucket_name(bucket)
            .with_virtual_hosted_style_request(!config.path_style)
            .with_conditional_put(S3ConditionalPut::Disabled)
            .with_disable_bulk_delete(true)
            .with_disable_tagging(true);
        if let Some(region) = &config.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint_of(endpoint, bucket, config.path_style)?);
        }
        match (&config.access_key_id, &config.secret_access_key) {
            (Some(id), Some(secret)) => {
                builder = builder.with_access_key_id(id).with_secret_access_key(secret.expose());
            }
            (None, None) => {}
            _ => return Err(refused("an access key needs both its id and its secret")),
        }
        let s3 = builder.build().map_err(|error| refused(&error.to_string()))?;
        Ok(Self(Arc::new(Bucket { s3, http, prefix })))
    }
}

/// The endpoint as the client wants it: with virtual hosts, the bucket is part of the host name.
fn endpoint_of(endpoint: &str, bucket: &str, path_style: bool) -> Result<String, StorageError> {
    let refused = |reason: &str| unusable(endpoint, reason);
    let mut url = Url::parse(endpoint).map_err(|error| refused(&error.to_string()))?;
    if !path_style {
        let host = url.host_str().ok_or_else(|| refused("it has no host"))?;
        let host = match host.strip_prefix(bucket) {
            Some(rest) if rest.starts_with('.') => host.to_owned(),
            _ => format!("{bucket}.{host}"),
        };
        url.set_host(Some(&host)).map_err(|error| refused(&error.to_string()))?;
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

impl Bucket {
    fn object(&self, key: &str) -> Result<Path, StorageError> {
        key::check(key)?;
        Ok(self.objects().join(key))
    }

    /// The folder of all objects.
    fn objects(&self) -> Path {
        self.prefix.clone().join("objects")
    }

    /// The object, when there is one.
    async fn found(&self, key: &str) -> Result<Option<Stored>, StorageError> {
        match self.stat(key).await {
            Ok(ObjectStat { size, stamp }) => Ok(Some(Stored { key: key.to_owned(), size, stamp })),
            Err(error) if error.kind() == StorageErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn stat(&self, key: &str) -> Result<ObjectStat, StorageError> {
        let head = self.s3.head(&self.object(key)?).await;
        let meta = head.map_err(|error| StorageError::remote(&format!("find {key}"), error))?;
        Ok(ObjectStat { size: meta.size, stamp: stamp_of(&meta) })
    }

    /// The stamp of an object whose writing was answered with this entity tag.
    async fn stamp(&self, key: &str, e_tag: Option<String>) -> Result<String, StorageError> {
        match e_tag {
            Some(e_tag) => Ok(bare(&e_tag)),
            None => Ok(self.stat(key).await?.stamp),
        }
    }

    async fn remove(&self, path: &Path) -> Result<(), StorageError> {
        match self.s3.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StorageError::remote(&format!("remove {path}"), error)),
        }
    }

    async fn read(
        &self,
        key: &str,
        range: Range<u64>,
        stamp: Option<&str>,
    ) -> Result<ByteStream, StorageError> {
        if range.start >= range.end {
            let ObjectStat { size, stamp: actual } = self.stat(key).await?;
            unchanged(key, &actual, stamp)?;
            if range.start > range.end || range.end > size {
                return Err(StorageError::range(key, &range, size));
            }
            return Ok(ByteStream::new(stream::empty()));
        }
        let bounded = GetRange::Bounded(range.clone());
        let options = GetOptions { range: Some(bounded), ..GetOptions::default() };
        let answer = match self.s3.get_opts(&self.object(key)?, options).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.explain(key, &range, stamp, error).await),
        };
        unchanged(key, &stamp_of(&answer.meta), stamp)?;
        if answer.range != range {
            return Err(StorageError::range(key, &range, answer.meta.size));
        }
        let key = key.to_owned();
        let failed = move |error| StorageError::remote(&format!("read object {key}"), error);
        Ok(ByteStream::new(answer.into_stream().map_err(failed)))
    }

    /// Services answer a range beyond the end in several ways, so the object's size decides.
    async fn explain(
        &self,
        key: &str,
        range: &Range<u64>,
        stamp: Option<&str>,
        error: object_store::Error,
    ) -> StorageError {
        let error = StorageError::remote(&format!("read object {key}"), error);
        if error.kind() == StorageErrorKind::NotFound {
            return error;
        }
        let Ok(found) = self.stat(key).await else { return error };
        match unchanged(key, &found.stamp, stamp) {
            Err(changed) => changed,
            Ok(()) if range.end > found.size => StorageError::range(key, range, found.size),
            Ok(()) => error,
        }
    }
}

/// The entity tag without its quotes, which not every answer has; the time for a service that makes
/// no tags.
fn stamp_of(meta: &ObjectMeta) -> String {
    match &meta.e_tag {
        Some(e_tag) => bare(e_tag),
        None => format!("{}-{}", meta.last_modified.timestamp_micros(), meta.size),
    }
}

fn bare(e_tag: &str) -> String {
    e_tag.trim_start_matches("W/").trim_matches('"').to_owned()
}

fn unchanged(key: &str, actual: &str, expected: Option<&str>) -> Result<(), StorageError> {
    match expected {
        Some(expected) if expected != actual => Err(StorageError::changed(key, actual, expected)),
        _ => Ok(()),
    }
}

#[async_trait]
impl BlobStore for S3Store {
    async fn create(&self) -> Result<PartialObject, StorageError> {
        let state = PartialState::S3(State::default());
        Ok(PartialObject { key: key::fresh(), len: 0, state, live: PartialLive::None })
    }

    fn resume(&self, partial: &mut PartialObject) -> bool {
        upload::resume(partial)
    }

    async fn append(&self, partial: &mut PartialObject, data: Bytes) -> Result<(), StorageError> {
        upload::append(&self.0, partial, &data).await
    }

    async fn sync(&self, partial: &mut PartialObject) -> Result<(), StorageError> {
        upload::sync(&self.0, partial).await
    }

    async fn finish(&self, partial: PartialObject) -> Result<Stored, StorageError> {
        upload::finish(&self.0, partial).await
    }

    async fn finished(&self, checkpoint: &PartialObject) -> Result<Option<Stored>, StorageError> {
        upload::finished(&self.0, checkpoint).await
    }

    async fn tidy(&self, checkpoint: &PartialObject) -> Result<(), StorageError> {
        upload::tidy(&self.0, checkpoint).await
    }

    async fn abort(&self, partial: PartialObject) -> Result<(), StorageError> {
        upload::abort(&self.0, partial).await
    }

    async fn import(&self, file: &FilePath, size: u64) -> Result<Stored, StorageError> {
        import::import(&self.0, file, size).await
    }

    async fn read(
        &self,
        key: &str,
        range: Range<u64>,
        stamp: Option<&str>,
    ) -> Result<ByteStream, StorageError> {
        self.0.read(key, range, stamp).await
    }

    async fn stat(&self, key: &str) -> Result<ObjectStat, StorageError> {
        self.0.stat(key).await
    }

    async fn url(&self, key: &str, expires: Duration) -> Result<Option<Url>, StorageError> {
        let path = self.0.object(key)?;
        let url = self.0.s3.signed_url(Method::GET, &path, expires).await;
        url.map(Some).map_err(|error| StorageError::remote(&format!("sign for {path}"), error))
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.0.remove(&self.0.object(key)?).await
    }

    async fn list(&self) -> Result<BoxStream<'static, Result<Object, StorageError>>, StorageError> {
        let folder = self.0.objects();
        let object_of = |found: object_store::Result<object_store::ObjectMeta>| {
            std::future::ready(match found {
                Ok(meta) => {
                    let name = meta.location.filename().unwrap_or_default();
                    key::is_key(name).then(|| {
                        let written = meta.last_modified.timestamp_millis();
                        let modified = written.max(key::time(name));
                        Ok(Object { key: name.to_owned(), size: meta.size, modified })
                    })
                }
                Err(error) => Some(Err(StorageError::remote("list objects", error))),
            })
        };
        Ok(self.0.s3.list(Some(&folder)).filter_map(object_of).boxed())
    }

    async fn sweep(&self, older_than: Duration) -> Result<u64, StorageError> {
        sweep::sweep(&self.0, older_than).await
    }

    async fn ping(&self) -> Result<(), StorageError> {
        let probe = self.0.prefix.clone().join("ping");
        match self.0.s3.head(&probe).await {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StorageError::remote("reach the bucket", error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::endpoint_of;

    #[test]
    fn endpoints() {
        let oss = "https://oss-cn-hangzhou.aliyuncs.com";
        let with_bucket = "https://images.oss-cn-hangzhou.aliyuncs.com";
        assert_eq!(endpoint_of(oss, "images", false).unwrap(), with_bucket);
        assert_eq!(endpoint_of(with_bucket, "images", false).unwrap(), with_bucket);
        let minio = "http://127.0.0.1:9000";
        assert_eq!(endpoint_of(minio, "images", true).unwrap(), minio);
        assert!(endpoint_of("oss", "images", false).is_err());
    }
}
