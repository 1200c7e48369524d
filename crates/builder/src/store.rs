//! The server's own store as a conversion sees it: source and target in one repository.

use std::convert::Infallible;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Mutex;

use berth_artifacts::{ArtifactError, Blob, Repository};
use berth_metadata::tables::converted_layer;
use berth_oci::{Descriptor, MAX_CONFIG_BYTES};
use berth_tasks::TaskHandle;
use berth_types::{Ctx, Digest, Reference};
use bytes::Bytes;
use futures::{TryStreamExt as _, stream};
use tokio::runtime::Handle;

use crate::builder::Builder;
use crate::image::{ConvertedLayer, ImageStore, Progress, StoreError};
use crate::source::BlockingReader;
use crate::target::{Document, TargetLayer};

pub(crate) struct TaskStore {
    builder: Builder,
    task: TaskHandle,
    repository: Repository,
    runtime: Handle,
    /// What this attempt added: chain key (none for a config) and digest.
    added: Mutex<Vec<(Option<String>, Digest)>>,
}

impl TaskStore {
    /// Made inside the runtime, used outside of it.
    pub(crate) fn new(builder: Builder, task: TaskHandle, repository: Repository) -> Self {
        Self { builder, task, repository, runtime: Handle::current(), added: Mutex::default() }
    }

    /// Takes back what this attempt stored, so that a build that ends without a result leaves
    /// nothing behind. What somebody else came to use meanwhile stays.
    pub(crate) async fn discard(&self) {
        let added = self.added.lock().map(|mut added| std::mem::take(&mut *added));
        for (chain, digest) in added.unwrap_or_default() {
            if let Err(error) = self.discard_one(chain.as_deref(), &digest).await {
                tracing::warn!(%digest, %error, "could not take back a blob of an ended build");
            }
        }
    }

    async fn discard_one(&self, chain: Option<&str>, digest: &Digest) -> Result<(), ArtifactError> {
        let artifacts = self.builder.artifacts();
        if let Some(chain) = chain {
            let mut session = self.builder.db().begin().await?;
            converted_layer::delete(&mut session, chain, digest).await?;
            session.commit().await?;
        } else {
            match artifacts.blobs().delete(&Ctx::system(""), &self.repository, digest).await {
                Err(ArtifactError::BlobInUse { .. }) => return Ok(()),
                other => other?,
            }
        }
        artifacts.blobs().discard(digest).await
    }

    fn note_added(&self, chain: Option<&str>, digest: &Digest) {
        if let Ok(mut added) = self.added.lock() {
            added.push((chain.map(str::to_owned), digest.clone()));
        }
    }

    async fn find_blob(&self, digest: &Digest) -> Result<Blob, StoreError> {
        let blobs = self.builder.artifacts().blobs();
        blobs
            .stat(&self.repository.repo_id, digest)
            .await
            .map_err(StoreError::transient)?
            .ok_or_else(|| StoreError::permanent(format!("blob {digest} is not in the repository")))
    }

    async fn store_layer_async(
        &self,
        chain: &str,
        converted: &ConvertedLayer,
        file: &Path,
    ) -> Result<(), StoreError> {
        let layer = &converted.layer;
        let artifacts = self.builder.artifacts();
        artifacts
            .blobs()
            .store_file(&layer.digest, file, layer.size)
            .await
            .map_err(StoreError::transient)?;
        self.note_added(Some(chain), &layer.digest);
        let row = converted_layer::ConvertedLayer {
            chain: chain.to_owned(),
            digest: layer.digest.clone(),
            diff_id: converted.diff_id.clone(),
            size: i64::try_from(layer.size).unwrap_or(i64::MAX),
            created_at: self.builder.now(),
        };
        let mut session = self.task.fenced().await.map_err(StoreError::transient)?;
        converted_layer::insert(&mut session, &row).await.map_err(StoreError::transient)?;
        session.commit().await.map_err(StoreError::transient)
    }

    /// A layer of an earlier build, if its bytes are still there.
    async fn converted_layer_async(
        &self,
        chain: &str,
    ) -> Result<Option<ConvertedLayer>, StoreError> {
        let db = self.builder.db();
        let mut session = db.read().await.map_err(StoreError::transient)?;
        let known =
            converted_layer::find(&mut session, chain).await.map_err(StoreError::transient)?;
        let Some(known) = known else { return Ok(None) };
        drop(session);
        let digest = known.digest;
        let found = self.builder.artifacts().blobs().find_whole(&digest).await;
        let found = found.map_err(StoreError::transient)?.filter(|blob| blob.size == known.size);
        let Some(size) = found.and_then(|blob| u64::try_from(blob.size).ok()) else {
            return Ok(None);
        };
        // From here on the collector leaves it to this build, unless it was faster.
        let mut session = db.begin().await.map_err(StoreError::transient)?;
        let now = self.builder.now();
        let kept = converted_layer::touch(&mut session, chain, &digest, now).await;
        let kept = kept.map_err(StoreError::transient)?;
        session.commit().await.map_err(StoreError::transient)?;
        let layer = TargetLayer { digest, size };
        Ok(kept.then_some(ConvertedLayer { layer, diff_id: known.diff_id }))
    }
}

impl ImageStore for TaskStore {
    fn manifest(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let manifests = self.builder.artifacts().manifests();
        let reference = Reference::Digest(digest.clone());
        match self.runtime.block_on(manifests.get(&self.repository.repo_id, &reference)) {
            Ok(manifest) => Ok(Some(manifest.content.to_vec())),
            Err(ArtifactError::ManifestUnknown(_)) => Ok(None),
            Err(error) => Err(StoreError::transient(error)),
        }
    }

    fn has_layer(&self, layer: &Descriptor) -> Result<bool, StoreError> {
        match self.runtime.block_on(self.find_blob(&layer.digest)) {
            Ok(_) => Ok(true),
            Err(error) if error.transient => Err(error),
            Err(_) => Ok(false),
        }
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, StoreError> {
        self.runtime.block_on(async {
            let blob = self.find_blob(&descriptor.digest).await?;
            if usize::try_from(blob.size).is_ok_and(|size| size > MAX_CONFIG_BYTES) {
                return Err(StoreError::permanent(format!(
                    "config {} has {} bytes; it may have {MAX_CONFIG_BYTES}",
                    blob.digest, blob.size
                )));
            }
            let size = u64::try_from(blob.size).unwrap_or_default();
            let blobs = self.builder.artifacts().blobs();
            let stream = blobs.read(&blob, 0..size).await.map_err(StoreError::transient)?;
            stream
                .try_fold(Vec::new(), |mut bytes, chunk| async move {
                    bytes.extend_from_slice(&chunk);
                    Ok(bytes)
                })
                .await
                .map_err(StoreError::transient)
        })
    }

    fn open_layer(&self, layer: &Descriptor) -> io::Result<Box<dyn Read + Send + '_>> {
        let stream = self.runtime.block_on(async {
            let blob = self.find_blob(&layer.digest).await?;
            let size = u64::try_from(blob.size).unwrap_or_default();
            let blobs = self.builder.artifacts().blobs();
            blobs.read(&blob, 0..size).await.map_err(StoreError::transient)
        });
        let stream = stream.map_err(io::Error::other)?;
        Ok(Box::new(BlockingReader::new(self.runtime.clone(), stream)))
    }

    fn converted_layer(&self, chain: &str) -> Result<Option<ConvertedLayer>, StoreError> {
        self.runtime.block_on(self.converted_layer_async(chain))
    }

    fn store_layer(
        &self,
        chain: &str,
        layer: &ConvertedLayer,
        file: &Path,
    ) -> Result<(), StoreError> {
        self.runtime.block_on(self.store_layer_async(chain, layer, file))
    }

    fn store_config(&self, config: &Document) -> Result<(), StoreError> {
        let body = Bytes::from(config.bytes.clone());
        let size = body.len() as u64;
        let body = stream::iter([Ok::<_, Infallible>(body)]);
        let stored = self.runtime.block_on(self.builder.artifacts().blobs().put(
            &Ctx::system(""),
            &self.repository,
            &config.digest,
            Some(size),
            body,
        ));
        stored.map_err(StoreError::transient)?;
        self.note_added(None, &config.digest);
        Ok(())
    }

    fn log(&self, line: String) {
        self.runtime.block_on(self.task.log(line));
    }

    fn progress(&self, progress: Progress) {
        self.task.progress(serde_json::to_value(progress).unwrap_or_default());
    }
}
