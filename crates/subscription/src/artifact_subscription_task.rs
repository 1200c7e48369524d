//! Subscription tasks as they are asked for and asked about.

use berth_metadata::tables::{
    artifact_subscription_result, artifact_subscription_rule, artifact_subscription_task,
};
use berth_metadata::{DbError, Page, Session};
use berth_tasks::{
    CANCEL_CHANNEL, CancelOutcome, End, Enqueued, LogLine, NewTask, TASKS_CHANNEL, TaskStatus, ask,
};
use berth_types::{Ctx, Digest, Millis, id};
use serde::{Deserialize, Serialize};

use crate::artifact_subscription_rule::{self as rules, SubscriptionRule, rule_not_found};
use crate::error::{SubscriptionError, SubscriptionErrorKind};
use crate::handler::KIND;
use crate::subscription::Subscription;

/// Why a run was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskType {
    /// By its schedule.
    Auto,
    /// By a call.
    Manual,
}

impl TaskType {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "AUTO",
            Self::Manual => "MANUAL",
        }
    }
}

/// What a subscription task is enqueued with; the rule itself is in its own row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SubscriptionPayload {
    pub(crate) rule_id: String,
}

/// A run as it stands. Times are epoch milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct SubscriptionTaskView {
    pub task_id: String,
    pub instance_id: String,
    /// Not in ACR's answers: the rule may be gone or changed since.
    pub rule_id: String,
    /// `AUTO` or `MANUAL`.
    pub task_type: String,
    pub status: TaskStatus,
    /// `SUCCESS` or `FAILED` once it ended.
    pub result: Option<String>,
    /// `success`, or what failed, once it ended; why it is repeated, before.
    pub message: Option<String>,
    pub namespace_name: String,
    pub repo_name: String,
    pub source_provider: String,
    pub source_domain: String,
    pub source_namespace_name: String,
    pub source_repo_name: String,
    /// Tags at the source, and those selected; known once the source was asked.
    pub tag_total_count: Option<i64>,
    pub tag_subscription_count: Option<i64>,
    pub progress: serde_json::Value,
    pub created_at: Millis,
    pub start_time: Option<Millis>,
    pub end_time: Option<Millis>,
}

/// What became of one selected tag. Message and digest are extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultRow {
    pub tag: String,
    /// `PENDING`, `RUNNING` or `COMPLETED`.
    pub status: String,
    /// `SUCCESS` or `FAILED` once completed.
    pub result: Option<String>,
    pub message: Option<String>,
    /// What the tag points to here.
    pub digest: Option<Digest>,
    pub start_time: Option<Millis>,
    pub end_time: Option<Millis>,
}

impl Subscription {
    /// Runs a rule now. While a run of the rule as it stands is unfinished, its id is returned instead
    /// of a second one; a rule that was changed since makes a new run.
    ///
    /// # Errors
    /// `RuleNotFound`.
    pub async fn create_task(
        &self,
        ctx: &Ctx,
        instance_id: &str,
        rule_id: &str,
    ) -> Result<String, SubscriptionError> {
        let mut session = self.db().begin().await?;
        let row = artifact_subscription_rule::find(&mut session, instance_id, rule_id).await?;
        let rule = rules::read(row.ok_or_else(|| rule_not_found(rule_id))?)?;
        let task_id = self.enqueue(&mut session, &rule, TaskType::Manual).await?;
        session.commit().await?;
        self.db().notify(TASKS_CHANNEL);
        tracing::info!(request = ctx.request_id, rule = rule_id, task = task_id, "run asked for");
        Ok(task_id)
    }

    /// Makes a task with its row in the caller's transaction; gives the id of the unfinished one
    /// when there is one.
    pub(crate) async fn enqueue(
        &self,
        session: &mut Session,
        rule: &SubscriptionRule,
        task_type: TaskType,
    ) -> Result<String, SubscriptionError> {
        let now = self.now();
        let task_id = id::generate(id::SUBSCRIPTION_TASK);
        let payload = SubscriptionPayload { rule_id: rule.rule_id.clone() };
        let priority = i64::from(task_type == TaskType::Manual);
        let new = NewTask {
            task_id: task_id.clone(),
            queue: Self::QUEUE,
            kind: KIND,
            payload: serde_json::to_value(&payload)?,
            tenant: rule.instance_id.clone(),
            share: rule.source_domain.clone(),
            priority,
            max_attempts: self.config().max_attempts,
            dedup_key: Some(dedup_key(rule)?),
            run_at: None,
        };
        if let Enqueued::Duplicate { task_id } = berth_tasks::enqueue(session, new, now).await? {
            berth_tasks::raise_priority(session, &task_id, priority).await?;
            return Ok(task_id);
        }
        let row = artifact_subscription_task::SubscriptionTask {
            task_id: task_id.clone(),
            instance_id: rule.instance_id.clone(),
            rule_id: rule.rule_id.clone(),
            task_type: task_type.name().to_owned(),
            rule: serde_json::to_string(rule)?,
            namespace_name: rule.namespace_name.clone(),
            repo_name: rule.repo_name.clone(),
            source_provider: rule.source_provider.clone(),
            source_namespace_name: rule.source_namespace_name.clone(),
            source_repo_name: rule.source_repo_name.clone(),
            created_at: now,
        };
        artifact_subscription_task::insert(session, &row).await?;
        Ok(task_id)
    }

    /// One run.
    ///
    /// # Errors
    /// `TaskNotFound` when there is none in this instance.
    pub async fn get_task(
        &self,
        _ctx: &Ctx,
        instance_id: &str,
        task_id: &str,
    ) -> Result<SubscriptionTaskView, SubscriptionError> {
        let mut session = self.db().read().await?;
        find(&mut session, instance_id, task_id).await
    }

    /// A page of runs, newest first, and how many there are in all.
    ///
    /// # Errors
    /// [`SubscriptionError`] when the database fails.
    pub async fn list_tasks(
        &self,
        _ctx: &Ctx,
        instance_id: &str,
        page: Page,
    ) -> Result<(Vec<SubscriptionTaskView>, i64), SubscriptionError> {
        let mut session = self.db().read().await?;
        let (rows, total) =
            artifact_subscription_task::list(&mut session, instance_id, "", page).await?;
        Ok((rows.into_iter().map(view).collect::<Result<_, _>>()?, total))
    }

    /// A page of a run's tags in the order of selection, and how many were selected.
    ///
    /// # Errors
    /// `TaskNotFound` when there is no such run in this instance.
    pub async fn task_results(
        &self,
        _ctx: &Ctx,
        instance_id: &str,
        task_id: &str,
        page: Page,
    ) -> Result<(Vec<ResultRow>, i64), SubscriptionError> {
        let mut session = self.db().read().await?;
        find(&mut session, instance_id, task_id).await?;
        let (rows, total) = artifact_subscription_result::page(&mut session, task_id, page).await?;
        let rows = rows.into_iter().map(|row| ResultRow {
            tag: row.tag.to_string(),
            status: row.status,
            result: row.result,
            message: row.message,
            digest: row.digest,
            start_time: row.started_at,
            end_time: row.finished_at,
        });
        Ok((rows.collect(), total))
    }

    /// A page of a run's log, and how many lines there are.
    ///
    /// # Errors
    /// `TaskNotFound` when there is no such run in this instance.
    pub async fn task_log(
        &self,
        _ctx: &Ctx,
        instance_id: &str,
        task_id: &str,
        page: Page,
    ) -> Result<(Vec<LogLine>, i64), SubscriptionError> {
        let mut session = self.db().read().await?;
        find(&mut session, instance_id, task_id).await?;
        Ok(ask::log(&mut session, task_id, page).await?)
    }

    /// Asks for the end of a run. A waiting one ends at once, a running one within a second.
    ///
    /// # Errors
    /// `TaskNotFound`, and `TaskFinished` when it is over.
    pub async fn cancel_task(
        &self,
        ctx: &Ctx,
        instance_id: &str,
        task_id: &str,
    ) -> Result<(), SubscriptionError> {
        let mut session = self.db().begin().await?;
        find(&mut session, instance_id, task_id).await?;
        let now = self.now();
        match ask::cancel_in(&mut session, task_id, now).await? {
            CancelOutcome::Canceled => {
                end_rows(&mut session, task_id, End::Canceled.reason(), now).await?;
            }
            CancelOutcome::Requested => {}
            CancelOutcome::AlreadyFinished => {
                let message = format!("subscription task `{task_id}` has already ended");
                let kind = SubscriptionErrorKind::TaskFinished;
                return Err(SubscriptionError::refused(kind, message));
            }
            CancelOutcome::NotFound => return Err(not_found(task_id)),
        }
        session.commit().await?;
        self.db().notify(CANCEL_CHANNEL);
        tracing::info!(request = ctx.request_id, task = task_id, "run cancelled");
        Ok(())
    }
}

/// What makes two runs equal: they run the same rule as it stands, whenever it was written.
fn dedup_key(rule: &SubscriptionRule) -> Result<String, SubscriptionError> {
    let rule = SubscriptionRule { created_at: 0, modified_at: 0, ..rule.clone() };
    let content = Digest::sha256(serde_json::to_string(&rule)?.as_bytes());
    Ok(format!("subscription:{}:{content}", rule.rule_id))
}

/// Ends the rows of a run that did not succeed.
pub(crate) async fn end_rows(
    session: &mut Session,
    task_id: &str,
    reason: &str,
    now: Millis,
) -> Result<(), DbError> {
    artifact_subscription_result::end_unfinished(session, task_id, reason, now).await?;
    artifact_subscription_task::set_result(session, task_id, "FAILED", reason).await
}

async fn find(
    session: &mut Session,
    instance_id: &str,
    task_id: &str,
) -> Result<SubscriptionTaskView, SubscriptionError> {
    let row = artifact_subscription_task::find(session, instance_id, task_id).await?;
    view(row.ok_or_else(|| not_found(task_id))?)
}

fn not_found(task_id: &str) -> SubscriptionError {
    let message = format!("subscription task `{task_id}` does not exist in this instance");
    SubscriptionError::refused(SubscriptionErrorKind::TaskNotFound, message)
}

fn view(
    row: artifact_subscription_task::SubscriptionTaskRow,
) -> Result<SubscriptionTaskView, SubscriptionError> {
    let rule: SubscriptionRule = serde_json::from_str(&row.task.rule)?;
    Ok(SubscriptionTaskView {
        task_id: row.task.task_id,
        instance_id: row.task.instance_id,
        rule_id: row.task.rule_id,
        task_type: row.task.task_type,
        status: row.status,
        result: row.result,
        message: row.message.or(row.error),
        namespace_name: row.task.namespace_name,
        repo_name: row.task.repo_name,
        source_provider: row.task.source_provider,
        source_domain: rule.source_domain,
        source_namespace_name: row.task.source_namespace_name,
        source_repo_name: row.task.source_repo_name,
        tag_total_count: row.tag_total_count,
        tag_subscription_count: row.tag_subscription_count,
        progress: serde_json::from_str(&row.progress).unwrap_or_default(),
        created_at: row.task.created_at,
        start_time: row.started_at,
        end_time: row.finished_at,
    })
}
