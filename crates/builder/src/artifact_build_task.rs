//! Build tasks as they are asked about.

use std::sync::Arc;

use berth_metadata::tables::artifact_build_task;
use berth_metadata::tables::artifact_build_task::BuildTaskRow;
use berth_metadata::{Page, Session, Subject};
use berth_tasks::{CancelOutcome, Enqueued, LogLine, NewTask, TASKS_CHANNEL, TaskStatus, ask};
use berth_types::{Ctx, Digest, Millis, Reference, Tag, id};

use crate::builder::{Builder, QUEUE};
use crate::error::{BuildError, BuildErrorKind};
use crate::handler::{BuildPayload, KIND};
use crate::parameters::{BuildType, Parameters};
use crate::plan::NotBuildable;
use crate::target::{accelerated_tag, containerd_accelerated_tag};
use crate::trigger::survey;

/// One side of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactView {
    pub repo_id: String,
    /// The tag.
    pub version: String,
    /// Unknown for a target that is not built yet, like `size` and `layer_count`.
    pub digest: Option<Digest>,
    /// Bytes of config and layers.
    pub size: Option<i64>,
    pub layer_count: Option<i64>,
}

/// A build task as it stands.
#[derive(Debug, Clone)]
pub struct BuildTaskView {
    pub task_id: String,
    pub build_type: BuildType,
    pub status: TaskStatus,
    pub start_time: Option<Millis>,
    pub end_time: Option<Millis>,
    pub created_at: Millis,
    pub priority: i64,
    pub parameters: Parameters,
    pub source: ArtifactView,
    pub target: ArtifactView,
    /// Why it failed, or why its last attempt did, in words.
    pub error: Option<String>,
    pub progress: serde_json::Value,
}

/// A build that is asked for by hand.
#[derive(Debug, Clone)]
pub struct NewBuildTask {
    pub repo_id: String,
    pub tag: String,
    pub build_type: Option<BuildType>,
    pub parameters: Parameters,
    /// 1 to 5, higher first; wins over the one in the parameters.
    pub priority: Option<i64>,
}

/// Which builds to list.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    pub repo_id: Option<String>,
    pub tag: Option<String>,
    pub status: Option<TaskStatus>,
}

/// A build to enqueue.
pub(crate) struct BuildRequest<'a> {
    pub(crate) instance_id: &'a str,
    pub(crate) repo_id: &'a str,
    pub(crate) rule_id: Option<String>,
    pub(crate) tag: &'a Tag,
    pub(crate) digest: &'a Digest,
    pub(crate) size: i64,
    pub(crate) layer_count: i64,
    pub(crate) parameters: &'a Parameters,
}

impl Builder {
    /// Builds a tag now. When the same build is already waiting or running, its id is returned; a
    /// waiting one takes the higher of the two priorities. Other parameters are another build.
    ///
    /// # Errors
    /// `RepositoryNotFound`, `TagNotFound`, `InvalidParameter`, `Unsupported`.
    pub async fn create_task(
        &self,
        _ctx: &Ctx,
        instance_id: &str,
        new: NewBuildTask,
    ) -> Result<String, BuildError> {
        let mut parameters = new.parameters;
        parameters.priority = new.priority.or(parameters.priority);
        parameters.build_types = new.build_type.map_or(parameters.build_types, |kind| vec![kind]);
        parameters.check()?;
        let mut session = self.db().begin().await?;
        let artifacts = self.artifacts();
        let repository = artifacts
            .repositories()
            .find_by_id_in(&mut session, &new.repo_id)
            .await?
            .filter(|repository| repository.instance_id == instance_id)
            .ok_or_else(|| {
                let message =
                    format!("repository `{}` does not exist in this instance", new.repo_id);
                BuildError::refused(BuildErrorKind::RepositoryNotFound, message)
            })?;
        let tag_missing = || {
            let message = format!("tag `{}` does not exist in `{}`", new.tag, new.repo_id);
            BuildError::refused(BuildErrorKind::TagNotFound, message)
        };
        let tag: Tag = new.tag.parse().map_err(|_| tag_missing())?;
        let reference = Reference::Tag(tag.clone());
        let manifest = artifacts
            .manifests()
            .find_in(&mut session, &repository.repo_id, &reference)
            .await?
            .ok_or_else(tag_missing)?;
        if berth_artifacts::is_derived_tag(tag.as_str()) {
            return Err(BuildError::refused(
                BuildErrorKind::InvalidParameter("Tag"),
                format!("tag `{tag}` is itself the result of a build"),
            ));
        }
        if containerd_accelerated_tag(tag.as_str()).parse::<Tag>().is_err() {
            return Err(BuildError::refused(
                BuildErrorKind::InvalidParameter("Tag"),
                format!("tag `{tag}` is too long for the tags of its accelerated image"),
            ));
        }
        if let Err(reason) = survey(
            artifacts,
            &mut session,
            &manifest.repo_id,
            &manifest.media_type,
            &manifest.content,
        )
        .await?
        {
            let message = match reason {
                NotBuildable::NotAnImage(_) => {
                    format!("tag `{tag}` is not a container image: {reason}")
                }
                NotBuildable::Accelerated(_) | NotBuildable::Impossible(_) => {
                    format!("tag `{tag}` cannot be accelerated: {reason}")
                }
            };
            return Err(BuildError::refused(BuildErrorKind::InvalidParameter("Tag"), message));
        }
        let request = BuildRequest {
            instance_id,
            repo_id: &repository.repo_id,
            rule_id: None,
            tag: &tag,
            digest: &manifest.digest,
            size: manifest.image_size,
            layer_count: manifest.layer_count,
            parameters: &parameters,
        };
        let task_id =
            enqueue(&mut session, &request, self.config().max_attempts, self.now()).await?;
        session.commit().await?;
        self.db().notify(TASKS_CHANNEL);
        Ok(task_id)
    }

    /// One build task.
    ///
    /// # Errors
    /// `TaskNotFound` when there is none in this instance.
    pub async fn get_task(
        &self,
        _ctx: &Ctx,
        instance_id: &str,
        task_id: &str,
    ) -> Result<BuildTaskView, BuildError> {
        let (memory, db) = (self.tasks(), self.db());
        let stamp = memory.stamp(Subject::Task(task_id));
        if let Some(row) = memory.get(task_id, stamp) {
            if row.task.instance_id != instance_id {
                return Err(not_found(task_id));
            }
            return view(BuildTaskRow::clone(&row));
        }
        let mut session = db.read().await?;
        let row = artifact_build_task::find(&mut session, instance_id, task_id).await?;
        let row = row.ok_or_else(|| not_found(task_id))?;
        if db.is_sole_writer() {
            memory.put(task_id, stamp, Arc::new(row.clone()), row.weight());
        }
        view(row)
    }

    /// A page of build tasks, newest first, and how many there are in all.
    ///
    /// # Errors
    /// [`BuildError`] when the database fails.
    pub async fn list_tasks(
        &self,
        _ctx: &Ctx,
        instance_id: &str,
        filter: &TaskFilter,
        page: Page,
    ) -> Result<(Vec<BuildTaskView>, i64), BuildError> {
        let filter = artifact_build_task::Filter {
            repo_id: filter.repo_id.clone().unwrap_or_default(),
            source_tag: filter.tag.clone().unwrap_or_default(),
            status: filter.status,
        };
        let mut session = self.db().read().await?;
        let (rows, total) =
            artifact_build_task::list(&mut session, instance_id, &filter, page).await?;
        Ok((rows.into_iter().map(view).collect::<Result<_, _>>()?, total))
    }

    /// Asks for the end of a build. A waiting one ends at once, a running one within a second.
    ///
    /// # Errors
    /// `TaskNotFound`, and `TaskFinished` when it is over.
    pub async fn cancel_task(
        &self,
        _ctx: &Ctx,
        instance_id: &str,
        task_id: &str,
    ) -> Result<(), BuildError> {
        let mut session = self.db().read().await?;
        find(&mut session, instance_id, task_id).await?;
        drop(session);
        match ask::cancel(self.db(), task_id, self.now()).await? {
            CancelOutcome::Canceled | CancelOutcome::Requested => Ok(()),
            CancelOutcome::AlreadyFinished => Err(BuildError::refused(
                BuildErrorKind::TaskFinished,
                format!("build task `{task_id}` has already ended"),
            )),
            CancelOutcome::NotFound => Err(not_found(task_id)),
        }
    }

    /// A page of the log of a task, and how many lines there are.
    ///
    /// # Errors
    /// `TaskNotFound` when there is no such task in this instance.
    pub async fn task_log(
        &self,
        _ctx: &Ctx,
        instance_id: &str,
        task_id: &str,
        page: Page,
    ) -> Result<(Vec<LogLine>, i64), BuildError> {
        let mut session = self.db().read().await?;
        find(&mut session, instance_id, task_id).await?;
        Ok(ask::log(&mut session, task_id, page).await?)
    }
}

/// What makes two builds equal: they build the same manifest under the same tag in the same way.
/// How soon they do is no part of it.
fn dedup_key(request: &BuildRequest<'_>, build_type: BuildType) -> String {
    let parameters =
        Parameters { priority: None, build_types: Vec::new(), ..request.parameters.clone() };
    let way = Digest::sha256(parameters.to_json().as_bytes());
    format!("build:{}:{}:{}:{build_type}:{way}", request.repo_id, request.tag, request.digest)
}

/// Makes the task and its row in the caller's transaction; returns the id of the task, which is
/// that of the unfinished equal one when there is one, whose priority is raised while it waits.
pub(crate) async fn enqueue(
    session: &mut Session,
    request: &BuildRequest<'_>,
    max_attempts: i64,
    now: Millis,
) -> Result<String, BuildError> {
    let build_type = BuildType::Accelerated;
    let task_id = id::generate(id::ACCELERATED_BUILD_TASK);
    let payload = BuildPayload {
        instance_id: request.instance_id.to_owned(),
        repo_id: request.repo_id.to_owned(),
        source_tag: request.tag.as_str().to_owned(),
        source_digest: request.digest.clone(),
        build_type,
    };
    let priority = request.parameters.effective_priority();
    let new = NewTask {
        task_id: task_id.clone(),
        queue: QUEUE,
        kind: KIND,
        payload: serde_json::to_value(&payload).unwrap_or_default(),
        tenant: request.instance_id.to_owned(),
        share: request.repo_id.to_owned(),
        priority,
        max_attempts,
        dedup_key: Some(dedup_key(request, build_type)),
        run_at: None,
    };
    if let Enqueued::Duplicate { task_id } = berth_tasks::enqueue(session, new, now).await? {
        if berth_tasks::raise_priority(session, &task_id, priority).await? {
            artifact_build_task::set_priority(session, &task_id, priority).await?;
        }
        return Ok(task_id);
    }
    let row = artifact_build_task::BuildTask {
        task_id: task_id.clone(),
        instance_id: request.instance_id.to_owned(),
        repo_id: request.repo_id.to_owned(),
        build_type: build_type.as_str().to_owned(),
        rule_id: request.rule_id.clone(),
        parameters: request.parameters.to_json(),
        priority,
        source_tag: request.tag.as_str().to_owned(),
        source_digest: request.digest.clone(),
        source_size: request.size,
        source_layer_count: request.layer_count,
        target_tag: accelerated_tag(request.tag.as_str()),
        created_at: now,
    };
    artifact_build_task::insert(session, &row).await?;
    Ok(task_id)
}

async fn find(
    session: &mut Session,
    instance_id: &str,
    task_id: &str,
) -> Result<BuildTaskView, BuildError> {
    let row = artifact_build_task::find(session, instance_id, task_id).await?;
    view(row.ok_or_else(|| not_found(task_id))?)
}

fn not_found(task_id: &str) -> BuildError {
    BuildError::refused(
        BuildErrorKind::TaskNotFound,
        format!("build task `{task_id}` does not exist in this instance"),
    )
}

fn view(row: artifact_build_task::BuildTaskRow) -> Result<BuildTaskView, BuildError> {
    Ok(BuildTaskView {
        build_type: row.task.build_type.parse()?,
        status: row.status,
        start_time: row.started_at,
        end_time: row.finished_at,
        created_at: row.task.created_at,
        priority: row.task.priority,
        parameters: Parameters::from_json(&row.task.parameters),
        source: ArtifactView {
            repo_id: row.task.repo_id.clone(),
            version: row.task.source_tag,
            digest: Some(row.task.source_digest),
            size: Some(row.task.source_size),
            layer_count: Some(row.task.source_layer_count),
        },
        target: ArtifactView {
            repo_id: row.task.repo_id,
            version: row.task.target_tag,
            digest: row.target_digest,
            size: row.target_size,
            layer_count: row.target_layer_count,
        },
        error: row.error,
        progress: serde_json::from_str(&row.progress).unwrap_or_default(),
        task_id: row.task.task_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_are_equal_whatever_their_priority_and_differ_by_their_parameters() {
        let digest = Digest::sha256(b"manifest");
        let tag: Tag = "1.0".parse().expect("tag");
        let key = |parameters: &Parameters| {
            let request = BuildRequest {
                instance_id: "cri-a",
                repo_id: "crr-a",
                rule_id: None,
                tag: &tag,
                digest: &digest,
                size: 1,
                layer_count: 1,
                parameters,
            };
            dedup_key(&request, BuildType::Accelerated)
        };
        let plain = Parameters::default();
        let urgent = Parameters {
            priority: Some(5),
            build_types: vec![BuildType::Accelerated],
            ..Parameters::default()
        };
        let index = Parameters { image_index_only: true, ..Parameters::default() };
        let listed = Parameters { priority_file: Some("L2E=".to_owned()), ..Parameters::default() };
        assert_eq!(key(&plain), key(&urgent));
        assert_ne!(key(&plain), key(&index));
        assert_ne!(key(&plain), key(&listed));
    }
}
