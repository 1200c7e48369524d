//! The copy of one tag: what it names first, the tag last, together with its result row.

mod blob;
mod failure;
mod manifest;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use berth_artifacts::{PushOptions, Repository};
use berth_metadata::tables::artifact_subscription_result::{self, Outcome};
use berth_metadata::tables::tag;
use berth_oci::ManifestView;
use berth_oci::client::RegistryClient;
use berth_tasks::{TASKS_CHANNEL, TaskFailure, TaskHandle};
use berth_types::{Ctx, Digest, Platform, Reference, Tag};
use bytes::Bytes;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use crate::artifact_subscription_rule::SubscriptionRule;
use crate::pattern::TagPattern;
use crate::provider::source_repository;
use crate::subscription::Subscription;
use failure::CopyFailure;

/// What one attempt works with.
pub(crate) struct CopyRun {
    pub(crate) subscription: Subscription,
    pub(crate) task: TaskHandle,
    ctx: Ctx,
    pub(crate) rule: SubscriptionRule,
    pub(crate) pattern: TagPattern,
    platforms: Vec<Platform>,
    pub(crate) client: RegistryClient,
    /// The repository's name at the source.
    pub(crate) source_repository: String,
    /// With the domain, for the log.
    pub(crate) source: String,
    repository: Repository,
    /// Whether faults are final.
    last_attempt: bool,
    downloads: Semaphore,
    /// One download per digest: tags share layers.
    in_progress: Mutex<HashMap<Digest, Arc<AsyncMutex<()>>>>,
    bytes_copied: AtomicU64,
}

/// Where a tag stands after its try.
pub(crate) enum TagEnd {
    /// Its row is COMPLETED.
    Completed,
    /// A fault that may pass; another attempt of the task takes it up.
    Waits(String),
}

/// A manifest to push under a tag.
struct Ready {
    body: Bytes,
    media_type: String,
    /// How it came, for the log.
    summary: String,
}

/// The manifest of a tag as the source has it.
struct Source {
    body: Bytes,
    view: ManifestView,
    /// The repository has this very manifest, and with it all its blobs.
    is_here: bool,
}

impl CopyRun {
    #[expect(clippy::too_many_arguments, reason = "made in one place from checked parts")]
    pub(crate) fn new(
        subscription: Subscription,
        task: TaskHandle,
        ctx: Ctx,
        rule: SubscriptionRule,
        pattern: TagPattern,
        platforms: Vec<Platform>,
        client: RegistryClient,
        repository: Repository,
        last_attempt: bool,
    ) -> Self {
        let source_repository = source_repository(&rule);
        let source = format!("{}/{source_repository}", client.host());
        let downloads = Semaphore::new(subscription.config().blobs_at_once.max(1));
        Self {
            subscription,
            task,
            ctx,
            rule,
            pattern,
            platforms,
            client,
            source_repository,
            source,
            repository,
            last_attempt,
            downloads,
            in_progress: Mutex::default(),
            bytes_copied: AtomicU64::new(0),
        }
    }

    /// Bytes of blobs that this attempt downloaded.
    pub(crate) fn bytes_copied(&self) -> u64 {
        self.bytes_copied.load(Ordering::Relaxed)
    }

    /// Copies one tag and completes its row, in success and in failure.
    ///
    /// # Errors
    /// When the attempt must end: cancelled, lease lost, database away.
    pub(crate) async fn tag(
        &self,
        tag: &Tag,
        known: Option<Digest>,
    ) -> Result<TagEnd, TaskFailure> {
        match self.copy(tag, known).await {
            Ok(()) => {
                metrics::counter!("berth_subscription_tags_total", "result" => "success")
                    .increment(1);
                Ok(TagEnd::Completed)
            }
            Err(CopyFailure::Task(failure)) => Err(failure),
            Err(CopyFailure::Fault(reason)) if !self.last_attempt => {
                self.task.log(format!("{tag}: {reason}; it is tried again")).await;
                let mut session = self.task.fenced().await?;
                artifact_subscription_result::postpone(&mut session, self.task.id(), tag, &reason)
                    .await?;
                session.commit().await?;
                Ok(TagEnd::Waits(format!("{tag}: {reason}")))
            }
            Err(CopyFailure::Fault(reason) | CopyFailure::Tag(reason)) => {
                self.task.log(format!("{tag}: failed: {reason}")).await;
                metrics::counter!("berth_subscription_tags_total", "result" => "failed")
                    .increment(1);
                self.complete(tag, false, &reason, None).await?;
                Ok(TagEnd::Completed)
            }
        }
    }

    async fn copy(&self, tag: &Tag, known: Option<Digest>) -> Result<(), CopyFailure> {
        let mut session = self.subscription.db().read().await?;
        let present = tag::find(&mut session, &self.repository.repo_id, tag).await?;
        drop(session);
        let present = present.map(|present| present.digest);
        if let Some(digest) = present.as_ref().filter(|_| !self.rule.override_tags) {
            return self.skip(tag, digest).await;
        }
        let at_source = match known {
            Some(digest) => Some(digest),
            None => {
                let reference = Reference::Tag(tag.clone());
                self.client.head_manifest(&self.source_repository, &reference).await?.digest
            }
        };
        if let Some(digest) = present.as_ref().filter(|digest| at_source.as_ref() == Some(digest)) {
            return self.unchanged(tag, digest).await;
        }
        let mut session = self.task.fenced().await?;
        let now = self.subscription.now();
        artifact_subscription_result::start(&mut session, self.task.id(), tag, now).await?;
        session.commit().await?;
        let source = self.source_manifest(tag, at_source).await?;
        let ready = self.fetch(source).await?;
        if present.as_ref().is_some_and(|digest| *digest == Digest::sha256(&ready.body)) {
            return self.unchanged(tag, &Digest::sha256(&ready.body)).await;
        }
        self.publish(tag, ready).await
    }

    /// The tag and its row in one transaction that only the holder of the task can commit: a row
    /// says SUCCESS exactly when the tag is there.
    async fn publish(&self, tag: &Tag, ready: Ready) -> Result<(), CopyFailure> {
        let mut session = self.task.fenced().await?;
        if !self.rule.override_tags
            && let Some(present) = tag::find(&mut session, &self.repository.repo_id, tag).await?
        {
            drop(session);
            return self.skip(tag, &present.digest).await;
        }
        let pushed = self
            .subscription
            .artifacts()
            .manifests()
            .push_in(
                &mut session,
                &self.ctx,
                &self.repository,
                &Reference::Tag(tag.clone()),
                Some(&ready.media_type),
                ready.body,
                &PushOptions::default(),
            )
            .await?;
        let outcome = Outcome {
            success: true,
            message: summary_of_success(&ready.summary),
            digest: Some(pushed.digest.clone()),
        };
        let (task_id, now) = (self.task.id(), self.subscription.now());
        artifact_subscription_result::complete(&mut session, task_id, tag, &outcome, now).await?;
        session.commit().await?;
        // The push may have started builds.
        self.subscription.db().notify(TASKS_CHANNEL);
        self.task.log(format!("{tag}: copied {} ({})", pushed.digest, ready.summary)).await;
        Ok(())
    }

    async fn skip(&self, tag: &Tag, present: &Digest) -> Result<(), CopyFailure> {
        self.task.log(format!("{tag}: skipped: the tag exists and Override is false")).await;
        Ok(self.complete(tag, true, "skipped: tag exists", Some(present)).await?)
    }

    async fn unchanged(&self, tag: &Tag, digest: &Digest) -> Result<(), CopyFailure> {
        self.task.log(format!("{tag}: unchanged: {digest}")).await;
        Ok(self.complete(tag, true, "unchanged", Some(digest)).await?)
    }

    async fn complete(
        &self,
        tag: &Tag,
        success: bool,
        message: &str,
        digest: Option<&Digest>,
    ) -> Result<(), TaskFailure> {
        let outcome = Outcome { success, message: message.to_owned(), digest: digest.cloned() };
        let mut session = self.task.fenced().await?;
        let (task_id, now) = (self.task.id(), self.subscription.now());
        artifact_subscription_result::complete(&mut session, task_id, tag, &outcome, now).await?;
        session.commit().await?;
        Ok(())
    }
}

fn summary_of_success(summary: &str) -> String {
    format!("copied: {summary}")
}
