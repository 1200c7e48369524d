//! The copy of one tag: what it names first, the tag last, together with its result row.

mod blob;
mod failure;
mod manifest;
mod referrers;
mod selection;
mod tally;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use berth_artifacts::{ManifestPush, PushOptions, Repository};
use berth_metadata::tables::artifact_subscription_result::{self, Outcome};
use berth_oci::ManifestView;
use berth_oci::client::RegistryClient;
use berth_tasks::{TASKS_CHANNEL, TaskFailure, TaskHandle};
use berth_types::{Ctx, Digest, Millis, Platform, Reference, Tag};
use bytes::Bytes;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use crate::artifact_subscription_rule::{IndexMode, SubscriptionRule};
use crate::pattern::TagPattern;
use crate::platforms;
use crate::provider::{origin, source_repository};
use crate::subscription::Subscription;
use failure::CopyFailure;
use referrers::Along;
use selection::Selection;

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
    /// The registry as deliveries are recorded.
    origin: String,
    /// Tags at the source, when they were listed.
    pub(crate) listing: Option<HashSet<String>>,
    /// Somebody asked for this run; it is not a periodic one.
    pub(crate) is_manual: bool,
    repository: Repository,
    /// Whether faults are final.
    last_attempt: bool,
    downloads: Semaphore,
    /// One download per digest: tags share layers.
    in_progress: Mutex<HashMap<Digest, Arc<AsyncMutex<()>>>>,
    bytes_copied: AtomicU64,
    /// Blobs that the source delivered and that are not written down yet.
    delivered: Mutex<Vec<Digest>>,
    /// Until when the source wants to be left alone, and its words.
    paused: Mutex<Option<(Millis, String)>>,
}

/// Where a tag stands after its try.
pub(crate) enum TagEnd {
    /// Its row is COMPLETED.
    Completed,
    /// A fault that may pass; another attempt of the task takes it up.
    Waits(String),
    /// The source wants to be left alone; the run goes on from here when it may ([`CopyRun::pause`]).
    Paused,
}

/// A manifest, here or at the source.
struct Source {
    digest: Digest,
    body: Bytes,
    view: ManifestView,
    /// The repository has this very manifest, and with it all its blobs.
    is_here: bool,
}

/// What a tag is to point to.
struct Chosen {
    source: Source,
    /// Of an index: the children that the rule takes.
    selection: Option<Selection>,
    /// The source's bytes, or those of a rewritten index.
    body: Bytes,
}

impl Chosen {
    /// Whether the tag points to it, and all of it is here.
    fn is_at(&self, present: Option<&Digest>) -> bool {
        present.is_some_and(|digest| *digest == Digest::sha256(&self.body))
            && self.selection.as_ref().is_none_or(Selection::is_here)
    }

    /// Whatever signatures may refer to.
    fn images(&self) -> Vec<Digest> {
        let mut images = vec![Digest::sha256(&self.body)];
        let children = self.selection.iter().flat_map(Selection::images);
        images.extend(children.cloned());
        images
    }

    fn left_out(&self) -> String {
        self.selection.as_ref().map(Selection::words).unwrap_or_default()
    }
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
        let origin = origin(subscription.config(), &rule);
        let origin = origin.unwrap_or_else(|_| rule.source_domain.clone());
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
            origin,
            listing: None,
            is_manual: true,
            repository,
            last_attempt,
            downloads,
            in_progress: Mutex::default(),
            bytes_copied: AtomicU64::new(0),
            delivered: Mutex::default(),
            paused: Mutex::default(),
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
        // Tags that began before may end; no other one begins.
        if self.pause().is_some() {
            return Ok(TagEnd::Paused);
        }
        match self.copy(tag, known).await {
            Ok(()) => {
                metrics::counter!("berth_subscription_tags_total", "result" => "success")
                    .increment(1);
                Ok(TagEnd::Completed)
            }
            Err(CopyFailure::Task(failure)) => Err(failure),
            Err(CopyFailure::Pause { until, reason }) => {
                self.postpone(tag, &reason).await?;
                let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
                if paused.as_ref().is_none_or(|(before, _)| *before < until) {
                    *paused = Some((until, reason));
                }
                Ok(TagEnd::Paused)
            }
            Err(CopyFailure::Fault(reason)) if !self.last_attempt => {
                self.task.log(format!("{tag}: {reason}; it is tried again")).await;
                self.postpone(tag, &reason).await?;
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

    /// How long the source wants to be left alone, and its words: what the end of this attempt says.
    pub(crate) fn pause(&self) -> Option<TaskFailure> {
        let paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, reason) = paused.as_ref()?;
        Some(self.subscription.postponed(*until, reason))
    }

    /// The row is PENDING again, and says why.
    async fn postpone(&self, tag: &Tag, reason: &str) -> Result<(), TaskFailure> {
        let mut session = self.task.fenced().await?;
        artifact_subscription_result::postpone(&mut session, self.task.id(), tag, reason).await?;
        Ok(session.commit().await?)
    }

    async fn copy(&self, tag: &Tag, known: Option<Digest>) -> Result<(), CopyFailure> {
        let present = self.present(tag).await?;
        if let Some(digest) = present.as_ref().filter(|_| !self.rule.override_tags) {
            return self.skip(tag, digest).await;
        }
        let at_source = match (known, &present) {
            (Some(digest), _) => Some(digest),
            // There is nothing to compare with: the manifest is needed in any case.
            (None, None) => None,
            (None, Some(_)) => {
                let reference = Reference::Tag(tag.clone());
                self.client.head_manifest(&self.source_repository, &reference).await?.digest
            }
        };
        let is_same = present.is_some() && at_source == present;
        if !is_same {
            self.start(tag).await?;
        }
        let chosen = self.choose(self.source_manifest(tag, at_source).await?).await?;
        let left_out = chosen.left_out();
        if let Some(digest) = present.as_ref().filter(|digest| chosen.is_at(Some(digest))) {
            let due = self.is_manual
                || self.subscription.referrers_are_due(&self.repository.repo_id, digest);
            let along = if due { self.referrers(chosen.images()).await? } else { Along::default() };
            return self.unchanged(tag, digest, &left_out, &along).await;
        }
        if is_same {
            self.start(tag).await?;
        }
        let images = chosen.images();
        let Chosen { source, selection, body } = chosen;
        let tally = match selection {
            Some(selection) => self.children(selection).await?,
            // A single image is taken as it is: platforms choose among several.
            None if source.is_here => tally::Tally::default(),
            None => self.image(&source.view).await?,
        };
        let along = self.referrers(images).await?;
        let words = tally.add(tally::Tally::HERE).words();
        let summary = format!("{words}{left_out}{}", along.words());
        self.publish(tag, body, &source.view.media_type, &summary).await
    }

    /// What the rule takes of a manifest.
    async fn choose(&self, source: Source) -> Result<Chosen, CopyFailure> {
        if !source.view.is_index() {
            let body = source.body.clone();
            return Ok(Chosen { source, selection: None, body });
        }
        let selection = self.select(&source).await?;
        let body = match self.rule.index_mode {
            IndexMode::Keep => source.body.clone(),
            IndexMode::Rewrite => platforms::restrict(&source.body, &selection.kept)
                .map_err(|error| CopyFailure::Tag(error.to_string()))?,
        };
        Ok(Chosen { source, selection: Some(selection), body })
    }

    /// The row is RUNNING.
    async fn start(&self, tag: &Tag) -> Result<(), CopyFailure> {
        let mut session = self.task.fenced().await?;
        let now = self.subscription.now();
        artifact_subscription_result::start(&mut session, self.task.id(), tag, now).await?;
        Ok(session.commit().await?)
    }

    /// The tag and its row in one transaction that only the holder of the task can commit: a row
    /// says SUCCESS exactly when the tag is there.
    async fn publish(
        &self,
        tag: &Tag,
        body: Bytes,
        media_type: &str,
        summary: &str,
    ) -> Result<(), CopyFailure> {
        let mut session = self.task.fenced().await?;
        if !self.rule.override_tags
            && let Some(present) = self.present_in(&mut session, tag).await?
        {
            drop(session);
            return self.skip(tag, &present).await;
        }
        let pushed = self
            .subscription
            .artifacts()
            .manifests()
            .push_in(
                &mut session,
                &self.ctx,
                ManifestPush {
                    repository: &self.repository,
                    reference: &Reference::Tag(tag.clone()),
                    content_type: Some(media_type),
                    body,
                    options: PushOptions::default(),
                },
            )
            .await?;
        self.record_deliveries(&mut session).await?;
        let outcome = Outcome {
            success: true,
            message: format!("copied: {summary}"),
            digest: Some(pushed.digest.clone()),
        };
        let (task_id, now) = (self.task.id(), self.subscription.now());
        artifact_subscription_result::complete(&mut session, task_id, tag, &outcome, now).await?;
        session.commit().await?;
        // The push may have started builds.
        self.subscription.db().notify(TASKS_CHANNEL);
        self.task.log(format!("{tag}: copied {} ({summary})", pushed.digest)).await;
        Ok(())
    }

    async fn skip(&self, tag: &Tag, present: &Digest) -> Result<(), CopyFailure> {
        self.task.log(format!("{tag}: skipped: the tag exists and Override is false")).await;
        Ok(self.complete(tag, true, "skipped: tag exists", Some(present)).await?)
    }

    async fn unchanged(
        &self,
        tag: &Tag,
        digest: &Digest,
        left_out: &str,
        along: &Along,
    ) -> Result<(), CopyFailure> {
        let message = format!("unchanged{left_out}{}", along.words());
        self.task.log(format!("{tag}: {message}: {digest}")).await;
        Ok(self.complete(tag, true, &message, Some(digest)).await?)
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
        self.record_deliveries(&mut session).await?;
        let (task_id, now) = (self.task.id(), self.subscription.now());
        artifact_subscription_result::complete(&mut session, task_id, tag, &outcome, now).await?;
        session.commit().await?;
        Ok(())
    }
}
