//! Runs of subscription rules: create, get, list, results, and Berth's own cancel and log.
//!
//! Times are texts in the list and numbers elsewhere, as ACR has them.

use async_trait::async_trait;
use berth_subscription::{ResultRow, SubscriptionTaskView};
use berth_tasks::{TaskStatus, Words};
use serde_json::Value;

use super::Done;
use crate::control::Control;
use crate::error::ApiError;
use crate::operation::{Action, Call};
use crate::paging::{numbered, page};
use crate::schema::{request, response};

const ARTIFACT_TYPE: &str = "IMAGE";
/// The only type that ACR shows: its rules carry no credentials.
const SOURCE_REPO_TYPE: &str = "PUBLIC";

request! { CreateArtifactSubscriptionTask {
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// The rule to run.
    rule_id: String = Acr "RuleId",
} }

response! { CreatedSubscriptionTask {
    /// The id of the run; of the unfinished one when there is one.
    task_id: String = Acr "TaskId",
} }

#[async_trait]
impl Action for CreateArtifactSubscriptionTask {
    type Response = CreatedSubscriptionTask;

    async fn run(
        self,
        control: &Control,
        call: &Call,
    ) -> Result<CreatedSubscriptionTask, ApiError> {
        let instance_id = call.instance_id()?;
        let subscription = control.subscription();
        let task_id = subscription.create_task(&call.ctx, instance_id, &self.rule_id).await?;
        Ok(CreatedSubscriptionTask { task_id })
    }
}

request! { GetArtifactSubscriptionTask {
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// The run.
    task_id: String = Acr "TaskId",
} }

response! { SubscriptionTaskAnswer {
    /// `IMAGE`.
    artifact_type: &'static str = Acr "ArtifactType",
    /// When it ended, milliseconds since the epoch; absent until then.
    end_time: Option<i64> = Acr "EndTime",
    /// The instance.
    instance_id: String = Acr "InstanceId",
    /// How it ended, in words; absent until then.
    message: Option<String> = Acr "Message",
    /// The namespace it copies into.
    namespace_name: String = Acr "NamespaceName",
    /// The repository it copies into.
    repo_name: String = Acr "RepoName",
    /// The upstream's namespace.
    source_namespace_name: String = Acr "SourceNamespaceName",
    /// The upstream's provider.
    source_provider: String = Acr "SourceProvider",
    /// The upstream's repository.
    source_repo_name: String = Acr "SourceRepoName",
    /// `PUBLIC`.
    source_repo_type: &'static str = Acr "SourceRepoType",
    /// When it began, milliseconds since the epoch; absent until then.
    start_time: Option<i64> = Acr "StartTime",
    /// How many tags the rule chose; absent until known.
    tag_subscription_count: Option<i64> = Acr "TagSubscriptionCount",
    /// How many tags the source has; absent until known.
    tag_total_count: Option<i64> = Acr "TagTotalCount",
    /// The id.
    task_id: String = Acr "TaskId",
    /// `SUCCESS` or `FAILED`; absent until it ended.
    task_result: Option<String> = Acr "TaskResult",
    /// `PENDING`, `RUNNING` or `COMPLETED`.
    task_status: &'static str = Acr "TaskStatus",
    /// `AUTO` or `MANUAL`.
    task_type: String = Acr "TaskType",
    /// Whether it ended by being cancelled; its result reads `FAILED`.
    canceled: bool = Extension "Canceled",
    /// When it was asked for, milliseconds since the epoch.
    create_time: i64 = Extension "CreateTime",
    /// How far it is.
    progress: Option<Value> = Extension "Progress",
    /// The rule that it runs, which may be gone.
    rule_id: String = Extension "RuleId",
    /// The upstream's host.
    source_domain: String = Extension "SourceDomain",
} }

fn answer(task: SubscriptionTaskView) -> SubscriptionTaskAnswer {
    let progress = match task.progress {
        Value::Object(fields) if !fields.is_empty() => Some(Value::Object(fields)),
        _ => None,
    };
    SubscriptionTaskAnswer {
        artifact_type: ARTIFACT_TYPE,
        end_time: task.end_time,
        instance_id: task.instance_id,
        message: task.message.filter(|message| !message.is_empty()),
        namespace_name: task.namespace_name,
        repo_name: task.repo_name,
        source_namespace_name: task.source_namespace_name,
        source_provider: task.source_provider,
        source_repo_name: task.source_repo_name,
        source_repo_type: SOURCE_REPO_TYPE,
        start_time: task.start_time,
        tag_subscription_count: task.tag_subscription_count,
        tag_total_count: task.tag_total_count,
        task_id: task.task_id,
        task_result: task.result,
        task_status: Words::SUBSCRIPTION.of(task.status),
        task_type: task.task_type,
        canceled: task.status == TaskStatus::Canceled,
        create_time: task.created_at,
        progress,
        rule_id: task.rule_id,
        source_domain: task.source_domain,
    }
}

#[async_trait]
impl Action for GetArtifactSubscriptionTask {
    type Response = SubscriptionTaskAnswer;

    async fn run(self, control: &Control, call: &Call) -> Result<SubscriptionTaskAnswer, ApiError> {
        let instance_id = call.instance_id()?;
        let subscription = control.subscription();
        Ok(answer(subscription.get_task(&call.ctx, instance_id, &self.task_id).await?))
    }
}

request! { ListArtifactSubscriptionTask {
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// The page, from 1.
    page_no: Option<i64> = Acr "PageNo",
    /// Runs per page, 30 when left out, at most 100.
    page_size: Option<i64> = Acr "PageSize",
} }

response! { SubscriptionTaskList {
    /// The page.
    page_no: i64 = Acr "PageNo",
    /// Runs per page.
    page_size: i64 = Acr "PageSize",
    /// The runs of the page, newest first.
    tasks: Vec<SubscriptionTaskRow> = Acr "Tasks",
    /// How many there are on all pages.
    total_count: i64 = Acr "TotalCount",
} }

response! {
    /// A run as a row; its times are texts here.
    SubscriptionTaskRow {
        /// `IMAGE`.
        artifact_type: &'static str = Acr "ArtifactType",
        /// When it ended: milliseconds since the epoch, as text; absent until then.
        end_time: Option<String> = Acr "EndTime",
        /// The instance.
        instance_id: String = Acr "InstanceId",
        /// How it ended, in words; absent until then.
        message: Option<String> = Acr "Message",
        /// The namespace it copies into.
        namespace_name: String = Acr "NamespaceName",
        /// The repository it copies into.
        repo_name: String = Acr "RepoName",
        /// The upstream's namespace.
        source_namespace_name: String = Acr "SourceNamespaceName",
        /// The upstream's provider.
        source_provider: String = Acr "SourceProvider",
        /// The upstream's repository.
        source_repo_name: String = Acr "SourceRepoName",
        /// `PUBLIC`.
        source_repo_type: &'static str = Acr "SourceRepoType",
        /// When it began: milliseconds since the epoch, as text; absent until then.
        start_time: Option<String> = Acr "StartTime",
        /// How many tags the rule chose; absent until known.
        tag_subscription_count: Option<i64> = Acr "TagSubscriptionCount",
        /// How many tags the source has; absent until known.
        tag_total_count: Option<i64> = Acr "TagTotalCount",
        /// The id.
        task_id: String = Acr "TaskId",
        /// `SUCCESS` or `FAILED`; absent until it ended.
        task_result: Option<String> = Acr "TaskResult",
        /// `PENDING`, `RUNNING` or `COMPLETED`.
        task_status: &'static str = Acr "TaskStatus",
        /// `AUTO` or `MANUAL`.
        task_type: String = Acr "TaskType",
        /// Whether it ended by being cancelled; its result reads `FAILED`.
        canceled: bool = Extension "Canceled",
        /// When it was asked for, milliseconds since the epoch.
        create_time: i64 = Extension "CreateTime",
        /// How far it is.
        progress: Option<Value> = Extension "Progress",
        /// The rule that it runs, which may be gone.
        rule_id: String = Extension "RuleId",
        /// The upstream's host.
        source_domain: String = Extension "SourceDomain",
    }
}

fn row(task: SubscriptionTaskView) -> SubscriptionTaskRow {
    let task = answer(task);
    SubscriptionTaskRow {
        artifact_type: task.artifact_type,
        end_time: task.end_time.map(|at| at.to_string()),
        instance_id: task.instance_id,
        message: task.message,
        namespace_name: task.namespace_name,
        repo_name: task.repo_name,
        source_namespace_name: task.source_namespace_name,
        source_provider: task.source_provider,
        source_repo_name: task.source_repo_name,
        source_repo_type: task.source_repo_type,
        start_time: task.start_time.map(|at| at.to_string()),
        tag_subscription_count: task.tag_subscription_count,
        tag_total_count: task.tag_total_count,
        task_id: task.task_id,
        task_result: task.task_result,
        task_status: task.task_status,
        task_type: task.task_type,
        canceled: task.canceled,
        create_time: task.create_time,
        progress: task.progress,
        rule_id: task.rule_id,
        source_domain: task.source_domain,
    }
}

#[async_trait]
impl Action for ListArtifactSubscriptionTask {
    type Response = SubscriptionTaskList;

    async fn run(self, control: &Control, call: &Call) -> Result<SubscriptionTaskList, ApiError> {
        let page = page(self.page_no, self.page_size)?;
        let subscription = control.subscription();
        let (tasks, total_count) =
            subscription.list_tasks(&call.ctx, call.instance_id()?, page).await?;
        Ok(SubscriptionTaskList {
            page_no: page.number,
            page_size: page.size,
            tasks: tasks.into_iter().map(row).collect(),
            total_count,
        })
    }
}

request! { GetArtifactSubscriptionTaskResult {
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// The page, from 1.
    page_no: Option<i64> = Acr "PageNo",
    /// Rows per page, 30 when left out, at most 100.
    page_size: Option<i64> = Acr "PageSize",
    /// The run.
    task_id: String = Acr "TaskId",
} }

response! { SubscriptionTaskResults {
    /// The page.
    page_no: i64 = Acr "PageNo",
    /// Rows per page.
    page_size: i64 = Acr "PageSize",
    /// The rows of the page, one per selected tag.
    task_results: Vec<TaskResult> = Acr "TaskResults",
    /// How many there are on all pages.
    total_count: i64 = Acr "TotalCount",
} }

response! {
    /// What became of one tag.
    TaskResult {
        /// When it ended, milliseconds since the epoch; absent until then.
        end_time: Option<i64> = Acr "EndTime",
        /// The instance.
        instance_id: String = Acr "InstanceId",
        /// The namespace it was copied into.
        namespace_name: String = Acr "NamespaceName",
        /// The repository it was copied into.
        repo_name: String = Acr "RepoName",
        /// `SUCCESS` or `FAILED`; absent until it ended.
        result: Option<String> = Acr "Result",
        /// When it began, milliseconds since the epoch; absent until then.
        start_time: Option<i64> = Acr "StartTime",
        /// `PENDING`, `RUNNING` or `COMPLETED`.
        status: String = Acr "Status",
        /// The tag.
        tag: String = Acr "Tag",
        /// The run.
        task_id: String = Acr "TaskId",
        /// The digest of the manifest that the tag has now.
        digest: Option<String> = Extension "Digest",
        /// Why it failed, or that there was nothing to do.
        message: Option<String> = Extension "Message",
    }
}

fn result(task: &SubscriptionTaskView, row: ResultRow) -> TaskResult {
    TaskResult {
        end_time: row.end_time,
        instance_id: task.instance_id.clone(),
        namespace_name: task.namespace_name.clone(),
        repo_name: task.repo_name.clone(),
        result: row.result,
        start_time: row.start_time,
        status: row.status,
        tag: row.tag,
        task_id: task.task_id.clone(),
        digest: row.digest.map(|digest| digest.to_string()),
        message: row.message.filter(|message| !message.is_empty()),
    }
}

#[async_trait]
impl Action for GetArtifactSubscriptionTaskResult {
    type Response = SubscriptionTaskResults;

    async fn run(
        self,
        control: &Control,
        call: &Call,
    ) -> Result<SubscriptionTaskResults, ApiError> {
        let page = page(self.page_no, self.page_size)?;
        let instance_id = call.instance_id()?;
        let subscription = control.subscription();
        let task = subscription.get_task(&call.ctx, instance_id, &self.task_id).await?;
        let (rows, total_count) =
            subscription.task_results(&call.ctx, instance_id, &self.task_id, page).await?;
        Ok(SubscriptionTaskResults {
            page_no: page.number,
            page_size: page.size,
            task_results: rows.into_iter().map(|row| result(&task, row)).collect(),
            total_count,
        })
    }
}

request! { CancelArtifactSubscriptionTask {
    /// The instance.
    _instance_id: String = Extension "InstanceId",
    /// The run.
    task_id: String = Extension "TaskId",
} }

#[async_trait]
impl Action for CancelArtifactSubscriptionTask {
    type Response = Done;

    async fn run(self, control: &Control, call: &Call) -> Result<Done, ApiError> {
        let instance_id = call.instance_id()?;
        control.subscription().cancel_task(&call.ctx, instance_id, &self.task_id).await?;
        Ok(Done {})
    }
}

request! { ListArtifactSubscriptionTaskLog {
    /// The instance.
    _instance_id: String = Extension "InstanceId",
    /// The page, from 1.
    page: i64 = Extension "Page",
    /// Lines per page, at most 100.
    page_size: i64 = Extension "PageSize",
    /// The run.
    task_id: String = Extension "TaskId",
} }

response! { SubscriptionTaskLog {
    /// The lines of the page.
    task_logs: Vec<LogLine> = Extension "TaskLogs",
    /// How many lines there are on all pages.
    total_count: i64 = Extension "TotalCount",
} }

response! {
    /// A line of a log.
    LogLine {
        /// Its number, from 1.
        line_number: i64 = Extension "LineNumber",
        /// Its text.
        message: String = Extension "Message",
    }
}

#[async_trait]
impl Action for ListArtifactSubscriptionTaskLog {
    type Response = SubscriptionTaskLog;

    async fn run(self, control: &Control, call: &Call) -> Result<SubscriptionTaskLog, ApiError> {
        let page = numbered("Page", self.page, self.page_size)?;
        let instance_id = call.instance_id()?;
        let subscription = control.subscription();
        let (lines, total_count) =
            subscription.task_log(&call.ctx, instance_id, &self.task_id, page).await?;
        let line = |line: berth_tasks::LogLine| LogLine {
            line_number: line.line_number,
            message: line.message,
        };
        Ok(SubscriptionTaskLog { task_logs: lines.into_iter().map(line).collect(), total_count })
    }
}
