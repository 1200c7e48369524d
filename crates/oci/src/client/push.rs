//! Writing to a registry, monolithically: what the command line needs.

use std::path::PathBuf;

use berth_types::{Digest, Reference};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method};

use super::transport::{Exchange, Payload};
use super::{ClientError, RegistryClient};

/// Where the bytes of a pushed blob come from.
#[derive(Debug, Clone)]
pub enum BlobSource {
    Bytes(Bytes),
    /// A file of exactly `size` bytes.
    File {
        path: PathBuf,
        size: u64,
    },
}

impl RegistryClient {
    /// Pushes a blob unless the registry has it already. Says whether it was sent.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn push_blob(
        &self,
        repository: &str,
        digest: &Digest,
        source: BlobSource,
    ) -> Result<bool, ClientError> {
        let what = &format!("blob {digest}");
        let scope = &push_scope(repository);
        let here = &self.url(repository, &format!("blobs/{digest}"))?;
        let start = &self.url(repository, "blobs/uploads/")?;
        let payload = &match source {
            BlobSource::Bytes(bytes) => Payload::Bytes(bytes),
            BlobSource::File { path, size } => Payload::File { path, size },
        };
        self.retrying(|| async move {
            let head = Exchange::new(Method::HEAD, here.clone(), what);
            match self.send(head, scope).await {
                Ok(_) => return Ok(false),
                Err(ClientError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
            let mut post = Exchange::new(Method::POST, start.clone(), what);
            post.payload = Some(Payload::Bytes(Bytes::new()));
            let reply = self.send(post, scope).await?;
            let location = reply.header(LOCATION).unwrap_or_default();
            let mut target = self.on_base(start, location, what)?;
            target.query_pairs_mut().append_pair("digest", digest.as_str());
            let mut put = Exchange::new(Method::PUT, target, what);
            put.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            put.payload = Some(payload.clone());
            self.send(put, scope).await?;
            Ok(true)
        })
        .await
    }

    /// Pushes a manifest under a tag or its digest; its bytes go as they are.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn push_manifest(
        &self,
        repository: &str,
        reference: &Reference,
        media_type: &str,
        body: Bytes,
    ) -> Result<Digest, ClientError> {
        let what = &format!("manifest {reference}");
        let scope = &push_scope(repository);
        let url = &self.url(repository, &format!("manifests/{reference}"))?;
        let content_type = &HeaderValue::from_str(media_type).map_err(|error| {
            ClientError::Protocol { what: what.clone(), reason: error.to_string() }
        })?;
        let body = &body;
        self.retrying(|| async move {
            let mut put = Exchange::new(Method::PUT, url.clone(), what);
            put.headers.insert(CONTENT_TYPE, content_type.clone());
            put.payload = Some(Payload::Bytes(body.clone()));
            self.send(put, scope).await.map(drop)
        })
        .await?;
        Ok(match reference {
            Reference::Digest(digest) => digest.clone(),
            Reference::Tag(_) => Digest::sha256(body),
        })
    }
}

fn push_scope(repository: &str) -> String {
    format!("repository:{repository}:pull,push")
}
