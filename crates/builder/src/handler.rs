//! The work of one build task.

use std::sync::Arc;

use async_trait::async_trait;
use berth_artifacts::{ManifestPush, PushOptions, Repository};
use berth_formats::overlaybd::{Algorithm, Cancel, Limits, Options};
use berth_metadata::Session;
use berth_metadata::tables::artifact_build_task;
use berth_tasks::{Handler, StopReason, TaskFailure, TaskHandle};
use berth_types::{Ctx, Digest, Reference, Tag};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::builder::Builder;
use crate::image::{ConvertError, ConvertedImage, Settings, convert_image};
use crate::parameters::BuildType;
use crate::store::TaskStore;
use crate::target::{accelerated_tag, containerd_accelerated_tag};
use crate::unavailable::is_unavailable;

/// The kind of build tasks in the task engine.
pub(crate) const KIND: &str = "build";

/// What a build task is enqueued with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BuildPayload {
    pub(crate) instance_id: String,
    pub(crate) repo_id: String,
    pub(crate) source_tag: String,
    pub(crate) source_digest: Digest,
    pub(crate) build_type: BuildType,
}

pub(crate) struct BuildHandler {
    builder: Builder,
}

impl BuildHandler {
    pub(crate) fn new(builder: Builder) -> Self {
        Self { builder }
    }
}

#[async_trait]
impl Handler for BuildHandler {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn run(&self, task: &TaskHandle) -> Result<(), TaskFailure> {
        let payload: BuildPayload = task.payload()?;
        let build = Build { builder: &self.builder, task, payload: &payload };
        build.run().await
    }
}

/// The tags of a build: known to be valid before anything is converted.
struct Tags {
    source: Tag,
    accelerated: Tag,
    containerd_accelerated: Tag,
}

impl Tags {
    fn of(source: &str) -> Result<Self, TaskFailure> {
        let parse = |name: String| {
            name.parse::<Tag>().map_err(|_| {
                TaskFailure::Permanent(format!(
                    "the target tag `{name}` is longer than a tag may be"
                ))
            })
        };
        Ok(Self {
            source: parse(source.to_owned())?,
            accelerated: parse(accelerated_tag(source))?,
            containerd_accelerated: parse(containerd_accelerated_tag(source))?,
        })
    }
}

struct Build<'a> {
    builder: &'a Builder,
    task: &'a TaskHandle,
    payload: &'a BuildPayload,
}

impl Build<'_> {
    async fn run(&self) -> Result<(), TaskFailure> {
        let (task, payload) = (self.task, self.payload);
        task.log("Start Build").await;
        task.log(format!(
            "Source {}:{} {}, attempt {}",
            payload.repo_id,
            payload.source_tag,
            payload.source_digest,
            task.attempt()
        ))
        .await;
        let (repository, source) = {
            let artifacts = self.builder.artifacts();
            let reference = Reference::Digest(payload.source_digest.clone());
            let mut session = self.builder.db().read().await?;
            let repository =
                artifacts.repositories().find_by_id_in(&mut session, &payload.repo_id).await?;
            let source =
                artifacts.manifests().find_in(&mut session, &payload.repo_id, &reference).await?;
            (repository, source)
        };
        let (Some(repository), Some(source)) = (repository, source) else {
            return Err(TaskFailure::Permanent(format!(
                "the source manifest {} was deleted before it was built",
                payload.source_digest
            )));
        };
        let tags = Tags::of(&payload.source_tag)?;
        let store = Arc::new(TaskStore::new(self.builder.clone(), task.clone(), repository));
        let outcome = match self.convert(&store, source.media_type, source.content).await {
            Ok(converted) => self.publish(&converted, tags).await,
            Err(error) => Err(error),
        };
        match &outcome {
            Err(TaskFailure::Permanent(_)) => store.discard().await,
            Err(TaskFailure::Canceled)
                if task.stop_reason() == Some(StopReason::CancelRequested) =>
            {
                store.discard().await;
            }
            _ => {}
        }
        outcome
    }

    async fn convert(
        &self,
        store: &Arc<TaskStore>,
        media_type: String,
        content: Vec<u8>,
    ) -> Result<ConvertedImage, TaskFailure> {
        let cancel = Cancel::new();
        let watcher = tokio::spawn({
            let (stop, cancel) = (self.task.cancelled(), cancel.clone());
            async move {
                stop.cancelled().await;
                cancel.cancel();
            }
        });
        let (store, builder) = (Arc::clone(store), self.builder.clone());
        let work = tokio::task::spawn_blocking(move || {
            let config = builder.config();
            let folder =
                builder.scratch().build_folder().map_err(|error| match is_unavailable(&error) {
                    true => ConvertError::Unavailable(format!("scratch folder: {error}")),
                    false => ConvertError::Transient(format!("scratch folder: {error}")),
                })?;
            let settings = Settings {
                options: Options {
                    algorithm: Algorithm::Lz4,
                    block_size: 4096,
                    virtual_size: config.virtual_size,
                    ..Options::default()
                },
                limits: Limits {
                    inflated: config.max_layer_bytes,
                    entries: config.max_layer_entries,
                    window: config.max_zstd_window,
                },
                threads: config.threads,
                folder: folder.path(),
                cancel: &cancel,
            };
            convert_image(store.as_ref(), &media_type, &content, &settings)
        });
        let converted = work.await;
        watcher.abort();
        if !matches!(converted, Ok(Ok(_))) {
            self.task.check()?;
        }
        match converted {
            Ok(Ok(converted)) => Ok(converted),
            Ok(Err(ConvertError::Canceled)) => Err(TaskFailure::Canceled),
            Ok(Err(ConvertError::Unavailable(reason))) => Err(TaskFailure::unavailable(reason)),
            Ok(Err(ConvertError::Transient(reason))) => Err(TaskFailure::Transient(reason)),
            Ok(Err(ConvertError::Broken(reason))) => Err(TaskFailure::Permanent(reason)),
            Err(panic) => Err(TaskFailure::Permanent(format!("the converter failed: {panic}"))),
        }
    }

    /// Writes manifests, tags and the end of the task in one fenced transaction.
    async fn publish(&self, converted: &ConvertedImage, tags: Tags) -> Result<(), TaskFailure> {
        let (task, payload) = (self.task, self.payload);
        task.log(format!(
            "Target {} {}: {} layers, {} bytes",
            tags.accelerated, converted.root.digest, converted.layer_count, converted.size
        ))
        .await;
        let mut session = task.fenced().await?;
        let repository = self.still_wanted(&mut session, &tags.source).await?;
        let ctx = Ctx::system("");
        let artifacts = self.builder.artifacts();
        for layer in &converted.layers {
            let linked = artifacts.blobs().link_in(&mut session, &payload.repo_id, layer).await;
            linked.map_err(|error| match is_unavailable(&error) {
                true => TaskFailure::unavailable(error),
                false => TaskFailure::Transient(format!("layer {layer}: {error}")),
            })?;
        }
        for child in &converted.children {
            let options = PushOptions::default();
            let reference = Reference::Digest(child.digest.clone());
            let body = Bytes::from(child.bytes.clone());
            artifacts
                .manifests()
                .push_in(
                    &mut session,
                    &ctx,
                    ManifestPush {
                        repository: &repository,
                        reference: &reference,
                        content_type: Some(&child.media_type),
                        body,
                        options,
                    },
                )
                .await
                .map_err(push_failure)?;
        }
        let root = &converted.root;
        let reference = Reference::Tag(tags.accelerated);
        let options = PushOptions {
            extra_tags: vec![tags.containerd_accelerated],
            derived_from: Some(tags.source),
            override_immutable: true,
        };
        let body = Bytes::from(root.bytes.clone());
        artifacts
            .manifests()
            .push_in(
                &mut session,
                &ctx,
                ManifestPush {
                    repository: &repository,
                    reference: &reference,
                    content_type: Some(&root.media_type),
                    body,
                    options,
                },
            )
            .await
            .map_err(push_failure)?;
        let size = i64::try_from(converted.size).unwrap_or(i64::MAX);
        let layers = i64::try_from(converted.layer_count).unwrap_or(i64::MAX);
        artifact_build_task::set_target(&mut session, task.id(), &root.digest, size, layers)
            .await?;
        task.log("Build Success").await;
        task.complete(session).await
    }

    /// The repository, if the source tag still names what was built: an older build that ends late
    /// must not take the tags of a newer one.
    async fn still_wanted(
        &self,
        session: &mut Session,
        source_tag: &Tag,
    ) -> Result<Repository, TaskFailure> {
        let payload = self.payload;
        let gone = |what: &str| TaskFailure::Permanent(format!("{what} while it was being built"));
        let artifacts = self.builder.artifacts();
        let repository = artifacts
            .repositories()
            .find_by_id_in(session, &payload.repo_id)
            .await?
            .ok_or_else(|| gone("the repository was deleted"))?;
        let current = artifacts
            .tags()
            .find_in(session, &payload.repo_id, source_tag)
            .await?
            .ok_or_else(|| gone(&format!("tag {source_tag} was deleted")))?;
        if current == payload.source_digest {
            Ok(repository)
        } else {
            Err(gone(&format!("tag {source_tag} moved to {current}")))
        }
    }
}

fn push_failure(error: berth_artifacts::ArtifactError) -> TaskFailure {
    match error {
        berth_artifacts::ArtifactError::Database(error) => error.into(),
        error if is_unavailable(&error) => TaskFailure::unavailable(error),
        other => TaskFailure::Permanent(format!("the target manifest was refused: {other}")),
    }
}
