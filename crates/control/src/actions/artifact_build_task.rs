//! Artifact build tasks: get, cancel, log, and Berth's own create and list.
//!
//! Times of build tasks are seconds, unlike all others.

use async_trait::async_trait;
use berth_builder::{ArtifactView, BuildTaskView, NewBuildTask, Parameters, TaskFilter};
use berth_tasks::{TaskStatus, Words};
use berth_types::Millis;
use serde_json::Value;

use super::Done;
use crate::control::Control;
use crate::error::ApiError;
use crate::operation::{Action, Call};
use crate::paging::{numbered, page};
use crate::parameters::Json;
use crate::schema::{request, response};

request! { GetArtifactBuildTask {
    /// The task.
    build_task_id: String = Acr "BuildTaskId",
    /// The instance.
    _instance_id: String = Acr "InstanceId",
} }

response! {
    /// A build task, by itself and as a row.
    BuildTaskAnswer {
        /// `IMAGE_TO_ACCELERATED_IMAGE` or `IMAGE_TO_ECI_ACCELERATED_IMAGE`.
        artifact_build_type: &'static str = Acr "ArtifactBuildType",
        /// How layers were squashed; never set, since Berth squashes none.
        artifact_compression: Option<Compression> = Acr "ArtifactCompression",
        /// The id.
        build_task_id: String = Acr "BuildTaskId",
        /// When it ended, seconds since the epoch; absent until then.
        end_time: Option<i64> = Acr "EndTime",
        /// Reserved, empty.
        instructions: Vec<String> = Acr "Instructions",
        /// 1 to 5, higher first.
        priority: i64 = Acr "Priority",
        /// What is built from.
        source_artifact: Artifact = Acr "SourceArtifact",
        /// When it began, seconds since the epoch; absent until then.
        start_time: Option<i64> = Acr "StartTime",
        /// What is built.
        target_artifact: Artifact = Acr "TargetArtifact",
        /// `PENDING`, `BUILDING`, `SUCCESS` or `FAILED`.
        task_status: &'static str = Acr "TaskStatus",
        /// Whether it ended by being cancelled; its status reads `FAILED`.
        canceled: bool = Extension "Canceled",
        /// When it was asked for, milliseconds since the epoch.
        create_time: i64 = Extension "CreateTime",
        /// Why it failed, or why its last attempt did.
        error_message: Option<String> = Extension "ErrorMessage",
        /// How far it is.
        progress: Option<Value> = Extension "Progress",
    }
}

response! {
    /// How layers were squashed.
    Compression {
        /// The platform.
        platform: String = Acr "Platform",
        /// Layers that were kept.
        squash_keep_layers: i64 = Acr "SquashKeepLayers",
        /// The first layer that was squashed.
        start_layer_digest: String = Acr "StartLayerDigest",
    }
}

response! {
    /// One side of a build.
    Artifact {
        /// `IMAGE`.
        artifact_type: &'static str = Acr "ArtifactType",
        /// How many layers it has; of a target, absent until it is built.
        layer_count: Option<i64> = Acr "LayerCount",
        /// The repository.
        repo_id: String = Acr "RepoId",
        /// Bytes of config and layers; of a target, absent until it is built.
        size: Option<i64> = Acr "Size",
        /// The tag.
        version: String = Acr "Version",
        /// The manifest's digest; of a target, absent until it is built.
        digest: Option<String> = Extension "Digest",
    }
}

fn answer(task: BuildTaskView) -> BuildTaskAnswer {
    let progress = match task.progress {
        Value::Object(fields) if !fields.is_empty() => Some(Value::Object(fields)),
        _ => None,
    };
    BuildTaskAnswer {
        artifact_build_type: task.build_type.as_str(),
        artifact_compression: None,
        build_task_id: task.task_id,
        end_time: task.end_time.map(seconds),
        instructions: Vec::new(),
        priority: task.priority,
        source_artifact: artifact(task.source),
        start_time: task.start_time.map(seconds),
        target_artifact: artifact(task.target),
        task_status: Words::BUILD.of(task.status),
        canceled: task.status == TaskStatus::Canceled,
        create_time: task.created_at,
        error_message: task.error,
        progress,
    }
}

fn artifact(view: ArtifactView) -> Artifact {
    Artifact {
        artifact_type: "IMAGE",
        layer_count: view.layer_count,
        repo_id: view.repo_id,
        size: view.size,
        version: view.version,
        digest: view.digest.map(|digest| digest.to_string()),
    }
}

fn seconds(at: Millis) -> i64 {
    at.div_euclid(1000)
}

#[async_trait]
impl Action for GetArtifactBuildTask {
    type Response = BuildTaskAnswer;

    async fn run(self, control: &Control, call: &Call) -> Result<BuildTaskAnswer, ApiError> {
        let instance_id = call.instance_id()?;
        let builder = control.builder();
        Ok(answer(builder.get_task(&call.ctx, instance_id, &self.build_task_id).await?))
    }
}

request! { CancelArtifactBuildTask {
    /// The task.
    build_task_id: String = Acr "BuildTaskId",
    /// The instance.
    _instance_id: String = Acr "InstanceId",
} }

#[async_trait]
impl Action for CancelArtifactBuildTask {
    type Response = Done;

    async fn run(self, control: &Control, call: &Call) -> Result<Done, ApiError> {
        let instance_id = call.instance_id()?;
        control.builder().cancel_task(&call.ctx, instance_id, &self.build_task_id).await?;
        Ok(Done {})
    }
}

request! { ListArtifactBuildTaskLog {
    /// The task.
    build_task_id: String = Acr "BuildTaskId",
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// The page, from 1.
    page: i64 = Acr "Page",
    /// Lines per page, at most 100.
    page_size: i64 = Acr "PageSize",
} }

response! { BuildTaskLog {
    /// The lines of the page.
    build_task_logs: Vec<LogLine> = Acr "BuildTaskLogs",
    /// How many lines there are on all pages.
    total_count: i64 = Acr "TotalCount",
} }

response! {
    /// A line of a log.
    LogLine {
        /// Its number, from 1.
        line_number: i64 = Acr "LineNumber",
        /// Its text.
        message: String = Acr "Message",
    }
}

#[async_trait]
impl Action for ListArtifactBuildTaskLog {
    type Response = BuildTaskLog;

    async fn run(self, control: &Control, call: &Call) -> Result<BuildTaskLog, ApiError> {
        let page = numbered("Page", self.page, self.page_size)?;
        let instance_id = call.instance_id()?;
        let builder = control.builder();
        let (lines, total_count) =
            builder.task_log(&call.ctx, instance_id, &self.build_task_id, page).await?;
        let line = |line: berth_tasks::LogLine| LogLine {
            line_number: line.line_number,
            message: line.message,
        };
        Ok(BuildTaskLog { build_task_logs: lines.into_iter().map(line).collect(), total_count })
    }
}

request! { CreateArtifactBuildTask {
    /// `IMAGE_TO_ACCELERATED_IMAGE`, also when left out.
    artifact_build_type: Option<String> = Extension "ArtifactBuildType",
    /// The instance.
    _instance_id: String = Extension "InstanceId",
    /// As those of a build rule.
    parameters: Option<Json<Parameters>> = Extension "Parameters",
    /// 1 to 5, higher first; wins over the one in Parameters.
    priority: Option<i64> = Extension "Priority",
    /// The repository.
    _repo_id: String = Extension "RepoId",
    /// The tag to build from.
    tag: String = Extension "Tag",
} }

response! { CreatedBuildTask {
    /// The id of the task; of the unfinished equal one when there is one.
    build_task_id: String = Extension "BuildTaskId",
} }

#[async_trait]
impl Action for CreateArtifactBuildTask {
    type Response = CreatedBuildTask;

    async fn run(self, control: &Control, call: &Call) -> Result<CreatedBuildTask, ApiError> {
        let new = NewBuildTask {
            repo_id: call.target.repository()?.repo_id.clone(),
            tag: self.tag,
            build_type: self.artifact_build_type.map(|text| text.parse()).transpose()?,
            parameters: self.parameters.map(|json| json.0).unwrap_or_default(),
            priority: self.priority,
        };
        let build_task_id =
            control.builder().create_task(&call.ctx, call.instance_id()?, new).await?;
        Ok(CreatedBuildTask { build_task_id })
    }
}

request! { ListArtifactBuildTask {
    /// The instance.
    _instance_id: String = Extension "InstanceId",
    /// The page, from 1.
    page_no: Option<i64> = Extension "PageNo",
    /// Tasks per page, 30 when left out, at most 100.
    page_size: Option<i64> = Extension "PageSize",
    /// Only tasks of this repository.
    repo_id: Option<String> = Extension "RepoId",
    /// Only tasks that build from this tag.
    tag: Option<String> = Extension "Tag",
    /// Only tasks in this state.
    task_status: Option<String> = Extension "TaskStatus",
} }

response! { BuildTaskList {
    /// The tasks of the page, newest first.
    build_tasks: Vec<BuildTaskAnswer> = Extension "BuildTasks",
    /// The page.
    page_no: i64 = Extension "PageNo",
    /// Tasks per page.
    page_size: i64 = Extension "PageSize",
    /// How many there are on all pages.
    total_count: i64 = Extension "TotalCount",
} }

#[async_trait]
impl Action for ListArtifactBuildTask {
    type Response = BuildTaskList;

    async fn run(self, control: &Control, call: &Call) -> Result<BuildTaskList, ApiError> {
        let page = page(self.page_no, self.page_size)?;
        let status = self.task_status.map(|text| {
            Words::BUILD
                .parse(&text)
                .ok_or_else(|| ApiError::invalid("TaskStatus", format!("`{text}` is no state")))
        });
        let filter =
            TaskFilter { repo_id: self.repo_id, tag: self.tag, status: status.transpose()? };
        let instance_id = call.instance_id()?;
        let (tasks, total_count) =
            control.builder().list_tasks(&call.ctx, instance_id, &filter, page).await?;
        Ok(BuildTaskList {
            build_tasks: tasks.into_iter().map(answer).collect(),
            page_no: page.number,
            page_size: page.size,
            total_count,
        })
    }
}
