//! The work of one subscription task: select, copy every tag, tell the truth about each.

use std::collections::HashMap;

use async_trait::async_trait;
use berth_artifacts::ArtifactErrorKind;
use berth_metadata::tables::artifact_subscription_result::SubscriptionResult;
use berth_metadata::tables::{artifact_subscription_result, artifact_subscription_task};
use berth_metadata::{DbError, Session};
use berth_tasks::{End, Handler, TaskFailure, TaskHandle, TaskRow};
use berth_types::{Ctx, Digest, Platform, RepoName, Tag};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use crate::artifact_subscription_rule::SubscriptionRule;
use crate::artifact_subscription_task::{TaskType, end_rows};
use crate::copy::{CopyRun, TagEnd};
use crate::pattern::TagPattern;
use crate::plan::{self, Plan};
use crate::subscription::Subscription;
use crate::summary;

/// The kind of subscription tasks in the task engine.
pub(crate) const KIND: &str = "subscription";

pub(crate) struct SubscriptionHandler {
    subscription: Subscription,
}

impl SubscriptionHandler {
    pub(crate) fn new(subscription: Subscription) -> Self {
        Self { subscription }
    }
}

#[async_trait]
impl Handler for SubscriptionHandler {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn run(&self, task: &TaskHandle) -> Result<(), TaskFailure> {
        let stop = task.cancelled();
        // Dropping the attempt drops every request; nothing it holds needs to be wound up.
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(task.check().err().unwrap_or(TaskFailure::Canceled)),
            result = self.attempt(task) => result,
        }
    }

    async fn ended(&self, session: &mut Session, task: &TaskRow, end: &End) -> Result<(), DbError> {
        let now = self.subscription.now();
        metrics::counter!("berth_subscription_tasks_total", "result" => "failed").increment(1);
        end_rows(session, &task.task_id, end.reason(), now).await
    }
}

impl SubscriptionHandler {
    async fn attempt(&self, task: &TaskHandle) -> Result<(), TaskFailure> {
        let mut run = self.prepare(task, task.is_last_attempt()).await?;
        let Plan { rows, digests, listing } = match self.recorded(task).await? {
            Some(rows) => Plan { rows, digests: HashMap::new(), listing: None },
            None => plan::make(&run).await?,
        };
        run.listing = listing;
        let total = rows.len();
        let open: Vec<(Tag, Option<Digest>)> = rows
            .into_iter()
            .filter(|row| row.status != "COMPLETED")
            .map(|row| {
                let known = digests.get(&row.tag).cloned();
                (row.tag, known)
            })
            .collect();
        if open.len() < total {
            task.log(format!("{} of {total} tags were done before", total - open.len())).await;
        }
        let mut done = total - open.len();
        let run = &run;
        let mut ends = stream::iter(open)
            .map(|(tag, known)| async move { run.tag(&tag, known).await })
            .buffer_unordered(self.subscription.config().tags_at_once.max(1));
        let mut waiting: Option<String> = None;
        while let Some(end) = ends.try_next().await? {
            match end {
                TagEnd::Completed => done += 1,
                TagEnd::Waits(reason) => waiting = Some(reason),
                TagEnd::Paused => {}
            }
            task.progress(json!({
                "TagsDone": done,
                "TagsSelected": total,
                "BytesCopied": run.bytes_copied(),
            }));
        }
        drop(ends);
        if let Some(pause) = run.pause() {
            return Err(pause);
        }
        match waiting {
            Some(reason) => Err(TaskFailure::Transient(reason)),
            None => self.conclude(task).await,
        }
    }

    async fn prepare(&self, task: &TaskHandle, last_attempt: bool) -> Result<CopyRun, TaskFailure> {
        let permanent = |reason: String| TaskFailure::Permanent(reason);
        let artifacts = self.subscription.artifacts();
        let mut session = self.subscription.db().read().await?;
        let row = artifact_subscription_task::find_by_id(&mut session, task.id()).await?;
        let row = row.ok_or_else(|| permanent("the task has no row".to_owned()))?;
        let rule: SubscriptionRule = serde_json::from_str(&row.task.rule)
            .map_err(|error| permanent(format!("the task's rule: {error}")))?;
        let target = RepoName::new(&rule.namespace_name, &rule.repo_name)
            .map_err(|error| permanent(error.to_string()))?;
        let repository =
            artifacts.repositories().find_in(&mut session, &rule.instance_id, &target).await?;
        let repository = repository
            .ok_or_else(|| permanent(format!("target repository `{target}` does not exist")))?;
        drop(session);
        let account = match artifacts.instances().find(&rule.instance_id).await {
            Ok(instance) => instance.account_id,
            Err(error) if error.kind() == ArtifactErrorKind::InstanceNotFound => String::new(),
            Err(error) => return Err(TaskFailure::Transient(error.to_string())),
        };
        let pattern = TagPattern::new(&rule.tag_regexp)
            .map_err(|reason| permanent(format!("TagRegexp: {reason}")))?;
        let platforms: Result<Vec<Platform>, _> =
            rule.platforms.iter().map(|text| text.parse()).collect();
        let platforms = platforms.map_err(|error| permanent(format!("Platform: {error}")))?;
        let client =
            self.subscription.client(&rule).map_err(|error| permanent(error.to_string()))?;
        let mut run = CopyRun::new(
            self.subscription.clone(),
            task.clone(),
            Ctx::system(&account),
            rule,
            pattern,
            platforms,
            client,
            repository,
            last_attempt,
        );
        run.is_manual = row.task.task_type == TaskType::Manual.name();
        Ok(run)
    }

    /// The selection that an earlier attempt recorded: later ones keep to it.
    async fn recorded(
        &self,
        task: &TaskHandle,
    ) -> Result<Option<Vec<SubscriptionResult>>, TaskFailure> {
        let mut session = self.subscription.db().read().await?;
        let row = artifact_subscription_task::find_by_id(&mut session, task.id()).await?;
        if row.is_none_or(|row| row.tag_subscription_count.is_none()) {
            return Ok(None);
        }
        Ok(Some(artifact_subscription_result::all(&mut session, task.id()).await?))
    }

    /// Every row is completed: the run's end follows from them.
    async fn conclude(&self, task: &TaskHandle) -> Result<(), TaskFailure> {
        let mut session = task.fenced().await?;
        let rows = artifact_subscription_result::all(&mut session, task.id()).await?;
        let failures: Vec<(String, String)> = rows
            .iter()
            .filter(|row| row.result.as_deref() != Some("SUCCESS"))
            .map(|row| (row.tag.to_string(), row.message.clone().unwrap_or_default()))
            .collect();
        if !failures.is_empty() {
            return Err(TaskFailure::Permanent(summary::failed(rows.len(), &failures)));
        }
        artifact_subscription_task::set_result(
            &mut session,
            task.id(),
            "SUCCESS",
            summary::SUCCESS,
        )
        .await?;
        task.log(format!("done: {} tags", rows.len())).await;
        task.complete(session).await?;
        metrics::counter!("berth_subscription_tasks_total", "result" => "success").increment(1);
        Ok(())
    }
}
