//! Maintenance tasks of an instance or of the server: create, get, list, log, cancel. All of them are
//! Berth's own.

use async_trait::async_trait;
use berth_maintenance::{MaintenanceKind, MaintenanceScope, MaintenanceTask};
use berth_tasks::{TaskStatus, Words};
use serde_json::Value;

use super::Done;
use crate::control::Control;
use crate::error::ApiError;
use crate::operation::{Action, Call};
use crate::paging::page;
use crate::schema::{request, response};

request! { CreateMaintenanceTask {
    /// The instance.
    _instance_id: String = Extension "InstanceId",
    /// `GC` collects what nothing uses; `SCRUB` reads every blob again; `HISTORY` forgets finished
    /// tasks.
    kind: String = Extension "Kind",
    /// `INSTANCE` when left out; `SERVER` for the whole server, which takes the right to everything.
    scope: Option<String> = Extension "Scope",
} }

response! { CreatedMaintenanceTask {
    /// The id of the task; of the unfinished one of the kind and scope when there is one.
    task_id: String = Extension "TaskId",
} }

fn kind(text: &str) -> Result<MaintenanceKind, ApiError> {
    MaintenanceKind::parse(text)
        .ok_or_else(|| ApiError::invalid("Kind", format!("`{text}` is none of GC, SCRUB, HISTORY")))
}

/// What the task works on. Dispatch has authorised the caller for the same (`Extent::InstanceOrEverything`).
fn scope(call: &Call, text: Option<&str>) -> Result<MaintenanceScope, ApiError> {
    match text.unwrap_or_default() {
        "SERVER" => Ok(MaintenanceScope::Server),
        "INSTANCE" | "" => Ok(MaintenanceScope::Instance(call.instance_id()?.to_owned())),
        other => Err(ApiError::invalid("Scope", format!("`{other}` is none of INSTANCE, SERVER"))),
    }
}

#[async_trait]
impl Action for CreateMaintenanceTask {
    type Response = CreatedMaintenanceTask;

    async fn run(self, control: &Control, call: &Call) -> Result<CreatedMaintenanceTask, ApiError> {
        let scope = scope(call, self.scope.as_deref())?;
        let kind = kind(&self.kind)?;
        let task_id = control.maintenance().tasks().create(&call.ctx, &scope, kind).await?;
        Ok(CreatedMaintenanceTask { task_id })
    }
}

request! { GetMaintenanceTask {
    /// The instance.
    _instance_id: String = Extension "InstanceId",
    /// `INSTANCE` when left out; `SERVER` for the whole server, which takes the right to everything.
    scope: Option<String> = Extension "Scope",
    /// The task.
    task_id: String = Extension "TaskId",
} }

response! {
    /// A task of maintenance, by itself and as a row.
    MaintenanceTaskAnswer {
        /// Whether it ended by being cancelled; its status reads `FAILED`.
        canceled: bool = Extension "Canceled",
        /// When it was asked for, milliseconds since the epoch.
        create_time: i64 = Extension "CreateTime",
        /// When it ended, milliseconds since the epoch; absent until then.
        end_time: Option<i64> = Extension "EndTime",
        /// Why it failed, or why its last attempt did.
        error_message: Option<String> = Extension "ErrorMessage",
        /// `GC`, `SCRUB` or `HISTORY`.
        kind: &'static str = Extension "Kind",
        /// What it did so far.
        progress: Option<Value> = Extension "Progress",
        /// When it began, milliseconds since the epoch; absent until then.
        start_time: Option<i64> = Extension "StartTime",
        /// The id.
        task_id: String = Extension "TaskId",
        /// `PENDING`, `RUNNING`, `SUCCESS` or `FAILED`.
        task_status: &'static str = Extension "TaskStatus",
    }
}

fn answer(MaintenanceTask { kind, task }: MaintenanceTask) -> MaintenanceTaskAnswer {
    let progress = match task.progress {
        Value::Object(fields) if !fields.is_empty() => Some(Value::Object(fields)),
        _ => None,
    };
    MaintenanceTaskAnswer {
        canceled: task.status == TaskStatus::Canceled,
        create_time: task.created_at,
        end_time: task.finished_at,
        error_message: task.error,
        kind: kind.as_str(),
        progress,
        start_time: task.started_at,
        task_id: task.task_id,
        task_status: Words::MAINTENANCE.of(task.status),
    }
}

#[async_trait]
impl Action for GetMaintenanceTask {
    type Response = MaintenanceTaskAnswer;

    async fn run(self, control: &Control, call: &Call) -> Result<MaintenanceTaskAnswer, ApiError> {
        let scope = scope(call, self.scope.as_deref())?;
        Ok(answer(control.maintenance().tasks().find(&scope, &self.task_id).await?))
    }
}

request! { ListMaintenanceTask {
    /// The instance.
    _instance_id: String = Extension "InstanceId",
    /// Only tasks of this kind.
    kind: Option<String> = Extension "Kind",
    /// The page, from 1.
    page_no: Option<i64> = Extension "PageNo",
    /// Tasks per page, 30 when left out, at most 100.
    page_size: Option<i64> = Extension "PageSize",
    /// `INSTANCE` when left out; `SERVER` for the whole server, which takes the right to everything.
    scope: Option<String> = Extension "Scope",
} }

response! { MaintenanceTaskList {
    /// The page.
    page_no: i64 = Extension "PageNo",
    /// Tasks per page.
    page_size: i64 = Extension "PageSize",
    /// The tasks of the page, newest first.
    tasks: Vec<MaintenanceTaskAnswer> = Extension "Tasks",
    /// How many there are on all pages.
    total_count: i64 = Extension "TotalCount",
} }

#[async_trait]
impl Action for ListMaintenanceTask {
    type Response = MaintenanceTaskList;

    async fn run(self, control: &Control, call: &Call) -> Result<MaintenanceTaskList, ApiError> {
        let scope = scope(call, self.scope.as_deref())?;
        let page = page(self.page_no, self.page_size)?;
        let kind = self.kind.as_deref().filter(|text| !text.is_empty()).map(kind).transpose()?;
        let (tasks, total_count) = control.maintenance().tasks().list(&scope, kind, page).await?;
        Ok(MaintenanceTaskList {
            page_no: page.number,
            page_size: page.size,
            tasks: tasks.into_iter().map(answer).collect(),
            total_count,
        })
    }
}

request! { ListMaintenanceTaskLog {
    /// The instance.
    _instance_id: String = Extension "InstanceId",
    /// The page, from 1.
    page_no: Option<i64> = Extension "PageNo",
    /// Lines per page, 30 when left out, at most 100.
    page_size: Option<i64> = Extension "PageSize",
    /// `INSTANCE` when left out; `SERVER` for the whole server, which takes the right to everything.
    scope: Option<String> = Extension "Scope",
    /// The task.
    task_id: String = Extension "TaskId",
} }

response! { MaintenanceTaskLog {
    /// The lines of the page.
    task_logs: Vec<MaintenanceLogLine> = Extension "TaskLogs",
    /// How many lines there are on all pages.
    total_count: i64 = Extension "TotalCount",
} }

response! {
    /// A line of a log.
    MaintenanceLogLine {
        /// Its number, from 1.
        line_number: i64 = Extension "LineNumber",
        /// Its text.
        message: String = Extension "Message",
    }
}

#[async_trait]
impl Action for ListMaintenanceTaskLog {
    type Response = MaintenanceTaskLog;

    async fn run(self, control: &Control, call: &Call) -> Result<MaintenanceTaskLog, ApiError> {
        let scope = scope(call, self.scope.as_deref())?;
        let page = page(self.page_no, self.page_size)?;
        let maintenance = control.maintenance().tasks();
        let (lines, total_count) = maintenance.log(&scope, &self.task_id, page).await?;
        let line = |line: berth_tasks::LogLine| MaintenanceLogLine {
            line_number: line.line_number,
            message: line.message,
        };
        Ok(MaintenanceTaskLog { task_logs: lines.into_iter().map(line).collect(), total_count })
    }
}

request! { CancelMaintenanceTask {
    /// The instance.
    _instance_id: String = Extension "InstanceId",
    /// `INSTANCE` when left out; `SERVER` for the whole server, which takes the right to everything.
    scope: Option<String> = Extension "Scope",
    /// The task.
    task_id: String = Extension "TaskId",
} }

#[async_trait]
impl Action for CancelMaintenanceTask {
    type Response = Done;

    async fn run(self, control: &Control, call: &Call) -> Result<Done, ApiError> {
        let scope = scope(call, self.scope.as_deref())?;
        control.maintenance().tasks().cancel(&call.ctx, &scope, &self.task_id).await?;
        Ok(Done {})
    }
}
